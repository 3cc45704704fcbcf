// Offers as telephones and gateways write them, with documentation addresses in them.

import Testing

@testable import Media

@Suite("SDP offer and answer")
struct SDPTests {
    private func negotiator(_ codecs: [AudioCodec] = [.pcmu, .pcma]) -> SDPNegotiator {
        SDPNegotiator(local: SocketAddress(host: "203.0.113.5", port: 40_000)!, codecs: codecs, sessionID: 7)
    }

    private func sdp(_ lines: String...) -> String { lines.joined(separator: "\r\n") + "\r\n" }

    private func offer(_ media: String, connection: String = "c=IN IP4 198.51.100.7", version: Int = 1) -> String {
        "v=0\r\no=- 1 \(version) IN IP4 198.51.100.7\r\ns=-\r\n\(connection)\r\nt=0 0\r\n\(media)"
    }

    @Test("MicroSIP: one codec in its order, one telephone-event, its RTCP port")
    func microSIP() throws {
        var ours = negotiator()
        let (answer, agreed) = try ours.answer(
            to: sdp(
                "v=0", "o=- 3941000001 3941000001 IN IP4 192.168.1.20", "s=pjmedia", "b=AS:84", "t=0 0", "a=X-nat:0",
                "m=audio 4004 RTP/AVP 8 0 101", "c=IN IP4 192.168.1.20", "b=TIAS:64000",
                "a=rtcp:4005 IN IP4 192.168.1.20", "a=sendrecv", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000",
                "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ssrc:1 cname:x"))
        #expect(
            answer == sdp(
                "v=0", "o=- 7 1 IN IP4 203.0.113.5", "s=-", "c=IN IP4 203.0.113.5", "t=0 0",
                "m=audio 40000 RTP/AVP 8 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000",
                "a=fmtp:101 0-16", "a=ptime:20", "a=maxptime:60", "a=sendrecv"))
        #expect(agreed.codec == .pcma)
        #expect(agreed.remote == SocketAddress(host: "192.168.1.20", port: 4_004))
        #expect(agreed.remoteRTCP.port == 4_005)
        #expect(agreed.canSendDTMF)
    }

    @Test("Linphone: AVPF is echoed, video is refused in its place, Opus under its number")
    func linphone() throws {
        var ours = negotiator([.pcmu, .opus])
        let (answer, agreed) = try ours.answer(
            to: offer(
                """
                m=video 9078 RTP/AVPF 96\r
                a=rtpmap:96 VP8/90000\r
                a=rtcp-fb:* trr-int 5000\r
                m=audio 7078 RTP/AVPF 96 0 97 98\r
                a=rtpmap:96 opus/48000/2\r
                a=fmtp:96 useinbandfec=1\r
                a=rtpmap:97 telephone-event/48000\r
                a=rtpmap:98 telephone-event/8000\r
                a=rtcp-mux\r
                a=candidate:1 1 UDP 2130706303 198.51.100.7 7078 typ host\r

                """))
        let lines = answer.split(separator: "\r\n")
        let media = lines.filter { $0.hasPrefix("m=") }
        #expect(media == ["m=video 0 RTP/AVPF 96", "m=audio 40000 RTP/AVPF 96 97"])
        #expect(lines.contains("a=rtpmap:96 opus/48000/2"))
        #expect(lines.contains("a=rtpmap:97 telephone-event/48000"))
        #expect(lines.contains("a=rtcp-mux"))
        #expect(agreed.codec == .opus && agreed.sendPayloadType == 96 && agreed.usesRTCPMux)
        #expect(agreed.codec(ofPayloadType: 96) == .opus)
        // A static number needs no negotiation to be understood.
        #expect(agreed.codec(ofPayloadType: 8) == .pcma)
    }

    @Test("Asterisk: static formats without rtpmap, a packet time of 30 ms, several telephone events at other clocks")
    func asterisk() throws {
        var ours = negotiator()
        let (answer, agreed) = try ours.answer(
            to: offer(
                "m=audio 17000/2 RTP/AVP 9 0 101\r\na=rtpmap:101 telephone-event/8000/1\r\na=ptime:40\r\n"
                    + "a=maxptime:150\r\n"))
        #expect(answer.contains("m=audio 40000 RTP/AVP 0 101\r\n"))
        #expect(!answer.contains("rtcp-mux"))
        #expect(agreed.packetMs == 40)
    }

    @Test("A direction in the last line without an end of line counts")
    func lastLineWithoutEnd() throws {
        var ours = negotiator()
        let (answer, agreed) = try ours.answer(to: offer("m=audio 4000 RTP/AVP 0\r\na=sendonly"))
        #expect(answer.hasSuffix("a=recvonly\r\n"))
        #expect(agreed.isHeldByPeer && agreed.direction == .receiveOnly)
    }

    @Test("Lines that end in LF alone are read")
    func lineFeeds() throws {
        var ours = negotiator()
        let text = offer("m=audio 4000 RTP/AVP 0\r\na=inactive\r\n").filter { $0 != "\r" }
        let (answer, _) = try ours.answer(to: text.replacing("\r\n", with: "\n"))
        #expect(answer.contains("a=inactive"))
    }

    @Test(
        "Hold in its three styles, and the resume after it",
        arguments: [
            ("a=sendonly", "IN IP4 198.51.100.7", "recvonly", MediaDirection.receiveOnly),
            ("a=inactive", "IN IP4 198.51.100.7", "inactive", MediaDirection.inactive),
            ("a=sendrecv", "IN IP4 0.0.0.0", "sendrecv", MediaDirection.receiveOnly),
        ])
    func hold(attribute: String, connection: String, answered: String, direction: MediaDirection) throws {
        var ours = negotiator()
        let media = "m=audio 4000 RTP/AVP 0\r\n"
        let before = try ours.answer(to: offer(media))
        let held = try ours.answer(to: offer("\(media)\(attribute)\r\n", connection: "c=\(connection)", version: 2))
        #expect(held.answer.contains("a=\(answered)\r\n"))
        #expect(held.parameters.isHeldByPeer)
        #expect(held.parameters.direction == direction)
        let after = try ours.answer(to: offer(media, version: 3))
        #expect(!after.parameters.isHeldByPeer)
        #expect(after.parameters.direction == .sendReceive)
        #expect(after.parameters == before.parameters)
    }

    @Test("The version moves when our description does, and only then")
    func version() throws {
        var ours = negotiator()
        func version(_ text: String) -> Substring { text.split(separator: "\r\n")[1].split(separator: " ")[2] }
        let media = "m=audio 4000 RTP/AVP 0\r\n"
        #expect(version(try ours.answer(to: offer(media)).answer) == "1")
        #expect(version(try ours.answer(to: offer(media)).answer) == "1")
        // The peer's address moved; ours did not.
        #expect(version(try ours.answer(to: offer(media, connection: "c=IN IP4 198.51.100.9")).answer) == "1")
        #expect(version(try ours.answer(to: offer(media + "a=sendonly\r\n")).answer) == "2")
        #expect(version(try ours.answer(to: offer(media)).answer) == "3")
        #expect(version(try ours.answer(to: offer("m=audio 4000 RTP/AVP 8\r\n")).answer) == "4")
    }

    @Test("The media level's direction wins over the session's")
    func sessionDirection() throws {
        var ours = negotiator()
        let text = offer("m=audio 4000 RTP/AVP 0\r\n").replacing("t=0 0\r\n", with: "t=0 0\r\na=sendonly\r\n")
        #expect(try ours.answer(to: text).answer.contains("a=recvonly"))
        #expect(try ours.answer(to: text + "a=sendrecv\r\n").answer.contains("a=sendrecv"))
    }

    @Test(
        "What is not SDP is malformed: 400",
        arguments: [
            "", "hello", "v=1\r\n", "v=0\r\n", "v=0\r\no=- 1 1 IN IP4 x\r\n",
            "v=0\r\no=- 1 1 IN IP4 x\r\nm=audio\r\n", "v=0\r\no=- 1 1 IN IP4 x\r\nm=audio 99999 RTP/AVP 0\r\n",
            "v=0\r\no=- 1 1 IN IP4 x\r\nc=IN\r\nm=audio 4000 RTP/AVP 0\r\n",
            "v=0\r\no=- 1 1 IN IP4 x\r\nm=audio 4000 RTP/AVP 0\r\n", "v=0\r\nxyz\r\n",
        ])
    func malformed(text: String) {
        var ours = negotiator()
        #expect { try ours.answer(to: text) } throws: { ($0 as? SDPError)?.sipStatus == 400 }
        #expect(ours.agreed == nil)
    }

    @Test(
        "What has nothing in common is refused: 488",
        arguments: [
            "m=audio 4000 RTP/AVP 18 3\r\n", "m=audio 4000 RTP/SAVP 0\r\n", "m=video 4000 RTP/AVP 96\r\n",
            "m=audio 0 RTP/AVP 0\r\n", "m=image 4000 udptl t38\r\n",
        ])
    func nothingInCommon(media: String) throws {
        var ours = negotiator()
        _ = try ours.answer(to: offer("m=audio 4000 RTP/AVP 0\r\n"))
        let before = ours.agreed
        #expect { try ours.answer(to: offer(media)) } throws: { ($0 as? SDPError)?.sipStatus == 488 }
        #expect(ours.agreed == before)
    }

    @Test("Our offer lists every codec, and the answer decides")
    func offering() throws {
        var ours = negotiator([.pcmu, .pcma, .opus])
        let text = ours.offer()
        #expect(text.contains("m=audio 40000 RTP/AVP 0 8 111 101\r\n"))
        #expect(text.contains("a=rtpmap:101 telephone-event/8000\r\n"))
        let agreed = try ours.accept(
            answer: offer(
                "m=audio 4000 RTP/AVP 111 97\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:97 telephone-event/8000\r\n"))
        #expect(agreed.codec == .opus && agreed.sendPayloadType == 111)
        // Each side sends with the numbers that the other listed.
        #expect(agreed.sendEventPayloadType == 97 && agreed.receiveEventPayloadType == 101)
    }

    @Test("An answer without an offer, and one that refuses the audio, are errors")
    func badAnswers() {
        var ours = negotiator()
        let good = offer("m=audio 4000 RTP/AVP 0\r\n")
        #expect { try ours.accept(answer: good) } throws: {
            if case SDPError.unexpected? = $0 as? SDPError { true } else { false }
        }
        _ = ours.offer()
        #expect { try ours.accept(answer: offer("m=audio 0 RTP/AVP 0\r\n")) } throws: {
            if case SDPError.noCommonCodec? = $0 as? SDPError { true } else { false }
        }
        #expect(throws: Never.self) { try ours.accept(answer: good) }
    }

    @Test("Hold from our side is sendonly, and its answer makes us deaf and not dumb")
    func ourHold() throws {
        var ours = negotiator()
        _ = try ours.answer(to: offer("m=audio 4000 RTP/AVP 0\r\n"))
        ours.isHeldByUs = true
        #expect(ours.offer().contains("a=sendonly"))
        let held = try ours.accept(answer: offer("m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n"))
        #expect(held.direction == .sendOnly && !held.isHeldByPeer)
    }

    @Test("IPv6, a host name, and an address for the media alone")
    func addresses() throws {
        var ours = negotiator()
        let v6 = try ours.answer(to: offer("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n")).parameters
        #expect(v6.remote.description == "[2001:db8::1]:4000")
        let name = try ours.answer(to: offer("m=audio 4000 RTP/AVP 0\r\n", connection: "c=IN IP4 media.example.com"))
        #expect(!name.parameters.remote.isKnown)
    }
}
