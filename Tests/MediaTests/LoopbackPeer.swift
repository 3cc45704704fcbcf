// The other end of a call, on a socket of the loopback interface: what a telephone does, and nothing of our own engine.

import Glibc

@testable import Media

/// A peer that sends and receives RTP packets.
final class LoopbackPeer {
    struct Received {
        var header: RTPPacket
        var payload: [UInt8]
        var atNs: Int64
        var isRTCP = false
    }

    let socket: Int32
    let address: SocketAddress
    var sequence: UInt16 = 65_530
    var timestamp: UInt32 = 4_294_967_000
    let ssrc: UInt32 = 0x1234_5678
    var destination = SocketAddress()

    init() {
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var local = SocketAddress(host: "127.0.0.1", port: 0)!
        precondition(local.withPointer { bind(descriptor, $0, $1) } == 0)
        var bound = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &bound) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        local.port = UInt16(bigEndian: bound.sin_port)
        address = local
        socket = descriptor
    }

    deinit { close(socket) }

    func offer(_ formats: String = "0 101", lines: [String] = ["a=rtpmap:101 telephone-event/8000"]) -> String {
        (["v=0", "o=peer 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
            "m=audio \(address.port) RTP/AVP \(formats)"] + lines).joined(separator: "\r\n") + "\r\n"
    }

    func send(_ payload: [UInt8], type: UInt8 = 0, marker: Bool = false, ticks: UInt32 = 160) {
        let header = RTPPacket(
            payloadType: type, marker: marker, sequence: sequence, timestamp: timestamp, ssrc: ssrc)
        sequence &+= 1
        timestamp &+= ticks
        send(header: header, payload)
    }

    func send(header: RTPPacket, _ payload: [UInt8]) {
        var bytes = [UInt8](repeating: 0, count: 12) + payload
        bytes.withUnsafeMutableBytes { header.write(to: $0.baseAddress!) }
        _ = destination.withPointer { sendto(socket, bytes, bytes.count, 0, $0, $1) }
    }

    /// Everything that waits.
    func receive() -> [Received] {
        var all: [Received] = []
        var buffer = [UInt8](repeating: 0, count: 2_000)
        while true {
            let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { return all }
            let now = MonotonicClock.now
            buffer[..<count].withUnsafeBytes { raw in
                let datagram = UnsafeRawBufferPointer(rebasing: raw[...])
                guard let header = try? RTPPacket(parsing: datagram) else { return }
                all.append(
                    Received(
                        header: header, payload: Array(datagram[header.payloadOffset...].prefix(header.payloadCount)),
                        atNs: now, isRTCP: RTPPacket.isRTCP(datagram)))
            }
        }
    }
}

/// A sine at telephone loudness.
func tone(hertz: Double, count: Int, rate: Int = 8_000, amplitude: Double = 8_000, from: Int = 0) -> [Int16] {
    (0..<count).map { Int16(amplitude * sin(2 * .pi * hertz * Double(from + $0) / Double(rate))) }
}

func withSamples<Result>(_ samples: [Int16], _ body: (UnsafeBufferPointer<Int16>) -> Result) -> Result {
    samples.withUnsafeBufferPointer(body)
}
