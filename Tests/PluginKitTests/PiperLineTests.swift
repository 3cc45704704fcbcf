// The part of TTSPiper that decides over a WebSocket: one clause to a connection, and a spare one.

import PluginKit
import Testing

@testable import PiperAudio

@Suite("A call over Piper's WebSocket service")
struct PiperLineTests {
    private func line(
        _ generation: PiperGeneration = .third, voice: String = "v", _ change: (inout PiperLineLimits) -> Void = { _ in }
    ) -> PiperLine {
        var limits = PiperLineLimits()
        limits.stallMs = 1000
        change(&limits)
        let request = PiperSocketRequest(generation, voice: voice, wishedRateHz: 22050, rateHz: 22050)
        var line = PiperLine(request, limits, name: "the voice")
        #expect(line.prewarm() == (1...(1 + limits.spares)).map { .connect($0) })
        return line
    }
    /// With both connections open.
    private func open(_ generation: PiperGeneration = .second) -> PiperLine {
        var line = line(generation)
        #expect(line.opened(1, nowMs: 0) + line.opened(2, nowMs: 0) == [])
        return line
    }
    private let one = PiperLineAction.send(1, #"{"text":"One.","voice":"v"}"#)
    private let broken = PluginError(.network, "broken", isRetryable: true)

    @Test("Each generation's messages, and no other")
    func messages() {
        func message(_ generation: PiperGeneration, _ voice: String) -> String {
            PiperSocketRequest(generation, voice: voice, wishedRateHz: 8000, rateHz: 22050).message("ığ")
        }
        #expect(message(.first, "") == #"{"text":"ığ"}"#)
        #expect(message(.second, "tr_TR-fahrettin-medium") == #"{"text":"ığ","voice":"tr_TR-fahrettin-medium"}"#)
        #expect(message(.third, "v") == #"{"format":"pcm16","sample_rate":8000,"text":"ığ","voice":"v"}"#)
    }

    @Test("Every spelling of start, end and error is understood, and a greeting begins nothing")
    func spellings() {
        func read(_ text: String) -> PiperSocketMessage? { PiperSocketMessage(parsing: text) }
        for start in [#"{"type":"start","message":"m"}"#, #"{"type":"audio_start"}"#, #"{"status":"started"}"#] {
            #expect(read(start) == .begins(rateHz: nil))
        }
        #expect(read(#"{"type":"start","sample_rate":16000}"#) == .begins(rateHz: 16000))
        #expect(read(#"{"type":"start","sample_rate":1}"#) == .begins(rateHz: nil))
        for end in [#"{"type":"end"}"#, #"{"type":"audio_end"}"#, #"{"type":"end","status":"completed"}"#,
            #"{"status":"completed"}"#]
        {
            #expect(read(end) == .ends)
        }
        #expect(read(#"{"type":"error","message":"no\nmodel"}"#) == .refused("no model"))
        #expect(read(#"{"error":"no model"}"#) == .refused("no model"))
        #expect(read(#"{"type":"error","message":"a","error":"b"}"#) == .refused("b"))
        #expect(read(#"{"type":"connected","message":"hi"}"#) == .other)
        #expect(read("[]") == nil && read("<html>") == nil)
    }

    @Test("One clause at a time, on a connection that is kept")
    func kept() {
        var line = open()
        #expect(line.received(1, text: #"{"type":"connected"}"#, nowMs: 0) == [])
        #expect(line.speak("One.", clause: 1, epoch: 1, nowMs: 0) == [one])
        #expect(line.speak("Two.", clause: 2, epoch: 1, nowMs: 0) == [])
        #expect(line.received(1, text: #"{"type":"start"}"#, nowMs: 10) == [])
        #expect(line.received(1, binary: [1, 0, 2], nowMs: 20) == [.audio(clause: 1, [1], rateHz: 22050)])
        #expect(line.received(1, binary: [0], nowMs: 30) == [.audio(clause: 1, [2], rateHz: 22050)])
        #expect(
            line.received(1, text: #"{"type":"end"}"#, nowMs: 40) == [
                .finish(clause: 1), .send(1, #"{"text":"Two.","voice":"v"}"#),
            ])
        #expect(line.received(1, text: #"{"type":"start","sample_rate":16000}"#, nowMs: 50) == [])
        // The first clients took no audio before the start; the last ones do.
        #expect(line.received(1, binary: [3, 0], nowMs: 60) == [.audio(clause: 2, [3], rateHz: 16000)])
        #expect(line.received(1, text: #"{"status":"completed"}"#, nowMs: 70) == [.finish(clause: 2)])
        #expect(line.received(1, binary: [9, 9], nowMs: 80) == [])
        #expect(line.nextDeadlineMs == nil)
    }

    @Test("The first generation has a connection for each clause, made ahead of it")
    func unkept() {
        var line = open(.first)
        #expect(line.speak("One.", clause: 1, epoch: 1, nowMs: 0) == [one])
        #expect(line.received(1, text: #"{"type":"end"}"#, nowMs: 9) == [.finish(clause: 1), .close(1), .connect(3)])
        #expect(line.speak("One.", clause: 2, epoch: 1, nowMs: 10) == [.send(2, #"{"text":"One.","voice":"v"}"#)])
    }

    @Test("An interruption closes the connection that speaks, and the answer goes out on the spare one at once")
    func barge() {
        var line = open()
        _ = line.speak("One.", clause: 1, epoch: 1, nowMs: 0)
        _ = line.speak("Two.", clause: 2, epoch: 1, nowMs: 0)
        #expect(line.cancel(olderThan: 2, nowMs: 10) == [.close(1), .connect(3)])
        // What it still says is nobody's.
        #expect(line.received(1, binary: [1, 1], nowMs: 20) == [])
        #expect(line.closed(1, nil, nowMs: 20) == [])
        #expect(line.speak("One.", clause: 3, epoch: 2, nowMs: 30) == [.send(2, #"{"text":"One.","voice":"v"}"#)])
        #expect(line.opened(3, nowMs: 40) == [])
    }

    @Test("A cancel of nothing costs no connection")
    func idleCancel() {
        var line = open()
        for epoch in UInt64(2)...1000 { #expect(line.cancel(olderThan: epoch, nowMs: 0) == []) }
    }

    @Test("An error, silence and nonsense end the connection, because nobody knows what it says next")
    func doubts() {
        var line = open()
        _ = line.speak("One.", clause: 1, epoch: 1, nowMs: 0)
        #expect(
            line.received(1, text: #"{"error":"no model"}"#, nowMs: 1) == [
                .close(1), .fail(clause: 1, PluginError(.vendor, "the voice answered: no model", vendor: "piper")),
                .connect(3),
            ])
        _ = line.speak("One.", clause: 2, epoch: 1, nowMs: 2)
        _ = line.opened(3, nowMs: 3)
        // Silence before the first sample is tried once more, on the spare connection.
        #expect(
            line.tick(nowMs: 1002) == [.close(2), .send(3, #"{"text":"One.","voice":"v"}"#), .connect(4)])
        let actions = line.received(3, text: "<html>", nowMs: 1003)
        #expect(actions.first == .close(3))
        guard case .fail(2, let error)? = actions.dropFirst().first else { Issue.record("\(actions)"); return }
        #expect(error.code == .vendor)
    }

    @Test("A connection that breaks before the first sample is no loss, after it it is")
    func reconnect() {
        var line = open()
        _ = line.speak("One.", clause: 1, epoch: 1, nowMs: 0)
        #expect(line.closed(1, broken, nowMs: 1) == [.send(2, #"{"text":"One.","voice":"v"}"#), .connect(3)])
        _ = line.received(2, binary: [1, 0], nowMs: 2)
        #expect(line.closed(2, broken, nowMs: 3) == [.fail(clause: 1, broken), .connect(4)])
    }

    @Test("A service that is not there is called twice for a clause, and not for ever")
    func unreachable() {
        var line = line()
        #expect(line.speak("One.", clause: 1, epoch: 1, nowMs: 0) == [])
        #expect(line.closed(1, broken, nowMs: 1) == [])
        #expect(line.closed(2, broken, nowMs: 2) == [.connect(3)])
        #expect(line.closed(3, broken, nowMs: 3) == [.fail(clause: 1, broken)])
        #expect(line.cancel(olderThan: 9, nowMs: 4) == [])
    }

    @Test("A service that takes one connection alone is served with one")
    func single() {
        var line = line(.second)
        #expect(line.opened(1, nowMs: 0) == [])
        #expect(line.closed(2, broken, nowMs: 1) == [.warn(broken)])
        #expect(line.speak("One.", clause: 1, epoch: 1, nowMs: 2) == [one])
        #expect(line.cancel(olderThan: 2, nowMs: 3) == [.close(1)])
        #expect(line.speak("One.", clause: 2, epoch: 2, nowMs: 4) == [.connect(3)])
        #expect(line.opened(3, nowMs: 5) == [.send(3, #"{"text":"One.","voice":"v"}"#), .connect(4)])
    }

    @Test("Whatever comes, in whatever order, each clause ends at most once, and no more than three connections are open")
    func fuzz() {
        var random = SplitMix(seed: 5)
        for _ in 0..<300 {
            var line = line([.first, .second].randomElement(using: &random)!)
            var (ended, open): (Set<Int>, Set<Int>) = ([], [1, 2])
            var (count, epoch): (Int, UInt64) = (0, 1)
            for now in 0..<80 {
                let nowMs = UInt64(now) * 97
                let connection = open.randomElement(using: &random) ?? 1
                var actions: [PiperLineAction]
                switch Int.random(in: 0..<9, using: &random) {
                case 0, 1:
                    count += 1
                    actions = line.speak("a", clause: count, epoch: epoch, nowMs: nowMs)
                case 2:
                    epoch += 1
                    actions = line.cancel(olderThan: epoch, nowMs: nowMs)
                case 3:
                    open.remove(connection)
                    actions = line.closed(connection, broken, nowMs: nowMs)
                case 4, 5: actions = line.opened(connection, nowMs: nowMs)
                case 6: actions = line.received(connection, binary: [1, 2, 3], nowMs: nowMs)
                case 7:
                    actions = line.received(
                        connection, text: [#"{"type":"end"}"#, #"{"error":"x"}"#, "?"].randomElement(using: &random)!,
                        nowMs: nowMs)
                default: actions = line.tick(nowMs: nowMs)
                }
                for action in actions {
                    switch action {
                    case .connect(let id): open.insert(id)
                    case .close(let id): open.remove(id)
                    case .finish(let clause), .fail(let clause, _):
                        #expect(ended.insert(clause).inserted, "clause \(clause) ended twice")
                    case .audio(let clause, _, _): #expect(!ended.contains(clause))
                    default: break
                    }
                }
                #expect(open.count <= 3)
            }
        }
    }
}
