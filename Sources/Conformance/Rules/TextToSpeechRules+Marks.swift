// TTS: marks, by which the host knows what the caller has heard when he interrupts.

import PluginABI
import Providers

let textToSpeechMarkRules: [Rule] = [
    Rule(
        "VC-TTS-47", kinds: [.textToSpeech], "A voice gives the marks that its manifest declares.",
        because: "The model is told what was heard: without marks, a guess.",
        passing: "\"marks\": \"word\"        // and a MARK for each word",
        failing: "\"marks\": \"word\"        // and one MARK for the sentence",
        needs: ["VC-ABI-14", "VC-TTS-01"],
        check: .probe { bench in
            guard let marks = bench.subject.provider?.capabilities.marks else {
                throw NotApplicable("the manifest declares no marks")
            }
            let text = "One two three four five six."
            let count = try bench.session().say(text).needAudio().marks.count
            // A voice may join two words, "of the"; whoever marks sentences has one.
            let least = marks == .word ? 4 : 1
            guard count >= least else {
                throw Violation(
                    "\"\(text)\"", expected: "marks for each \(marks.rawValue), \(least) at least", got: "\(count)")
            }
        }),
    Rule(
        "VC-TTS-13", kinds: [.textToSpeech], "Marks come in the order of the text.",
        because: "What was heard is looked up from the front.",
        passing: "emit(MARK of word 1);  emit(MARK of word 2);",
        failing: "emit(MARK of word 2);  emit(MARK of the sentence, from word 1);",
        check: .probe { bench in
            let marks = try bench.session().say("One two three four five six.").needMarks()
            for (one, next) in zip(marks, marks.dropFirst())
            where next.textStart < one.textStart || next.position < one.position {
                throw Violation(
                    "a mark of bytes \(one.textStart)…\(one.textEnd) at \(one.position)",
                    expected: "the next one after it",
                    got: "bytes \(next.textStart)…\(next.textEnd) at \(next.position)")
            }
        }),
    Rule(
        "VC-TTS-43", kinds: [.textToSpeech], "Marks lie within the text.",
        because: "The host cuts the text there.",
        passing: "event.text_end = start + length;",
        failing: "event.text_end = start + length + 1;",
        check: .probe { bench in
            let text = "One two three four five six"
            for mark in try bench.session().say(text).needMarks()
            where mark.textStart > mark.textEnd || mark.textEnd > text.utf8.count {
                throw Violation(
                    "a text of \(text.utf8.count) bytes", expected: "marks within it",
                    got: "bytes \(mark.textStart)…\(mark.textEnd)")
            }
        }),
    Rule(
        "VC-TTS-44", kinds: [.textToSpeech], "Marks count bytes, and never point into a character.",
        because: "The text cut there would be no UTF-8, and every model refuses it.",
        passing: "event.text_start = pointer - text;",
        failing: "event.text_start = characters_before;",
        needs: ["VC-ROB-02", "VC-TTS-43"],
        check: .probe { bench in
            let texts = [
                "Grüße, schöne Größe übermäßig süß.", "Güneşli bir gün, değil mi?", "Здравствуйте, как ваши дела?",
            ]
            for text in texts {
                let bytes = Array(text.utf8)
                for mark in try bench.session().say(text).marks {
                    for offset in [mark.textStart, mark.textEnd]
                    where offset < bytes.count && bytes[max(0, offset)] & 0xc0 == 0x80 {
                        throw Violation(
                            "\"\(text)\"", expected: "a mark at the beginning of a character",
                            got: "byte \(offset), which is within one")
                    }
                }
            }
        }),
    Rule(
        "VC-TTS-45", kinds: [.textToSpeech], "Marks count from the beginning of the request, pieces joined.",
        because: "The second piece would be taken for the first, and what was heard for unheard.",
        passing: "event.text_start = piece->begin + offset;",
        failing: "event.text_start = offset;",
        needs: ["VC-ABI-14", "VC-TTS-05", "VC-TTS-47", "VC-TTS-52"],
        check: .probe { bench in
            let (first, second) = ("One two three four. ", "Five six.")
            let alone = try bench.session().say(first).marks.count
            let marks = try bench.session().say(first, second).needMarks()
            guard marks.count > alone else { throw NotApplicable("no mark came for the second piece") }
            let reached = marks.map(\.textEnd).max() ?? 0
            guard reached > first.utf8.count else {
                throw Violation(
                    "a piece of \(first.utf8.count) bytes and one of \(second.utf8.count)",
                    expected: "marks up to byte \(first.utf8.count + second.utf8.count)", got: "up to byte \(reached)")
            }
        }),
    Rule(
        "VC-TTS-46", kinds: [.textToSpeech], "Marks lie within the audio.",
        because: "A word whose end is never played was never heard.",
        passing: "event.end = event.position + word_samples;",
        failing: "event.end = event.position + word_bytes;",
        needs: ["VC-TTS-01"],
        check: .probe { bench in
            let spoken = try bench.session().say("One two three four five six.").needAudio()
            // A millisecond for a vendor that counts in them.
            let limit = UInt64(spoken.samples + spoken.rateHz / 1_000)
            for mark in spoken.marks where mark.position > mark.end || mark.end > limit {
                throw Violation(
                    "\(spoken.samples) samples of audio", expected: "marks within them",
                    got: "one of \(mark.position)…\(mark.end)")
            }
        }),
]
