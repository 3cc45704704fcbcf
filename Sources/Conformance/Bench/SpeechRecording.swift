// A recording of speech, as a WAV file holds it.
//
// Read by the bench in every probe, and by the command before any, so that a wrong file is refused by its name and not
// by two dozen rules. The reader walks the chunks and does not trust their lengths: the file is an operator's, and
// programs put titles and dates in front of the samples.

import Glibc

/// One voice, 16 bit, mono, at any rate.
public struct SpeechRecording: Sendable, Equatable {
    public let rateHz: Int
    public let samples: [Int16]

    /// Two minutes at 48 kHz: rules use some seconds of it.
    static let bytesMax = 12 << 20
    /// Less is not enough for the shortest thing that a rule says.
    static let shortestMs = 1_000

    /// What is wrong with a file, in words for whoever named it.
    public struct Problem: Error, Sendable, Equatable, CustomStringConvertible {
        public let description: String
    }

    public init(path: String) throws(Problem) {
        try self.init(bytes: try Self.read(path))
    }

    /// The samples of a whole file, without the silence around them: rules repeat them for as long as they speak.
    init(bytes: [UInt8]) throws(Problem) {
        guard bytes.count >= 12, Self.name(bytes, 0) == "RIFF", Self.name(bytes, 8) == "WAVE" else {
            throw Problem(description: "is no WAV file")
        }
        var rateHz = 0
        var data: ArraySlice<UInt8>?
        var place = 12
        while place + 8 <= bytes.count, data == nil {
            let count = min(Self.number(bytes, place + 4, bytes: 4), bytes.count - place - 8)
            let begin = place + 8
            switch Self.name(bytes, place) {
            case "fmt " where count >= 16:
                let format = Self.number(bytes, begin, bytes: 2)
                let channels = Self.number(bytes, begin + 2, bytes: 2)
                let bits = Self.number(bytes, begin + 14, bytes: 2)
                guard format == 1, channels == 1, bits == 16 else {
                    throw Problem(
                        description: "has format \(format), \(channels) channels and \(bits) bits; "
                            + "it must be PCM (1) with one channel and 16 bits")
                }
                rateHz = Self.number(bytes, begin + 4, bytes: 4)
            case "data":
                data = bytes[begin..<begin + count]
            default:
                break
            }
            place = begin + count + count % 2
        }
        guard let data, (8_000...48_000).contains(rateHz) else {
            throw Problem(description: "has no samples at a rate of 8000 to 48000 Hz")
        }
        let all = stride(from: data.startIndex, to: data.endIndex - 1, by: 2).map {
            Int16(bitPattern: UInt16(data[$0]) | UInt16(data[$0 + 1]) << 8)
        }
        // A hundredth of full scale is below any speech and above any line.
        let isAudible: (Int16) -> Bool = { $0 > 327 || $0 < -327 }
        let first = all.firstIndex(where: isAudible) ?? 0
        let last = all.lastIndex(where: isAudible) ?? -1
        guard (last + 1 - first) * 1_000 >= rateHz * Self.shortestMs else {
            throw Problem(description: "has less than \(Self.shortestMs) ms of sound")
        }
        self.rateHz = rateHz
        samples = Array(all[first...last])
    }

    /// The same at another rate. The mean of the samples that fall together, or the nearest one: plain, and plenty for
    /// a detector.
    func resampled(to otherHz: Int) -> [Int16] {
        guard otherHz != rateHz else { return samples }
        let ratio = Double(rateHz) / Double(otherHz)
        return (0..<Int(Double(samples.count) / ratio)).map { index in
            let from = Int(Double(index) * ratio)
            let to = max(from + 1, min(samples.count, Int(Double(index + 1) * ratio)))
            return Int16(samples[from..<to].reduce(0) { $0 + Int($1) } / (to - from))
        }
    }

    private static func read(_ path: String) throws(Problem) -> [UInt8] {
        guard let file = fopen(path, "re") else {
            throw Problem(description: "cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 {
            bytes += chunk[..<count]
            guard bytes.count <= bytesMax else { throw Problem(description: "has more than \(bytesMax) bytes") }
        }
        return bytes
    }

    private static func name(_ bytes: [UInt8], _ place: Int) -> String {
        String(decoding: bytes[place..<place + 4], as: UTF8.self)
    }

    /// Little-endian.
    private static func number(_ bytes: [UInt8], _ place: Int, bytes count: Int) -> Int {
        (0..<count).reduce(0) { $0 | Int(bytes[place + $1]) << (8 * $1) }
    }
}
