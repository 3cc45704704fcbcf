// Samples as Deepgram takes them. µ-law is coded here and not taken from the line because the contract carries 16 bit;
// of a call in µ-law the same bytes come out that went in, since decoding loses nothing.

public enum SampleCoding {
    /// G.711 µ-law (ITU-T G.711, table 2a), or 16 bit little-endian.
    public static func bytes(_ samples: [Int16], _ encoding: ListenPlan.Encoding) -> [UInt8] {
        switch encoding {
        case .mulaw: return samples.map(muLaw)
        case .linear16:
            var bytes: [UInt8] = []
            bytes.reserveCapacity(samples.count * 2)
            for sample in samples {
                bytes.append(UInt8(truncatingIfNeeded: sample))
                bytes.append(UInt8(truncatingIfNeeded: sample >> 8))
            }
            return bytes
        }
    }

    public static func silence(_ samples: Int, _ encoding: ListenPlan.Encoding) -> [UInt8] {
        encoding == .mulaw ? [UInt8](repeating: 0xff, count: samples) : [UInt8](repeating: 0, count: samples * 2)
    }

    /// Sign, three bits of exponent, four of mantissa; the whole inverted.
    static func muLaw(_ sample: Int16) -> UInt8 {
        let sign: Int = sample < 0 ? 0x80 : 0
        let magnitude = min(abs(Int(sample)), 32635) + 132
        let exponent = Int.bitWidth - magnitude.leadingZeroBitCount - 8
        return ~UInt8(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 15)
    }
}
