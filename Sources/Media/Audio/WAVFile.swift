// WAV, as far as telephony needs it: 16 bit PCM, one or two channels. Recordings and test callers, nothing else; a
// format that needs more is converted before it comes here.

import Glibc

/// What is wrong with a WAV file.
public enum WAVError: Error, Equatable, Sendable, CustomStringConvertible {
    case cannotOpen(String, errno: Int32)
    case notWAV(String)
    case unsupported(String, reason: String)
    case cannotWrite(String, errno: Int32)

    public var description: String {
        switch self {
        case .cannotOpen(let path, let code): "cannot open \(path): error \(code)"
        case .notWAV(let path): "\(path) is not a WAV file"
        case .unsupported(let path, let reason): "\(path): \(reason); convert it to 16 bit PCM, for example with sox"
        case .cannotWrite(let path, let code): "cannot write \(path): error \(code)"
        }
    }
}

/// A WAV file in memory.
public struct WAVFile: Sendable, Equatable {
    public static let supportedRatesHz = [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]
    /// An hour of 48 kHz: more is not read into memory.
    static let byteLimit = 400_000_000

    public var sampleRateHz: Int
    public var channels: Int
    /// Interleaved when there are two channels.
    public var samples: [Int16]

    public init(sampleRateHz: Int, channels: Int = 1, samples: [Int16]) {
        self.sampleRateHz = sampleRateHz
        self.channels = channels
        self.samples = samples
    }

    /// Reads a file.
    public init(path: String) throws(WAVError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .cannotOpen(path, errno: errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw .cannotOpen(path, errno: errno) }
            if count == 0 { break }
            bytes += chunk[..<count]
            guard bytes.count <= Self.byteLimit else { throw .unsupported(path, reason: "it is larger than 400 MB") }
        }
        try self.init(bytes: bytes, path: path)
    }

    init(bytes: [UInt8], path: String) throws(WAVError) {
        func little(_ offset: Int, _ count: Int) -> Int {
            (0..<count).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
        }
        guard bytes.count >= 12, bytes[0..<4].elementsEqual("RIFF".utf8),
            bytes[8..<12].elementsEqual("WAVE".utf8)
        else {
            throw .notWAV(path)
        }
        var offset = 12
        var format: (rate: Int, channels: Int)?
        while offset + 8 <= bytes.count {
            let name = bytes[offset..<offset + 4]
            let body = offset + 8
            // A recorder that crashed leaves a length of 0 or of 4 GB: what is there counts.
            let length = min(little(offset + 4, 4), bytes.count - body)
            if name.elementsEqual("fmt ".utf8), length >= 16 {
                let encoding = little(body, 2)
                // 0xFFFE says that the encoding is in the extension; the bits say enough here.
                guard encoding == 1 || encoding == 0xFFFE, little(body + 14, 2) == 16 else {
                    throw .unsupported(path, reason: "encoding \(encoding) with \(little(body + 14, 2)) bits")
                }
                format = (little(body + 4, 4), little(body + 2, 2))
            } else if name.elementsEqual("data".utf8) {
                guard let format else { throw .notWAV(path) }
                guard Self.supportedRatesHz.contains(format.rate), (1...2).contains(format.channels) else {
                    throw .unsupported(path, reason: "\(format.rate) Hz with \(format.channels) channels")
                }
                self.init(
                    sampleRateHz: format.rate, channels: format.channels,
                    samples: (0..<length / 2).map { Int16(truncatingIfNeeded: little(body + 2 * $0, 2)) })
                return
            }
            offset = body + length + length % 2
        }
        throw .notWAV(path)
    }

    /// The file's bytes.
    public var bytes: [UInt8] {
        var bytes = Self.header(sampleRateHz: sampleRateHz, channels: channels, dataBytes: samples.count * 2)
        bytes.reserveCapacity(bytes.count + samples.count * 2)
        for sample in samples {
            bytes.append(UInt8(truncatingIfNeeded: sample))
            bytes.append(UInt8(truncatingIfNeeded: sample >> 8))
        }
        return bytes
    }

    /// Writes the file, replacing what is there.
    public func write(to path: String) throws(WAVError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .cannotWrite(path, errno: errno) }
        defer { close(descriptor) }
        let bytes = bytes
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress! + written, bytes.count - written)
            }
            guard count > 0 else { throw .cannotWrite(path, errno: errno) }
            written += count
        }
    }

    static func header(sampleRateHz: Int, channels: Int, dataBytes: Int) -> [UInt8] {
        func little(_ value: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        return Array("RIFF".utf8) + little(36 + dataBytes, 4) + Array("WAVEfmt ".utf8) + little(16, 4) + little(1, 2)
            + little(channels, 2) + little(sampleRateHz, 4) + little(sampleRateHz * channels * 2, 4)
            + little(channels * 2, 2) + little(16, 2) + Array("data".utf8) + little(dataBytes, 4)
    }
}
