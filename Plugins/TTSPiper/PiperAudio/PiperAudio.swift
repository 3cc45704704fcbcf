// The body of a voice's answer, turned into samples as it arrives.
//
// Piper's own server sends a WAV file and calls it text/html; ours streams bare samples and says so. What counts is
// therefore how the body begins, and only where that is no RIFF, what the header said.

import PluginKit

public struct PiperAudio: Sendable {
    /// A header with more than this before its samples is none that a voice writes.
    static let headerBytesMax = 64 << 10

    /// The rate of the samples; 0 until it is known.
    public private(set) var rateHz = 0

    private enum Place: Sendable { case beginning, samples }
    private var place = Place.beginning
    private var held: [UInt8] = []
    private let announcedRateHz: Int?
    /// Bytes of samples that are still to come, in a WAV that says how many there are.
    private var remaining: Int?

    /// - Parameter announcedRateHz: the rate of bare samples, by the answer's headers; nil: it must be a WAV.
    public init(announcedRateHz: Int?) { self.announcedRateHz = announcedRateHz }

    /// Reads the rate of bare samples from the headers of an answer.
    public static func announcedRateHz(_ response: HTTPResponse) -> Int? {
        guard let type = response["content-type"]?.lowercased(),
            type.hasPrefix("audio/l16") || type.hasPrefix("audio/pcm")
        else { return nil }
        if let rate = response["x-sample-rate"].flatMap({ Int($0) }), isRate(rate) { return rate }
        for parameter in type.split(separator: ";").dropFirst() {
            let parts = parameter.split(separator: "=").map { $0.filter { !$0.isWhitespace } }
            if parts.count == 2, parts[0] == "rate", let rate = Int(parts[1]), isRate(rate) { return rate }
        }
        return nil
    }

    private static func isRate(_ rateHz: Int) -> Bool { (8000...48000).contains(rateHz) }

    /// The samples that are complete now. Throws when the body is no speech that the contract can carry.
    public mutating func feed(_ bytes: [UInt8]) throws(PluginError) -> [Int16] {
        held += bytes
        if place == .beginning {
            // Bare samples are passed on from the first; only what may still become a WAV waits for more.
            let mayBeWAV = "RIFF".utf8.starts(with: held.prefix(4))
            guard held.count >= 12 || (announcedRateHz != nil && !mayBeWAV) else { return [] }
            if held.starts(with: Array("RIFF".utf8)) {
                guard try readHeader() else { return [] }
            } else if let announcedRateHz {
                rateHz = announcedRateHz
                place = .samples
            } else {
                throw PluginError(
                    .vendor,
                    "the voice's answer is neither a WAV file nor bare samples; is `url` that of a Piper server?")
            }
        }
        return takeSamples()
    }

    /// The body is over. Throws when it was cut off.
    public mutating func end() throws(PluginError) -> [Int16] {
        if place == .beginning {
            // A few bare samples; nothing at all is no speech, whatever the header said.
            guard let announcedRateHz, !held.isEmpty, !held.starts(with: Array("RIFF".utf8)) else {
                throw PluginError(.vendor, "the voice's answer ended before its first sample", isRetryable: true)
            }
            rateHz = announcedRateHz
            place = .samples
        }
        let samples = takeSamples()
        if let remaining, remaining > 1 {
            throw PluginError(.vendor, "the voice's answer ended \(remaining) bytes early")
        }
        if remaining == nil && !held.isEmpty {
            throw PluginError(.vendor, "the voice's answer ended in the middle of a sample")
        }
        return samples
    }

    private mutating func takeSamples() -> [Int16] {
        var count = held.count & ~1
        if let remaining { count = min(count, remaining & ~1) }
        var samples: [Int16] = []
        samples.reserveCapacity(count / 2)
        for index in stride(from: 0, to: count, by: 2) {
            samples.append(Int16(truncatingIfNeeded: Int(held[index]) | Int(held[index + 1]) << 8))
        }
        held.removeFirst(count)
        if let left = remaining {
            remaining = left - count
            // What follows the samples in a WAV is somebody's comment.
            if left - count <= 1 { held = [] }
        }
        return samples
    }

    /// Reads the chunks before the samples. False: more bytes are needed.
    private mutating func readHeader() throws(PluginError) -> Bool {
        func number(_ offset: Int, _ width: Int) -> Int {
            (0..<width).reduce(0) { $0 | Int(held[offset + $1]) << (8 * $1) }
        }
        var offset = 12
        while held.count >= offset + 8 {
            let name = held[offset..<offset + 4]
            let size = number(offset + 4, 4)
            if name.elementsEqual("data".utf8) {
                guard rateHz != 0 else {
                    throw PluginError(.vendor, "the voice's WAV has no format before its samples")
                }
                // A server that streams does not know the size yet and writes 0 or the largest number.
                remaining = size == 0 || size >= 0xFFFF_FF00 ? nil : size
                held.removeFirst(offset + 8)
                place = .samples
                return true
            }
            guard held.count >= offset + 8 + size else { break }
            if name.elementsEqual("fmt ".utf8) {
                guard size >= 16 else { throw PluginError(.vendor, "the voice's WAV has a format of \(size) bytes") }
                let (format, channels, rate, bits) =
                    (number(offset + 8, 2), number(offset + 10, 2), number(offset + 12, 4), number(offset + 22, 2))
                guard format == 1 || format == 0xFFFE, channels == 1, bits == 16, Self.isRate(rate) else {
                    throw PluginError(
                        .vendor,
                        "the voice's WAV has \(channels) channels of \(bits) bits at \(rate) Hz in format \(format);"
                            + " one channel of 16 bits PCM at 8 to 48 kHz is needed")
                }
                rateHz = rate
            }
            offset += 8 + size + size % 2
        }
        guard held.count < Self.headerBytesMax else { throw PluginError(.vendor, "the voice's WAV has no samples") }
        return false
    }
}
