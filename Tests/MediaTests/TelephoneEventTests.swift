// Presses as they arrive when packets are lost and when peers do as they please (RFC 4733, and the list of known bugs).

import Testing

@testable import Media

@Suite("Telephone events")
struct TelephoneEventTests {
    private struct Packet {
        var event: UInt8 = 5
        var timestamp: UInt32 = 1_000
        var duration: UInt16
        var isEnd = false
        var marker = false
        var atMs: Int64
    }

    /// One press of 80 ms as it should be: four packets and three ends.
    private func press(_ event: UInt8 = 5, timestamp: UInt32 = 1_000, fromMs: Int64 = 0) -> [Packet] {
        (0..<7).map { (index: Int) -> Packet in
            let duration = UInt16(min(index + 1, 5) * 160)
            return Packet(
                event: event, timestamp: timestamp, duration: duration, isEnd: index >= 4, marker: index == 0,
                atMs: fromMs + Int64(index) * 20)
        }
    }

    private func digits(_ packets: [Packet], thenWaitMs: Int64 = 1_000) -> String {
        var receiver = TelephoneEventReceiver()
        var digits = ""
        var now: Int64 = 0
        var pending = packets[...]
        let end = (packets.last?.atMs ?? 0) + thenWaitMs
        while now <= end {
            while let packet = pending.first, packet.atMs <= now {
                pending.removeFirst()
                let payload: [UInt8] = [
                    packet.event, packet.isEnd ? 0x8A : 0x0A, UInt8(packet.duration >> 8), UInt8(packet.duration & 255),
                ]
                let found = payload.withUnsafeBytes {
                    receiver.receive($0, timestamp: packet.timestamp, marker: packet.marker, now: now * 1_000_000)
                }
                for digit in [found.0, found.1] { if let digit { digits.append(digit.character) } }
            }
            if let digit = receiver.poll(now: now * 1_000_000) { digits.append(digit.character) }
            now += 10
        }
        return digits
    }

    @Test("A press is one digit, every key has its name")
    func everyKey() {
        for (event, name) in "0123456789*#ABCD".enumerated() {
            #expect(digits(press(UInt8(event))) == String(name))
            #expect(DTMFDigit(name)?.rawValue == UInt8(event))
        }
    }

    @Test("Any single packet of a press may be lost", arguments: 0..<7)
    func oneLost(lost: Int) {
        var packets = press()
        packets.remove(at: lost)
        #expect(digits(packets) == "5")
    }

    @Test("All ends lost: the pause reports it")
    func endsLost() { #expect(digits(Array(press().prefix(4))) == "5") }

    @Test("Only one of the ends arrives", arguments: 4..<7)
    func onlyAnEnd(index: Int) { #expect(digits([press()[index]]) == "5") }

    @Test("The same key twice is two digits, even when all ends of the first are lost")
    func twice() {
        #expect(digits(press() + press(timestamp: 2_600, fromMs: 240)) == "55")
        #expect(digits(Array(press().prefix(4)) + press(timestamp: 2_600, fromMs: 180)) == "55")
    }

    @Test("Another key without an end of the first reports both in order")
    func nextKey() {
        #expect(digits(Array(press(1).prefix(3)) + press(2, timestamp: 1_800, fromMs: 100)) == "12")
    }

    @Test("A timestamp that moves with every packet is one press (Sonus)")
    func movingTimestamp() {
        var packets = press()
        for index in packets.indices { packets[index].timestamp += UInt32(index) * 160 }
        #expect(digits(packets) == "5")
    }

    @Test("A marker on every packet changes nothing (Huawei)")
    func markerEverywhere() {
        var packets = press()
        for index in packets.indices { packets[index].marker = true }
        #expect(digits(packets) == "5")
    }

    @Test("A duration of zero, and one that is wrong, are a press all the same")
    func wrongDuration() {
        var packets = press()
        for index in packets.indices { packets[index].duration = 0 }
        #expect(digits(packets) == "5")
        for index in packets.indices { packets[index].duration = 12_345 }
        #expect(digits(packets) == "5")
    }

    @Test("Packets of a press that come after its successor are ignored")
    func reordered() {
        var packets = press() + press(7, timestamp: 2_600, fromMs: 240)
        packets.append(Packet(duration: 800, isEnd: true, atMs: 400))
        #expect(digits(packets) == "57")
    }

    @Test("A press of more than eight seconds goes on in another segment and stays one digit")
    func longPress() {
        var packets: [Packet] = []
        for index in 0..<450 {
            let ticks = (index + 1) * 160
            let isSecond = ticks > 0xFFFF
            packets.append(
                Packet(
                    timestamp: isSecond ? 1_000 + 0xFFFF : 1_000, duration: UInt16(isSecond ? ticks - 0xFFFF : ticks),
                    isEnd: index == 449, marker: index == 0, atMs: Int64(index) * 20))
        }
        #expect(digits(packets) == "5")
    }

    @Test("Too short a payload is nothing, an unknown event no digit")
    func nonsense() {
        var receiver = TelephoneEventReceiver()
        let none = [UInt8(5), 0x80].withUnsafeBytes { receiver.receive($0, timestamp: 1, marker: true, now: 0) }
        #expect(none.0 == nil && none.1 == nil)
        #expect(digits(press(200)) == "")
    }

    @Test("What we send is what we would recognise: marker once, growing durations, three ends, a pause")
    func sending() {
        var sender = TelephoneEventSender()
        for key in [DTMFDigit.one, .two, .pound] { _ = sender.enqueue(key) }
        var packets: [Packet] = []
        var frame = 0
        while sender.isBusy {
            if let packet = sender.next(timestamp: 5_000 + UInt32(frame) * 160, frameTicks: 160) {
                packets.append(
                    Packet(
                        event: packet.event, timestamp: packet.timestamp, duration: packet.duration,
                        isEnd: packet.isEnd, marker: packet.marker, atMs: Int64(frame) * 20))
            }
            frame += 1
            #expect(frame < 100)
        }
        #expect(packets.filter(\.isEnd).count == 9)
        #expect(packets.filter(\.marker).count == 3)
        #expect(Set(packets.map(\.timestamp)).count == 3)
        #expect(packets.filter(\.isEnd).allSatisfy { $0.duration == 800 })
        #expect(digits(packets) == "12#")
        // The last packet of a press and the first of the next: at least 100 ms of pause.
        #expect(packets[7].atMs - packets[6].atMs >= 100)
    }

    @Test("The queue of digits is bounded")
    func bounded() {
        var sender = TelephoneEventSender()
        let taken = (0..<40).map { _ in sender.enqueue(.star) }
        #expect(taken.filter { $0 }.count == TelephoneEventSender.queueLimit)
        #expect(taken.last == false)
    }
}
