// TTS: the audio, frame by frame and as a whole.

import Glibc
import PluginABI
import Providers

let textToSpeechAudioRules: [Rule] = [
    Rule(
        "VC-TTS-11", smoke: true, kinds: [.textToSpeech], "A frame has as many bytes as its samples need.",
        because: "Half a sample shifts all that follow by a byte, and speech becomes noise.",
        passing: "frame.bytes = frame.samples * frame.channels * sizeof(int16_t);",
        failing: "frame.bytes = frame.samples;",
        check: .probe { bench in
            try eachFrame(bench) { frame in
                let width = [VC_FORMAT_S16: 2, VC_FORMAT_F32: 4][Int(frame.format)] ?? 1
                let bytes = frame.declaredSamples * frame.channels * width
                return frame.bytes == bytes
                    ? nil : ("\(bytes) bytes for \(frame.declaredSamples) samples", "\(frame.bytes)")
            }
        }),
    Rule(
        "VC-TTS-37", kinds: [.textToSpeech], "Frames have a rate that the manifest names.",
        because: "The host prepares to resample from those, and plays any other too fast or too slowly.",
        passing: "\"rates\": [22050]",
        failing: "\"rates\": [8000, 16000]        // and frame.rate_hz = 22050",
        check: .probe { bench in
            let rates = bench.subject.provider?.capabilities.ratesHz ?? []
            try eachFrame(bench) { rates.contains($0.rateHz) ? nil : ("one of \(rates) Hz", "\($0.rateHz) Hz") }
        }),
    Rule(
        "VC-TTS-42", kinds: [.textToSpeech], "Frames have a format that the manifest names.",
        because: "Samples of 16 bit read as floats, or the other way round, are a bang.",
        passing: "frame.format = VC_FORMAT_S16;",
        failing: "frame.format = VC_FORMAT_F32;        // and \"formats\": [\"s16\"]",
        check: .probe { bench in
            let names = [VC_FORMAT_S16: "s16", VC_FORMAT_PCMU: "pcmu", VC_FORMAT_PCMA: "pcma", VC_FORMAT_F32: "f32"]
            let formats = Set(bench.subject.provider?.capabilities.formats ?? []).union(["s16"])
            try eachFrame(bench) { frame in
                let name = names[Int(frame.format)] ?? "format \(frame.format)"
                return formats.contains(name) ? nil : ("one of \(formats.sorted())", name)
            }
        }),
    Rule(
        "VC-TTS-41", kinds: [.textToSpeech], "Frames have one channel.",
        because: "A telephone has one: stereo read as mono is speech at half its speed.",
        passing: "frame.channels = 1;",
        failing: "frame.channels = wav.channels;",
        check: .probe { bench in
            try eachFrame(bench) { $0.channels == 1 ? nil : ("one channel", "\($0.channels)") }
        }),
    Rule(
        "VC-TTS-39", kinds: [.textToSpeech], "A frame is at most one second long, and never empty.",
        because: "The host takes two seconds ahead: longer frames find no room, and block what follows.",
        passing: "for (each 20 ms) emit(AUDIO);",
        failing: "emit(AUDIO of the whole sentence);",
        check: .probe { bench in
            try eachFrame(bench) { frame in
                (1...max(1, frame.rateHz)).contains(frame.declaredSamples)
                    ? nil : ("1 to \(frame.rateHz) samples", "\(frame.declaredSamples)")
            }
        }),
    Rule(
        "VC-TTS-38", kinds: [.textToSpeech], "Positions count a request's samples, from 0, without gaps.",
        because: "The host finds by them how much of a clause was heard.",
        passing: "frame.position = request->samples;",
        failing: "frame.position = session->samples;",
        check: .probe { bench in
            for (number, spoken) in try twoRequests(bench).enumerated() {
                var expected: UInt64 = 0
                for frame in spoken.frames {
                    guard frame.position == expected else {
                        throw Violation(
                            "request \(number + 1)",
                            expected: "a frame at \(expected)", got: "one at \(frame.position)")
                    }
                    expected += UInt64(frame.declaredSamples)
                }
            }
        }),
    Rule(
        "VC-TTS-40", kinds: [.textToSpeech], "Sequence numbers count the frames of the session, from 0.",
        because: "A number that is missing is a frame that was lost on the way.",
        passing: "frame.sequence = session->frames++;",
        failing: "frame.sequence = request->frames++;",
        check: .probe { bench in
            let session = try bench.session()
            for text in ["One two three.", "Four five six."] { _ = session.say(text) }
            let frames = session.events(VC_EVENT_AUDIO).filter { $0.answer == vc_status(VC_OK) }.compactMap(\.audio)
            for (index, frame) in frames.enumerated() where frame.sequence != UInt64(index) {
                throw Violation(
                    "frame \(index) of the session", expected: "sequence \(index)", got: "\(frame.sequence)")
            }
        }),
    Rule(
        "VC-TTS-54", kinds: [.textToSpeech], "VC_FRAME_LAST stands on the last frame of a request only.",
        because: "Who trusts it stops listening.",
        passing: "frame.flags = is_last ? VC_FRAME_LAST : 0;",
        failing: "frame.flags = VC_FRAME_LAST;        // the last of this clause",
        check: .probe { bench in
            let frames = try bench.session().say("One two three four. Five six seven eight.").frames
            if frames.dropLast().contains(where: { $0.flags & UInt32(VC_FRAME_LAST) != 0 }) {
                throw Violation("a request", expected: "VC_FRAME_LAST on its last frame", got: "on one before it")
            }
        }),
    Rule(
        "VC-TTS-12", kinds: [.textToSpeech], "TTS_DONE says how many samples there were.",
        because: "By it the host knows that no frame was lost, and when the clause will have been heard.",
        passing: "event.samples = request->samples;",
        failing: "event.samples = request->bytes;",
        check: .probe { bench in
            let spoken = try bench.session().say("One two three four.").needAudio()
            guard case .spoken(_, let samples)? = spoken.dones.first?.body else { return }
            guard samples == UInt64(spoken.samples) else {
                throw Violation(
                    "\(spoken.samples) samples of audio", expected: "as many in TTS_DONE", got: "\(samples)")
            }
        }),
    Rule(
        "VC-TTS-25", kinds: [.textToSpeech], "A session opens at every rate of the manifest.",
        because: "The host chooses the one that needs no resampling, and has no other plan.",
        passing: "if (rate != 8000 && rate != 16000) refuse();        // \"rates\": [8000, 16000]",
        failing: "if (rate != 8000) refuse();        // \"rates\": [8000, 16000]",
        needs: ["VC-LIFE-02", "VC-LIFE-07"],
        check: .probe { bench in try openAtEveryRate(bench) }),
    Rule(
        "VC-TTS-55", kinds: [.textToSpeech], "`open` refuses another rate with a code of the caller's mistakes.",
        because: "The code says that no second try will help, and that the plugin is sound.",
        passing: "return VC_E_UNSUPPORTED;",
        failing: "return VC_E_INTERNAL;",
        needs: ["VC-LIFE-02", "VC-ERR-01"],
        check: .probe { bench in try openAtAnotherRate(bench) }),
    Rule(
        "VC-TTS-22", .realTime, .should, kinds: [.textToSpeech], "Speech is not clipped.",
        because: "It sounds like a broken loudspeaker, and the echo of it like somebody who interrupts.",
        passing: "a peak of -3 dBFS",
        failing: "sample *= 4;",
        check: .probe { bench in
            let audio = try heard(bench).audio
            let clipped = audio.filter { $0 >= 32_767 || $0 <= -32_767 }.count
            guard clipped * 1_000 <= audio.count else {
                throw Violation(
                    "\(audio.count) samples of speech", expected: "at most one in a thousand at full scale",
                    got: "\(clipped)")
            }
        }),
    Rule(
        "VC-TTS-23", .realTime, .should, kinds: [.textToSpeech], "Speech begins within 300 ms of its audio.",
        because: "Silence in front of an answer is added to the time for which the caller waits.",
        passing: "audio += leading_silence(audio);",
        failing: "a second of silence, as the model made it",
        check: .probe { bench in
            let spoken = try heard(bench)
            // A hundredth of the loudest: below it nothing is heard beside the line's noise.
            let threshold = (spoken.audio.map { abs(Int($0)) }.max() ?? 0) / 100
            let silent = spoken.audio.prefix { abs(Int($0)) <= threshold }.count
            guard silent * 1_000 <= spoken.rateHz * 300 else {
                throw Violation(
                    "an answer", expected: "silence of 300 ms before it at most",
                    got: secondsText(UInt64(silent), spoken.rateHz))
            }
        }),
    Rule(
        "VC-TTS-24", .realTime, .should, kinds: [.textToSpeech], "Speech is between -35 and -9 dBFS.",
        because: "Quieter is not understood in the street; louder hurts, and clips.",
        passing: "-20 dBFS",
        failing: "-60 dBFS",
        check: .probe { bench in
            let audio = try heard(bench).audio
            let square = audio.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(max(audio.count, 1))
            let levelDBFS = 10 * log10(square / (32_768 * 32_768) + 1e-12)
            bench.note("level, dBFS", "\((levelDBFS * 10).rounded() / 10)")
            guard (-35 ... -9).contains(levelDBFS) else {
                throw Violation("the level of speech", expected: "-35 to -9 dBFS", got: "\(levelDBFS.rounded()) dBFS")
            }
        }),
]

/// Looks at every frame of a request; what is wrong with one is what was expected, and what came.
private func eachFrame(
    _ bench: Bench, _ judge: (RecordedEvent.Audio) -> (expected: String, got: String)?
) throws {
    for (index, frame) in try bench.session().say("One two three four five.").frames.enumerated() {
        if let (expected, got) = judge(frame) { throw Violation("frame \(index)", expected: expected, got: got) }
    }
}

private func twoRequests(_ bench: Bench) throws -> [Spoken] {
    let session = try bench.session()
    return ["One two three.", "Four five six."].map { session.say($0) }
}

/// What can be listened to of a sentence, if it is the voice's own.
private func heard(_ bench: Bench) throws -> Spoken {
    guard bench.job.scripts.isEmpty else { throw NotApplicable("its vendor is a script, whose audio is not speech") }
    let spoken = try bench.session().say("One two three four five six seven eight nine ten.")
    guard !spoken.audio.isEmpty else { throw NotApplicable("no audio of 16 bit came") }
    return spoken
}
