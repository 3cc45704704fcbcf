// Offer and answer (RFC 3264) for one audio stream, as a value: descriptions in, descriptions and parameters out.
//
// What peers taught it, each of which has its test:
//   - The answer has as many m= lines as the offer, in its order; what we do not want gets port 0 (section 6).
//   - The profile is echoed as it was written: Linphone hangs up when its AVPF is answered with AVP.
//   - Exactly one codec is answered, the first in the offerer's order that we speak, under the offerer's number, plus
//     telephone-event at that codec's clock. MicroSIP sends another re-INVITE when it sees two.
//   - Hold comes in three styles: sendonly, inactive, and c=0.0.0.0 (section 8.4). Answering sendrecv to sendonly
//     leaves the audio dead after the resume.
//   - The version in o= moves only when the description does (section 8), so a session-timer refresh is seen as one.
//   - rtcp-mux is answered only when it was offered (RFC 5761 section 5.1.1).
//
// Encrypted profiles (SAVP) are refused here as having no common codec; encryption is not part of this engine yet.

/// The description of one audio stream on our side, and what has been agreed about it.
struct SDPNegotiator {
    /// Where we receive, as the peer shall see it.
    let local: SocketAddress
    let codecs: [AudioCodec]
    let sessionID: UInt64
    /// We do not want to hear the peer: hold from our side.
    var isHeldByUs = false

    private var version: UInt64 = 1
    private var lastBody = ""
    private var pendingOffer: Bool = false
    /// Our m= line's place among the peer's, and all of them, so that a later offer of ours keeps their number and
    /// order.
    private var refusedLines: [(index: Int, line: String)] = []
    private var audioProfile = "RTP/AVP"
    private(set) var agreed: MediaParameters?

    init(local: SocketAddress, codecs: [AudioCodec], sessionID: UInt64) {
        precondition(!codecs.isEmpty, "a stream needs at least one codec to offer")
        self.local = local
        self.codecs = codecs
        self.sessionID = sessionID
    }

    // MARK: Answering

    /// The answer to an offer, and what both agree on by it. On an error nothing has changed.
    mutating func answer(to text: String) throws(SDPError) -> (answer: String, parameters: MediaParameters) {
        let offer = try SessionDescription(parsing: text)
        guard !offer.media.isEmpty else { throw .malformed("there is no m= line") }
        var audio: (index: Int, formats: OfferedFormats, choice: OfferedFormats.Codec)?
        var refusals: [String] = []
        for (index, media) in offer.media.enumerated() where media.kind == "audio" && audio == nil {
            guard Self.plainProfiles.contains(media.profile.uppercased()) else {
                refusals.append("profile \(media.profile) is not RTP/AVP or RTP/AVPF")
                continue
            }
            guard media.port != 0 else { refusals.append("the audio line has port 0"); continue }
            let formats = OfferedFormats(media)
            guard let choice = formats.codecs.first(where: { codecs.contains($0.codec) }) else {
                refusals.append("offered \(formats.names.joined(separator: ", "))")
                continue
            }
            audio = (index, formats, choice)
        }
        guard let audio else {
            let reason = refusals.isEmpty ? "there is no audio line" : refusals.joined(separator: ", ")
            throw .noCommonCodec("\(reason). We speak \(codecs.map(\.encodingName).joined(separator: ", "))")
        }

        let media = offer.media[audio.index]
        var parameters = try Self.parameters(of: offer, media, audio.formats, audio.choice)
        parameters.usesRTCPMux = media.has("rtcp-mux")
        let peer = media.direction ?? offer.direction ?? .sendReceive
        parameters.isHeldByPeer = !peer.receives || parameters.remote.isUnspecified
        // Against c=0.0.0.0 we go silent, but the attribute answers the attribute: RFC 3264 section 8.4.
        let answered = MediaDirection(
            sends: peer.reversed.sends, receives: peer.reversed.receives && !isHeldByUs)
        parameters.direction = MediaDirection(
            sends: answered.sends && !parameters.isHeldByPeer, receives: answered.receives)
        parameters.setReceiveType(audio.choice.payloadType, for: audio.choice.codec)
        if let type = audio.formats.eventPayloadType(for: audio.choice.codec) {
            parameters.sendEventPayloadType = type
            parameters.receiveEventPayloadType = type
        }

        audioProfile = media.profile
        refusedLines = offer.media.enumerated().filter { $0.offset != audio.index }.map {
            ($0.offset, "m=\($0.element.kind) 0 \($0.element.profile) \($0.element.formats.joined(separator: " "))\r\n")
        }
        let eventRate = audio.formats.eventPayloadTypes.first { $0.value == parameters.sendEventPayloadType }?.key
        let answer = describe(
            codecs: [(audio.choice.codec, audio.choice.payloadType)],
            event: eventRate.map { (parameters.sendEventPayloadType, $0) }, direction: answered,
            rtcpMux: parameters.usesRTCPMux)
        pendingOffer = false
        agreed = parameters
        return (answer, parameters)
    }

