// The RTP header, read and written in place (RFC 3550 section 5.1). A packet comes from anybody who can reach the port,
// so every length in it is checked before it is believed, and what is wrong has a name for the counters.

/// Why a datagram is not an RTP packet.
enum RTPFault: Error, Equatable, BitwiseCopyable {
    case tooShort
    case wrongVersion
    /// The CSRC list or the header extension is longer than the packet.
    case truncated
    /// The padding claims more bytes than the payload has, or none.
    case badPadding
}

/// The header of an RTP packet, and where its payload lies.
struct RTPPacket: Equatable, BitwiseCopyable {
    static let headerByteCount = 12

    var payloadType: UInt8
    var marker = false
    var sequence: UInt16
    var timestamp: UInt32
    var ssrc: UInt32
    /// Offset of the payload in the datagram.
    var payloadOffset = RTPPacket.headerByteCount
    var payloadCount = 0

    init(payloadType: UInt8, marker: Bool, sequence: UInt16, timestamp: UInt32, ssrc: UInt32) {
        self.payloadType = payloadType
        self.marker = marker
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = ssrc
    }

    init(parsing datagram: UnsafeRawBufferPointer) throws(RTPFault) {
        guard datagram.count >= Self.headerByteCount else { throw .tooShort }
        let first = datagram[0]
        guard first >> 6 == 2 else { throw .wrongVersion }
        marker = datagram[1] & 0x80 != 0
        payloadType = datagram[1] & 0x7F
        sequence = datagram.bigEndian16(at: 2)
        timestamp = datagram.bigEndian32(at: 4)
        ssrc = datagram.bigEndian32(at: 8)

        var offset = Self.headerByteCount + Int(first & 0x0F) * 4
        if first & 0x10 != 0 {
            guard offset + 4 <= datagram.count else { throw .truncated }
            offset += 4 + Int(datagram.bigEndian16(at: offset + 2)) * 4
        }
        guard offset <= datagram.count else { throw .truncated }
        var count = datagram.count - offset
        if first & 0x20 != 0 {
            let padding = Int(datagram[datagram.count - 1])
            guard padding > 0, padding <= count else { throw .badPadding }
            count -= padding
        }
        payloadOffset = offset
        payloadCount = count
    }

    /// Writes the twelve bytes of the header.
    @inline(__always)
    func write(to datagram: UnsafeMutableRawPointer) {
        datagram.storeBytes(of: 0x80, as: UInt8.self)
        datagram.storeBytes(of: (marker ? 0x80 : 0) | payloadType, toByteOffset: 1, as: UInt8.self)
        datagram.storeBytes(of: sequence.bigEndian, toByteOffset: 2, as: UInt16.self)
        datagram.storeBytes(of: timestamp.bigEndian, toByteOffset: 4, as: UInt32.self)
        datagram.storeBytes(of: ssrc.bigEndian, toByteOffset: 8, as: UInt32.self)
    }

    /// Whether a datagram on a port that carries both is RTCP: RFC 5761 section 4, by the packet types 192 to 223.
    @inline(__always)
    static func isRTCP(_ datagram: UnsafeRawBufferPointer) -> Bool {
        datagram.count >= 8 && datagram[0] >> 6 == 2 && (192...223).contains(datagram[1])
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    func bigEndian16(at offset: Int) -> UInt16 {
        UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    @inline(__always)
    func bigEndian32(at offset: Int) -> UInt32 {
        UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
}
