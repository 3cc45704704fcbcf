// What a recogniser at the other end of a connection needs: audio that can be sent again, utterances, and a pace.

import PluginKit
import Testing

@Suite("Audio that can be sent again")
struct ReplayableAudioTests {
    private func samples(_ count: Int, from first: Int = 0) -> [Int16] {
        (0..<count).map { Int16(truncatingIfNeeded: first + $0) }
    }

    @Test("What was pushed is sent in order, once, and counted")
    func order() {
        var audio = ReplayableAudio(rateHz: 8000, secondsMax: 5)
        audio.reconnected()
        for frame in 0..<3 { audio.append(samples(160, from: frame * 160), at: UInt64(frame * 160)) }
        #expect(audio.next(320) == samples(320))
        audio.sent(320)
        #expect(audio.next(320) == samples(160, from: 320))
        audio.sent(160)
        #expect((audio.unsentSamples, audio.sentSamples, audio.end) == (0, 480, 480))
        #expect(audio.next(320).isEmpty)
    }

    @Test("A new connection gets what was not released, and its time begins where that begins")
    func replay() {
        var audio = ReplayableAudio(rateHz: 8000, secondsMax: 5)
        audio.append(samples(8000), at: 1000)
        audio.sent(8000)
        audio.release(upTo: 3000)
        audio.reconnected()
        #expect(audio.next(2) == [2000, 2001])
        #expect(audio.unsentSamples == 6000)
        audio.sent(6000)
        #expect(audio.position(ofSent: 0) == 3000)
        #expect(audio.position(ofSent: 800) == 3800)
        #expect(audio.position(ofSent: 1_000_000) == 9000, "never beyond what was sent")
    }

    @Test("Missing audio is not sent, and positions after it are right")
    func gap() {
        var audio = ReplayableAudio(rateHz: 8000, secondsMax: 5)
        audio.append(samples(160), at: 0)
        audio.append(samples(160), at: 8000)
        audio.append(samples(160), at: 8080)
        #expect(audio.end == 8240)
        audio.sent(400)
        #expect(audio.sentSamples == 400)
        #expect(audio.position(ofSent: 160) == 160)
        #expect(audio.position(ofSent: 161) == 8001)
        #expect(audio.position(ofSent: 400) == 8240)
        audio.release(upTo: 8000)
        audio.reconnected()
        #expect(audio.unsentSamples == 240)
    }

    @Test("Silence that nobody said takes time at the recogniser and none in the call")
    func padding() {
        var audio = ReplayableAudio(rateHz: 8000, secondsMax: 5)
        audio.append(samples(320), at: 0)
        audio.sent(160)
        audio.padded(640)
        audio.padded(640)
        audio.sent(160)
        #expect(audio.sentSamples == 1600)
        #expect(audio.position(ofSent: 160) == 160)
        #expect(audio.position(ofSent: 900) == 160)
        #expect(audio.position(ofSent: 1500) == 220)
    }

    @Test("The store is bounded: the oldest goes, and what was never sent is counted")
    func bound() {
        var audio = ReplayableAudio(rateHz: 8000, secondsMax: 2)
        for frame in 0..<500 { audio.append(samples(160), at: UInt64(frame * 160)) }
        #expect(audio.unsentSamples <= 3 * 8000)
        #expect(audio.droppedSamples + UInt64(audio.unsentSamples) == 80_000)
        audio.sent(160)
        #expect(audio.position(ofSent: 160) == 80_000 - UInt64(audio.unsentSamples))
    }
}

@Suite("Utterances of a recogniser that listens all the time")
struct StreamedUtterancesTests {
    private func piece(
        _ text: String, id: Int64 = 0, from start: UInt64 = 0, isFrozen: Bool = false, isTimed: Bool = true
    ) -> HeardPiece {
        var at = start
        let words = text.split(separator: " ").map { word -> Transcript.Word in
            defer { at += 4000 }
            return Transcript.Word(String(word), start: at, end: at + 3200, confidence: 0.5)
        }
        return HeardPiece(
            id: id, text: text, words: isTimed ? words : [], start: start, end: at, confidence: 0.5, isFrozen: isFrozen)
    }
    private func texts(_ outputs: [StreamedUtterances.Output]) -> [String] {
        outputs.map {
            switch $0 {
            case .partial(let transcript): "partial \(transcript.utterance) \(transcript.text)"
            case .final(let transcript): "final \(transcript.utterance) \(transcript.text)"
            case .answer(let request, let transcript): "answer \(request) \(transcript?.text ?? "-")"
            }
        }
    }

    @Test("Hypotheses replace each other, frozen pieces are joined, and the end makes one final of them")
    func utterance() {
        var utterances = StreamedUtterances(rateHz: 8000)
        #expect(texts(utterances.heard(piece("my"))) == ["partial 1 my"])
        #expect(texts(utterances.heard(piece("my"))) == [], "nothing is said twice")
        #expect(texts(utterances.heard(piece("my number", isFrozen: true))) == ["partial 1 my number"])
        #expect(texts(utterances.heard(piece("is", id: 1, from: 9000))) == ["partial 1 my number is"])
        let final = utterances.close()
        #expect(texts(final) == ["final 1 my number is"])
        guard case .final(let transcript)? = final.first else { return }
        #expect(transcript.words.map(\.text) == ["my", "number", "is"])
        #expect((transcript.start, transcript.end) == (0, 13_000))
        #expect(texts(utterances.close()) == [])
        #expect(texts(utterances.heard(piece("five", id: 2, from: 20_000))) == ["partial 2 five"])
    }

