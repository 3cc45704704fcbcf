// What the formats of one audio line mean: payload types by number or by rtpmap, the one telephone-event line that
// counts, and the packet time.

/// The audio formats of one `m=audio` line.
struct OfferedFormats: Equatable {
    struct Codec: Equatable {
        var payloadType: UInt8
        var codec: AudioCodec
    }

    /// The codecs that we speak, in the peer's order.
    var codecs: [Codec] = []
    /// Telephone events by clock rate: their clock must be that of the audio codec (RFC 4733 section 2.1).
    var eventPayloadTypes: [Int: UInt8] = [:]
    var packetMs: Int?
    var maximumPacketMs: Int?
    /// The names of everything that was offered, for the message when nothing fits.
    var names: [String] = []

    init(_ media: SessionDescription.Media) {
        var mapped: [UInt8: (name: String, rate: Int)] = [:]
        for line in media.values(of: "rtpmap") {
            let words = line.split(separator: " ", maxSplits: 1)
            guard words.count == 2, let type = UInt8(words[0]), type < 128 else { continue }
            let parts = words[1].split(separator: "/")
            guard parts.count >= 2, let rate = Int(parts[1].prefix { $0.isNumber }) else { continue }
            mapped[type] = (parts[0].lowercased(), rate)
        }
        for format in media.formats {
            guard let type = UInt8(format), type < 128 else { continue }
            let entry = mapped[type] ?? Self.staticFormats[type]
            names.append(entry?.name ?? format)
            switch (entry?.name, entry?.rate) {
            case ("pcmu", 8_000): codecs.append(Codec(payloadType: type, codec: .pcmu))
            case ("pcma", 8_000): codecs.append(Codec(payloadType: type, codec: .pcma))
            case ("opus", 48_000): codecs.append(Codec(payloadType: type, codec: .opus))
            case ("telephone-event", let rate?): if eventPayloadTypes[rate] == nil { eventPayloadTypes[rate] = type }
            default: continue
            }
        }
        packetMs = media.values(of: "ptime").last.flatMap(Self.milliseconds)
        maximumPacketMs = media.values(of: "maxptime").last.flatMap(Self.milliseconds)
    }

    /// The telephone-event line that goes with `codec`; a peer that lists only one at another clock means that one.
    func eventPayloadType(for codec: AudioCodec) -> UInt8? {
        eventPayloadTypes[codec.clockRateHz] ?? (eventPayloadTypes.count == 1 ? eventPayloadTypes.first?.value : nil)
    }

    /// How much audio we put into a packet: what the peer asks for, in whole frames of 20 ms and within its limit. Less
    /// than a frame is never sent: `ptime` is a wish (RFC 8866 section 6.4), and 20 ms is what everybody takes.
    var sendPacketMs: Int {
        let wish = min(packetMs ?? 20, maximumPacketMs ?? 60)
        return min(max(wish / 20, 1), 3) * 20
    }

    private static func milliseconds(_ text: String) -> Int? {
        // "20", but some gateways write "20.0".
        Int(text.prefix { $0.isNumber }).flatMap { (1...1_000).contains($0) ? $0 : nil }
    }

    /// RFC 3551 table 4, as far as it concerns anybody here.
    private static let staticFormats: [UInt8: (name: String, rate: Int)] = [
        0: ("pcmu", 8_000), 3: ("gsm", 8_000), 8: ("pcma", 8_000), 9: ("g722", 8_000), 13: ("cn", 8_000),
        18: ("g729", 8_000),
    ]
}