    // MARK: Offering

    /// Our description, for an INVITE or for a re-INVITE that came without one.
    mutating func offer() -> String {
        pendingOffer = true
        // The codec in use comes first, under its number: a re-INVITE shall not move a running call to another one.
        var listed = codecs.map { ($0, $0.preferredPayloadType) }
        if let agreed {
            listed.removeAll { $0.0 == agreed.codec }
            listed.insert((agreed.codec, agreed.receiveType(of: agreed.codec)), at: 0)
        }
        let direction: MediaDirection = isHeldByUs ? .sendOnly : .sendReceive
        // One telephone-event line only, at 8 kHz: several peers confuse two (Zoiper, MicroSIP 3.20).
        let eventRate = listed.allSatisfy { $0.0 == .opus } ? 48_000 : listed[0].0.clockRateHz
        return describe(
            codecs: listed, event: (Self.eventPayloadType, eventRate), direction: direction,
            rtcpMux: agreed?.usesRTCPMux ?? false)
    }

    /// What both agree on by the peer's answer to our offer. On an error nothing has changed.
    mutating func accept(answer text: String) throws(SDPError) -> MediaParameters {
        guard pendingOffer else { throw .unexpected("there is no offer to which this could be the answer") }
        let answer = try SessionDescription(parsing: text)
        let place = ourLineIndex
        guard answer.media.count > place, answer.media[place].kind == "audio" else {
            throw .unexpected("the answer has no audio line in the place of ours")
        }
        let media = answer.media[place]
        guard media.port != 0 else { throw .noCommonCodec("the peer refused the audio line") }
        let formats = OfferedFormats(media)
        guard let choice = formats.codecs.first(where: { codecs.contains($0.codec) }) else {
            throw .noCommonCodec("the peer answered \(formats.names.joined(separator: ", "))")
        }
        var parameters = try Self.parameters(of: answer, media, formats, choice)
        parameters.usesRTCPMux = media.has("rtcp-mux") && (agreed?.usesRTCPMux ?? false)
        let peer = media.direction ?? answer.direction ?? .sendReceive
        parameters.isHeldByPeer = !peer.receives || parameters.remote.isUnspecified
        parameters.direction = MediaDirection(
            sends: peer.receives && !parameters.isHeldByPeer, receives: peer.sends && !isHeldByUs)
        for codec in codecs { parameters.setReceiveType(codec.preferredPayloadType, for: codec) }
        if let agreed { parameters.setReceiveType(agreed.receiveType(of: agreed.codec), for: agreed.codec) }
        if let type = formats.eventPayloadType(for: choice.codec) {
            parameters.sendEventPayloadType = type
            parameters.receiveEventPayloadType = Self.eventPayloadType
        }
        pendingOffer = false
        agreed = parameters
        return parameters
    }

    // MARK: Parts

    private static let plainProfiles: Set<String> = ["RTP/AVP", "RTP/AVPF"]
    private static let eventPayloadType: UInt8 = 101

