import PluginABI
import Testing

@testable import Conformance
@testable import Providers

/// Histories that no plugin was needed for: what a host did, and what it is said to have got.
@Suite("The judge of fuzz cases asks what is true of any sequence")
struct FuzzJudgeTests {
    private struct Story {
        var history: FuzzHistory
        private var number = 0

        init(_ kind: PluginKind = .textToSpeech) {
            history = FuzzHistory(kind: kind)
            var session = FuzzHistory.Session(index: 0)
            session.wasAwaited = true
            history.sessions = [session]
        }

        mutating func event(_ type: Int, request: UInt64 = 0, epoch: UInt64 = 1, answer: Int = VC_OK) {
            var head = vc_event()
            head.size = UInt32(MemoryLayout<vc_event>.size)
            head.type = UInt32(type)
            head.epoch = epoch
            head.request = request
            add(withUnsafePointer(to: &head) { RecordedEvent(copying: $0) }, answer)
        }

        mutating func done(_ request: UInt64, epoch: UInt64 = 1, samples: UInt64 = 0) {
            var event = vc_event_tts_done()
            event.head.size = UInt32(MemoryLayout<vc_event_tts_done>.size)
            event.head.type = UInt32(VC_EVENT_TTS_DONE)
            event.head.epoch = epoch
            event.head.request = request
            event.reason = UInt32(VC_TTS_COMPLETE)
            event.samples = samples
            add(withUnsafePointer(to: &event.head) { RecordedEvent(copying: $0) }, VC_OK)
        }

        mutating func audio(_ request: UInt64, at position: UInt64, epoch: UInt64 = 1, answer: Int = VC_OK) {
            var samples = [Int16](repeating: 0, count: 160)
            samples.withUnsafeMutableBytes { data in
                var frame = vc_frame()
                frame.size = UInt32(MemoryLayout<vc_frame>.size)
                frame.format = UInt32(VC_FORMAT_S16)
                frame.samples = 160
                frame.position = position
                frame.bytes = 320
                frame.data = UnsafeRawPointer(data.baseAddress!)
                withUnsafePointer(to: &frame) { frame in
                    var event = vc_event_audio()
                    event.head.size = UInt32(MemoryLayout<vc_event_audio>.size)
                    event.head.type = UInt32(VC_EVENT_AUDIO)
                    event.head.epoch = epoch
                    event.head.request = request
                    event.frame = frame
                    add(withUnsafePointer(to: &event.head) { RecordedEvent(copying: $0) }, answer)
                }
            }
        }

        private mutating func add(_ event: RecordedEvent, _ answer: Int) {
            var event = event
            event.number = number
            event.answer = vc_status(answer)
            event.atNs = UInt64(number) * 1_000
            number += 1
            history.sessions[0].events.append(event)
        }

        mutating func ask(_ request: UInt64, epoch: UInt64 = 1) {
            history.sessions[0].requests[request] = FuzzHistory.Request(number: request, epoch: epoch, isComplete: true)
        }

        mutating func cancel(_ epoch: UInt64) { history.sessions[0].cancels.append((epoch, moment)) }
        mutating func close() { history.sessions[0].closed = moment }
        private var moment: FuzzHistory.Moment { FuzzHistory.Moment(before: number, atNs: UInt64(number) * 1_000) }

        /// What was expected and did not come; nil: all is well.
        var breach: String? {
            do {
                try FuzzJudge(history).judge()
                return nil
            } catch let violation as Violation { return violation.expected } catch { return "\(error)" }
        }
    }

    /// A life without a fault, up to where `change` comes in.
    private func story(_ change: (inout Story) -> Void) -> String? {
        var story = Story()
        story.event(VC_EVENT_READY)
        story.ask(1)
        story.audio(1, at: 0)
        story.audio(1, at: 160)
        story.done(1, samples: 320)
        change(&story)
        if story.history.sessions[0].closed == nil {
            story.close()
            story.event(VC_EVENT_CLOSED)
        }
        return story.breach
    }

    @Test("A life as it should be is no breach")
    func good() {
        #expect(story { _ in } == nil)
        #expect(
            story { story in
                story.cancel(2)
                story.event(VC_EVENT_CANCELED, epoch: 2)
                story.ask(2, epoch: 2)
                story.done(2, epoch: 2)
            } == nil)
    }

    @Test("Of CLOSED there is one, after `close`, and it is the last")
    func closed() {
        #expect(
            story { story in
                story.close()
                story.event(VC_EVENT_CLOSED)
                story.event(VC_EVENT_CLOSED)
            } == "nothing after CLOSED")
        #expect(story { $0.close() } == "CLOSED within 5 s")
        #expect(story { $0.event(VC_EVENT_CLOSED) } != nil)
    }

    @Test("A request has one end, and nothing is said about what nobody asked")
    func requests() {
        #expect(story { $0.done(1) } == "one end of a request, and nothing for it afterwards")
        #expect(story { $0.done(9) } == "a request that was asked in this session")
        #expect(story { $0.ask(2) } == "an end of every request")
    }

    @Test("Frames that were taken have neither gap nor repetition; those that were refused come again")
    func frames() {
        #expect(
            story { story in
                story.ask(2)
                story.audio(2, at: 0, answer: VC_E_AGAIN)
                story.audio(2, at: 0)
                story.done(2, samples: 160)
            } == nil)
        #expect(
            story { story in
                story.ask(2)
                story.audio(2, at: 160)
                story.done(2, samples: 160)
            } == "frames without gap and repetition")
        #expect(
            story { story in
                story.ask(2)
                story.audio(2, at: 0)
                story.done(2, samples: 320)
            } == "the samples of the whole request")
    }

    @Test("`cancel` is answered once, and nothing older comes after it")
    func epochs() {
        #expect(story { $0.cancel(2) } == nil, "closed within the time of the answer")
        #expect(story { $0.event(VC_EVENT_CANCELED, epoch: 2) } == "CANCELED with the epoch of a `cancel`")
        #expect(
            story { story in
                story.ask(2)
                story.cancel(2)
                story.event(VC_EVENT_CANCELED, epoch: 2)
                story.audio(2, at: 0, epoch: 1, answer: VC_E_CANCELED)
            } == "nothing older after CANCELED")
        #expect(
            story { story in
                story.cancel(2)
                story.event(VC_EVENT_CANCELED, epoch: 2)
                story.event(VC_EVENT_CANCELED, epoch: 2)
            } == "CANCELED once for an epoch, and none for a smaller one")
    }

    @Test("Who is told AGAIN waits for credit")
    func credit() {
        #expect(
            story { story in
                story.ask(2)
                for _ in 0..<70 { story.audio(2, at: 0, answer: VC_E_AGAIN) }
                story.audio(2, at: 0)
                story.done(2, samples: 160)
            } == "at most 60 tries without credit")
    }

    @Test("A service that was misused and a status that nobody knows are breaches")
    func whole() {
        #expect(story { $0.history.misuse = ["vc.timer: arm for an object that is gone"] } != nil)
        #expect(story { $0.history.unknownStatuses = ["speak: status 5"] } == "a status of the contract")
    }
}
