// What a voice answered, in the form in which rules look at it.

import PluginABI
import Providers

/// The events of one request, those that the host took.
struct Spoken {
    struct Mark {
        let textStart: Int
        let textEnd: Int
        let position: UInt64
        let end: UInt64
    }

    let events: [RecordedEvent]

    var frames: [RecordedEvent.Audio] { events.compactMap(\.audio) }
    /// As the frames declare them, whatever their format.
    var samples: Int { frames.reduce(0) { $0 + $1.declaredSamples } }
    /// What can be listened to.
    var audio: [Int16] { frames.flatMap(\.samples) }
    var rateHz: Int { frames.first?.rateHz ?? 8_000 }
    var dones: [RecordedEvent] { events.filter { $0.type == VC_EVENT_TTS_DONE } }
    var failure: RecordedEvent.Failure? { events.compactMap(\.failure).first }
    var marks: [Mark] {
        events.compactMap { event in
            guard case .mark(let textStart, let textEnd, let position, let end) = event.body else { return nil }
            return Mark(
                textStart: Int(clamping: textStart), textEnd: Int(clamping: textEnd), position: position, end: end)
        }
    }

    /// Audio, for a rule that says nothing without it.
    func needAudio() throws -> Spoken {
        guard samples > 0 else { throw NotApplicable("no audio came") }
        return self
    }

    func needMarks() throws -> [Mark] {
        guard !marks.isEmpty else { throw NotApplicable("no marks came") }
        return marks
    }
}

extension BenchSession {
    /// Speaks `pieces` as one request, the last of them with LAST, and waits for its end.
    func say(_ pieces: String..., request: UInt64? = nil) -> Spoken {
        let request = request ?? nextRequest()
        for (index, piece) in pieces.enumerated() {
            guard speak(request, piece, last: index == pieces.count - 1) == VC_OK else { return spoken(request) }
            bench.advance(ms: 20)
        }
        waitForEnd(of: request, VC_EVENT_TTS_DONE, ms: 60_000)
        bench.advance(ms: 200)
        return spoken(request)
    }

    func spoken(_ request: UInt64) -> Spoken {
        Spoken(events: answers(to: request).filter { $0.answer == vc_status(VC_OK) })
    }

    /// Takes no audio until `takeAudio`, so that requests wait in the plugin.
    func refuseAudio() { world.monitor.locked { object.creditEvents = 0 } }

    func takeAudio() {
        world.monitor.locked { object.creditEvents = nil }
        credit(events: 1_000, bytes: 1 << 20)
    }
}
