import Glibc
import Testing

@testable import Conformance

/// The file that an operator names with `--speech`, and the one that is made where he names none.
@Suite("A recording of speech is read, or refused with what is wrong with it")
struct SpeechRecordingTests {
    private func little(_ number: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(number >> (8 * $0) & 0xff) } }

    private func chunk(_ name: String, _ body: [UInt8], length: Int? = nil) -> [UInt8] {
        Array(name.utf8) + little(length ?? body.count, 4) + body + (body.count % 2 == 0 ? [] : [0])
    }

    private func format(_ format: Int = 1, channels: Int = 1, rateHz: Int = 8_000, bits: Int = 16) -> [UInt8] {
        let frame = channels * bits / 8
        return chunk(
            "fmt ",
            little(format, 2) + little(channels, 2) + little(rateHz, 4) + little(rateHz * frame, 4) + little(frame, 2)
                + little(bits, 2))
    }

    private func wav(_ chunks: [UInt8]...) -> [UInt8] {
        let body = Array("WAVE".utf8) + chunks.flatMap { $0 }
        return chunk("RIFF", body)
    }

    private func bytes(_ samples: [Int16]) -> [UInt8] {
        samples.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    }

    private let speech = [Int16](repeating: 0, count: 500) + (0..<8_000).map { $0 % 2 == 0 ? 5_000 : -5_000 }
        + [Int16](repeating: 3, count: 700)

    @Test("Chunks in front of the samples are skipped, and silence around them is cut off")
    func chunksAndSilence() throws {
        let recording = try SpeechRecording(
            bytes: wav(chunk("LIST", Array("INFO1".utf8)), format(), chunk("data", bytes(speech)), chunk("id3 ", [1])))
        #expect(recording.rateHz == 8_000)
        #expect(recording.samples == Array(speech[500..<8_500]))
    }

    @Test("A length beyond the end of the file, as a recorder that was interrupted leaves it, is what is there")
    func streamedLength() throws {
        let recording = try SpeechRecording(
            bytes: wav(format(), chunk("data", bytes(speech), length: 0xffff_ffff)))
        #expect(recording.samples.count == 8_000)
    }

    @Test("What is no speech of one voice is refused in words")
    func refusals() {
        func problem(_ bytes: [UInt8]) -> String {
            do throws(SpeechRecording.Problem) {
                _ = try SpeechRecording(bytes: bytes)
                return "none"
            } catch {
                return error.description
            }
        }
        let samples = chunk("data", bytes(speech))
        #expect(problem(Array("hello".utf8)) == "is no WAV file")
        #expect(problem(chunk("RIFF", Array("AVI LIST".utf8))) == "is no WAV file")
        #expect(
            problem(wav(format(channels: 2), samples))
                == "has format 1, 2 channels and 16 bits; it must be PCM (1) with one channel and 16 bits")
        #expect(problem(wav(format(3, bits: 32), samples)).hasPrefix("has format 3, 1 channels and 32 bits"))
        #expect(problem(wav(format(rateHz: 4_000), samples)) == "has no samples at a rate of 8000 to 48000 Hz")
        #expect(problem(wav(samples)) == "has no samples at a rate of 8000 to 48000 Hz")
        #expect(problem(wav(format(), chunk("data", bytes(Array(speech[..<600]))))) == "has less than 1000 ms of sound")
        #expect(problem(wav(format(), chunk("data", bytes([Int16](repeating: 0, count: 9_000)))))
            == "has less than 1000 ms of sound")
    }

    @Test("At another rate it is as long and as loud")
    func resampled() throws {
        let tone = (0..<16_000).map { Int16(8_000 * sin(2 * .pi * 300 * Double($0) / 16_000) + 400) }
        let recording = try SpeechRecording(bytes: wav(format(rateHz: 16_000), chunk("data", bytes(tone))))
        for rateHz in [8_000, 16_000, 48_000] {
            let other = recording.resampled(to: rateHz)
            #expect(abs(other.count * 1_000 / rateHz - recording.samples.count / 16) <= 1)
            #expect((7_800...8_400).contains(other.map(Int.init).max() ?? 0))
        }
    }

    @Test("flite says the same to the last bit each time")
    func synthetic() throws {
        func made() throws -> SpeechRecording {
            let folder = try RunFolder(in: "")
            return try SpeechRecording(path: SyntheticSpeech.make(in: folder.path))
        }
        let recording = try made()
        #expect(recording.rateHz == 16_000)
        #expect((3_000...10_000).contains(recording.samples.count / 16))
        #expect(try made() == recording)
    }
}
