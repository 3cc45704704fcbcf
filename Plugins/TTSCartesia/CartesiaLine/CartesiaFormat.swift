// Samples out of a message: base64 (RFC 4648, section 4), then little-endian PCM or G.711.
//
// The contract's frames are 16 bit here, so µ-law is expanded at once; what it saves is half of the vendor's bytes.
// A sample that is cut in two by the end of a chunk has not been seen, and is put together all the same: heard from the
// wrong byte on, speech is noise.

/// How the vendor is asked to send samples.
public struct CartesiaFormat: Sendable, Equatable {
    public enum Encoding: String, Sendable { case linear = "pcm_s16le", muLaw = "pcm_mulaw" }

    public let encoding: Encoding
    public let rateHz: Int

    public init(_ encoding: Encoding, rateHz: Int) {
        self.encoding = encoding
        self.rateHz = rateHz
    }

    /// The samples that are complete; half of one stays in `rest`.
    func samples(of bytes: [UInt8], rest: inout UInt8?) -> [Int16] {
        guard encoding == .linear else { return bytes.map { Self.expanded[Int($0)] } }
        let bytes = (rest.map { [$0] } ?? []) + bytes
        rest = bytes.count % 2 == 1 ? bytes.last : nil
        return (0..<bytes.count / 2).map {
            Int16(truncatingIfNeeded: Int(bytes[2 * $0]) | Int(bytes[2 * $0 + 1]) << 8)
        }
    }

    /// ITU-T G.711, table 2b.
    private static let expanded: [Int16] = (0..<256).map { code in
        let inverted = ~code & 0xFF
        let magnitude = (((inverted & 0x0F) << 3) + 0x84) << ((inverted >> 4) & 7) - 0x84
        return Int16(inverted & 0x80 != 0 ? -magnitude : magnitude)
    }
}

/// Base64, with its padding or without. nil: the text is none.
func decodeBase64(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count / 4 * 3)
    var bits: UInt32 = 0
    var count = 0
    var padding = 0
    for character in text.utf8 {
        if character == UInt8(ascii: "=") {
            padding += 1
            continue
        }
        guard padding == 0, let value = sextet(character) else { return nil }
        bits = bits << 6 | UInt32(value)
        count += 1
        if count % 4 == 0 {
            bytes += [UInt8(truncatingIfNeeded: bits >> 16), UInt8(truncatingIfNeeded: bits >> 8),
                UInt8(truncatingIfNeeded: bits)]
            bits = 0
        }
    }
    guard padding <= 2 else { return nil }
    switch count % 4 {
    case 0: return padding == 0 ? bytes : nil
    case 2: bytes.append(UInt8(truncatingIfNeeded: bits >> 4))
    case 3: bytes += [UInt8(truncatingIfNeeded: bits >> 10), UInt8(truncatingIfNeeded: bits >> 2)]
    default: return nil
    }
    return bytes
}

private func sextet(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - 65
    case UInt8(ascii: "a")...UInt8(ascii: "z"): character - 71
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character + 4
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
}
