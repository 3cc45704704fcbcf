// Base64 (RFC 4648, section 4): bytes in the lines of the peer channel, and in scripts. Foundation has it too, and
// would come into every probe for it.

enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xff, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()

    static func text(of bytes: [UInt8]) -> String {
        let count = (bytes.count + 2) / 3 * 4
        return alphabet.withUnsafeBufferPointer { alphabet in
            bytes.withUnsafeBufferPointer { bytes in
                String(unsafeUninitializedCapacity: count) { out in
                    var (from, to) = (0, 0)
                    while from < bytes.count {
                        let second = from + 1 < bytes.count ? bytes[from + 1] : 0
                        let third = from + 2 < bytes.count ? bytes[from + 2] : 0
                        let group = Int(bytes[from]) << 16 | Int(second) << 8 | Int(third)
                        out[to] = alphabet[group >> 18]
                        out[to + 1] = alphabet[group >> 12 & 63]
                        out[to + 2] = from + 1 < bytes.count ? alphabet[group >> 6 & 63] : UInt8(ascii: "=")
                        out[to + 3] = from + 2 < bytes.count ? alphabet[group & 63] : UInt8(ascii: "=")
                        from += 3
                        to += 4
                    }
                    return count
                }
            }
        }
    }

    /// Nil for what is no Base64; padding may be left out.
    static func bytes(of text: some StringProtocol) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(text.utf8.count * 3 / 4)
        var group: UInt32 = 0
        var bits = 0
        var padding = 0
        for character in text.utf8 {
            if character == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            let value = values[Int(character)]
            guard value != 0xff, padding == 0 else { return nil }
            group = group << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                out.append(UInt8(group >> UInt32(bits) & 0xff))
                group &= (1 << UInt32(bits)) - 1
            }
        }
        return bits < 6 && group == 0 && padding <= 2 ? out : nil
    }
}
