// G.711 by table: four lookups are all there is to a telephone codec. The tables are computed once from the segments of
// ITU-T G.711; the encoder's have an entry for every 16 bit sample, because shortening them (they would fit 14 bits)
// rounds negative samples the wrong way.

/// The two companding laws of ITU-T G.711.
public enum G711: Sendable {
    case mu
    case a

    /// The code of silence.
    public var silence: UInt8 { self == .mu ? 0xFF : 0xD5 }

    /// The sample that a code stands for.
    public func decode(_ code: UInt8) -> Int16 { tables.decode[Int(code)] }

    /// The code that is nearest to a sample.
    public func encode(_ sample: Int16) -> UInt8 { tables.encode[Int(UInt16(bitPattern: sample))] }

    /// The tables of this law. They live as long as the process.
    var tables: G711Tables { self == .mu ? G711Tables.mu : G711Tables.a }
}

/// Both directions of one law as plain memory, for loops that must not check anything twice.
struct G711Tables: @unchecked Sendable, BitwiseCopyable {
    /// 256 entries, by code.
    let decode: UnsafePointer<Int16>
    /// 65,536 entries, by the sample's bits.
    let encode: UnsafePointer<UInt8>

    static let mu = G711Tables(decode: muSample, encode: muCode)
    static let a = G711Tables(decode: aSample, encode: aCode)

    private init(decode sample: (UInt8) -> Int16, encode code: (Int16) -> UInt8) {
        let decode = UnsafeMutablePointer<Int16>.allocate(capacity: 256)
        for value in 0...UInt8.max { decode[Int(value)] = sample(value) }
        let encode = UnsafeMutablePointer<UInt8>.allocate(capacity: 65_536)
        for value in 0...UInt16.max { encode[Int(value)] = code(Int16(bitPattern: value)) }
        self.decode = UnsafePointer(decode)
        self.encode = UnsafePointer(encode)
    }

    @inline(__always)
    func decode(_ codes: UnsafePointer<UInt8>, count: Int, into samples: UnsafeMutablePointer<Int16>) {
        for index in 0..<count { samples[index] = decode[Int(codes[index])] }
    }

    @inline(__always)
    func encode(_ samples: UnsafePointer<Int16>, count: Int, into codes: UnsafeMutablePointer<UInt8>) {
        for index in 0..<count { codes[index] = encode[Int(UInt16(bitPattern: samples[index]))] }
    }

    // µ-law: a sign, three bits of segment, four of mantissa, all inverted on the wire. The bias of 33 (in 14 bits; 132
    // here) makes every segment start at a power of two.
    private static func muSample(_ code: UInt8) -> Int16 {
        let bits = Int(~code)
        let magnitude = ((bits & 0x0F) << 3 + 0x84) << ((bits >> 4) & 7) - 0x84
        return Int16(bits & 0x80 != 0 ? -magnitude : magnitude)
    }

    private static func muCode(_ sample: Int16) -> UInt8 {
        let magnitude = min(abs(Int(sample)), 32_635) + 0x84
        let segment = (Int.bitWidth - 1 - magnitude.leadingZeroBitCount) - 7
        let mantissa = (magnitude >> (segment + 3)) & 0x0F
        return ~UInt8((sample < 0 ? 0x80 : 0) | segment << 4 | mantissa)
    }

    // A-law: the same without bias, the two lowest segments equally coarse, and every second bit inverted on the wire.
    private static func aSample(_ code: UInt8) -> Int16 {
        let bits = Int(code ^ 0x55)
        let segment = (bits >> 4) & 7
        let mantissa = (bits & 0x0F) << 4 + 8
        let magnitude = segment == 0 ? mantissa : (mantissa + 0x100) << (segment - 1)
        return Int16(bits & 0x80 != 0 ? magnitude : -magnitude)
    }

    private static func aCode(_ sample: Int16) -> UInt8 {
        // One's complement for the negative half: -1 is the first step below zero, as 0 is the first above.
        let magnitude = sample >= 0 ? Int(sample) : ~Int(sample)
        let segment = magnitude < 256 ? 0 : (Int.bitWidth - 1 - magnitude.leadingZeroBitCount) - 7
        let mantissa = segment == 0 ? magnitude >> 4 : (magnitude >> (segment + 3)) & 0x0F
        return UInt8((sample >= 0 ? 0x80 : 0) | segment << 4 | mantissa) ^ 0x55
    }
}
