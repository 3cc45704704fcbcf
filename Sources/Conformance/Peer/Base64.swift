// Base64 (RFC 4648, section 4): bytes in the lines of the peer channel, and in scripts. Foundation has it too, and
// would come into every probe for it.

enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xff, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()

    static func text(of bytes: some Collection<UInt8>) -> String {
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count + 2) / 3 * 4)
        var group: UInt32 = 0
        var filled = 0
        for byte in bytes {
            group = group << 8 | UInt32(byte)
            filled += 1
            guard filled == 3 else { continue }
            for shift in [18, 12, 6, 0] as [UInt32] { out.append(alphabet[Int(group >> shift & 63)]) }
            group = 0
            filled = 0
        }
        if filled > 0 {
            group <<= UInt32(8 * (3 - filled))
            for shift in ([18, 12, 6] as [UInt32]).prefix(filled + 1) { out.append(alphabet[Int(group >> shift & 63)]) }
            out += [UInt8](repeating: UInt8(ascii: "="), count: 3 - filled)
        }
        return String(decoding: out, as: UTF8.self)
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