    @Test("Words that were answered as final are left out of what the open piece says next", arguments: [true, false])
    func answered(isTimed: Bool) {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(piece("call me", isTimed: isTimed))
        utterances.ask(7, at: 8000, isTentative: false)
        #expect(texts(utterances.answer(upTo: 7999)) == [])
        #expect(texts(utterances.answer(upTo: 8000)) == ["answer 7 call me"])
        #expect(texts(utterances.heard(piece("call me", isTimed: isTimed))) == [])
        #expect(texts(utterances.heard(piece("call me tomorrow", isTimed: isTimed))) == ["partial 2 tomorrow"])
        #expect(
            texts(utterances.heard(piece("call me tomorrow please", isFrozen: true, isTimed: isTimed)))
                == ["partial 2 tomorrow please"])
        #expect(texts(utterances.close()) == ["final 2 tomorrow please"])
        #expect(texts(utterances.heard(piece("call me again", id: 1, from: 90_000))) == ["partial 3 call me again"])
    }

    @Test("A tentative question leaves the utterance open")
    func tentative() {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(piece("at nine"))
        utterances.ask(1, at: 8000, isTentative: true)
        #expect(texts(utterances.answer(upTo: .max)) == ["answer 1 at nine"])
        #expect(texts(utterances.heard(piece("at nine or ten"))) == ["partial 1 at nine or ten"])
        utterances.ask(2, at: 16_000, isTentative: true)
        utterances.ask(3, at: 16_000, isTentative: false)
        #expect(texts(utterances.close()) == ["answer 2 at nine or ten", "answer 3 at nine or ten"])
        #expect(utterances.utterance == 2)
    }

    @Test("After a broken connection settled words stay, and the rest is asked for again")
    func disconnected() {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(piece("they have been carried"))
        // The newest audio is at 16,000; what ended 400 ms before it is settled.
        #expect(utterances.disconnected() == 11_200)
        #expect(texts(utterances.heard(piece("carried away", from: 12_000))) == ["partial 1 they have been carried away"])
        #expect(texts(utterances.close()) == ["final 1 they have been carried away"])
    }

    @Test("Without times of words all of the open piece is asked for again")
    func disconnectedWithoutTimes() {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(piece("they have been", from: 4000, isTimed: false))
        #expect(utterances.disconnected() == 4000)
        #expect(utterances.text == "")
    }

    @Test("In silence little is kept for the next connection, and after a final nothing before its end")
    func needed() {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(HeardPiece(id: 0, text: "", start: 0, end: 80_000))
        #expect(utterances.neededFrom == 80_000 - 4800)
        _ = utterances.heard(piece("yes", id: 1, from: 80_000))
        #expect(utterances.neededFrom == 80_000)
        _ = utterances.close()
        #expect(utterances.neededFrom == 84_000)
    }

    @Test("The host's number is the utterance's, and words before it are not said under it")
    func begin() {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(piece("never mind"))
        utterances.begin(9)
        #expect(texts(utterances.heard(piece("never mind what time"))) == ["partial 9 what time"])
    }

    @Test("An utterance of which all was taken back is over too when the host has ended it")
    func takenBack() {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(piece("hm"))
        _ = utterances.heard(HeardPiece(id: 0, text: "", start: 0, end: 8000))
        utterances.ask(1, at: 8000, isTentative: false)
        #expect(texts(utterances.answer(upTo: 8000)) == ["answer 1 -"])
        #expect(texts(utterances.heard(piece("yes", id: 1, from: 9000))) == ["partial 2 yes"])
    }

    @Test("Finals do not overlap, however the vendor counts")
    func overlap() {
        var utterances = StreamedUtterances(rateHz: 8000)
        _ = utterances.heard(piece("one two"))
        _ = utterances.close()
        _ = utterances.heard(piece("three four", id: 1, from: 2000))
        guard case .final(let transcript)? = utterances.close().first else {
            Issue.record("no final")
            return
        }
        #expect(transcript.start == 8000 && transcript.end >= transcript.start)
        #expect(transcript.words.allSatisfy { $0.start >= 8000 && $0.end <= transcript.end })
    }
}

@Suite("The pace of sending")
struct SendingPaceTests {
    @Test("A burst, and then a little more than real time; what was saved up is no more than the burst")
    func pace() {
        var pace = SendingPace(rateHz: 8000, factor: 1.25, burstMs: 1000)
        #expect(pace.allowed(now: 1) == 8000)
        pace.sent(8000)
        #expect(pace.allowed(now: 1) == 0)
        #expect(pace.allowed(now: 100_000_001) == 1000)
        #expect(pace.allowed(now: 60_000_000_000) == 8000)
        #expect(pace.allowed(now: 50_000_000_000) == 8000, "a clock that goes back is no time")
    }
}