    /// The place of our audio line: the first that is not taken by a line we refused.
    private var ourLineIndex: Int {
        let refused = Set(refusedLines.map(\.index))
        return (0...refused.count).first { !refused.contains($0) } ?? 0
    }

    private static func parameters(
        of description: SessionDescription, _ media: SessionDescription.Media, _ formats: OfferedFormats,
        _ choice: OfferedFormats.Codec
    ) throws(SDPError) -> MediaParameters {
        guard let host = media.connectionHost ?? description.connectionHost else {
            throw .malformed("there is no c= line for the audio")
        }
        var parameters = MediaParameters()
        // A host name is legal, but looking it up would block the signalling; the latch finds the address from the
        // packets.
        parameters.remote = SocketAddress(host: host, port: media.port) ?? SocketAddress()
        parameters.remoteRTCP = parameters.remote
        parameters.remoteRTCP.port = media.port &+ 1
        if let line = media.values(of: "rtcp").first {
            // RFC 3605: a=rtcp:PORT [IN IP4 ADDRESS]
            let words = line.split(separator: " ")
            if let port = words.first.flatMap({ UInt16($0) }) {
                let other = words.count == 4 ? SocketAddress(host: String(words[3]), port: port) : nil
                parameters.remoteRTCP.port = port
                parameters.remoteRTCP = other ?? parameters.remoteRTCP
            }
        }
        parameters.codec = choice.codec
        parameters.sendPayloadType = choice.payloadType
        parameters.packetMs = Int32(formats.sendPacketMs)
        return parameters
    }

    /// Writes our description. The version in o= moves only when the rest does.
    private mutating func describe(
        codecs: [(AudioCodec, UInt8)], event: (type: UInt8, rate: Int)?, direction: MediaDirection, rtcpMux: Bool
    ) -> String {
        let family = local.isIPv6 ? "IP6" : "IP4"
        var formats = codecs.map { "\($0.1)" }
        if let event { formats.append("\(event.type)") }
        var audio = "m=audio \(local.port) \(audioProfile) \(formats.joined(separator: " "))\r\n"
        for (codec, type) in codecs {
            audio += "a=rtpmap:\(type) \(codec.rtpmap)\r\n"
            if codec == .opus { audio += "a=fmtp:\(type) \(Self.opusFormat)\r\n" }
        }
        if let event {
            audio += "a=rtpmap:\(event.type) telephone-event/\(event.rate)\r\na=fmtp:\(event.type) 0-16\r\n"
        }
        audio += "a=ptime:20\r\na=maxptime:60\r\n"
        if rtcpMux { audio += "a=rtcp-mux\r\n" }
        audio += "a=\(direction.attribute)\r\n"

        var lines = refusedLines.map(\.line)
        lines.insert(audio, at: min(ourLineIndex, lines.count))
        let body = "s=-\r\nc=IN \(family) \(local.host)\r\nt=0 0\r\n" + lines.joined()
        if body != lastBody, !lastBody.isEmpty { version += 1 }
        lastBody = body
        return "v=0\r\no=- \(sessionID) \(version) IN \(family) \(local.host)\r\n" + body
    }

    /// RFC 7587 section 6.1: wideband speech is all that a recogniser uses, mono, repairable, and never longer than a
    /// slot of the jitter buffer.
    private static let opusFormat =
        "maxplaybackrate=16000;sprop-maxcapturerate=16000;maxaveragebitrate=32000;stereo=0;useinbandfec=1;usedtx=0"
}

extension MediaParameters {
    mutating func setReceiveType(_ type: UInt8, for codec: AudioCodec) {
        switch codec {
        case .pcmu: receivePCMUPayloadType = type
        case .pcma: receivePCMAPayloadType = type
        case .opus: receiveOpusPayloadType = type
        }
    }

    func receiveType(of codec: AudioCodec) -> UInt8 {
        switch codec {
        case .pcmu: receivePCMUPayloadType
        case .pcma: receivePCMAPayloadType
        case .opus: receiveOpusPayloadType
        }
    }
}
