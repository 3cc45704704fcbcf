import JSON
import Testing

@testable import BackToBack

@Suite("What comes to the event port")
struct DatagramTests {
    @Test("The INVITE of the capture is read whole")
    func invite() throws {
        guard case .session(let event) = Datagram(parsing: Array(Capture.new.utf8)) else { throw Missing() }
        #expect(event.key == Capture.key && event.kind == .new && !event.isOutbound && event.status == 0)
        #expect(event.body?.hasPrefix("v=0\r\no=sipp") == true && event.body?.hasSuffix("a=sendrecv\r\n") == true)
        #expect(event.headers?["call-id"] == "1-27299@127.0.0.1" && event.headers?["Content-Length"] == "224")
        #expect(MessageAddress(parsing: event.headers!["From"]!) == MessageAddress(parsing: #""Caller" <sip:alice@127.0.0.1:15070>"#))
    }

    @Test("An event that is no UTF-8 is repaired, and its control bytes are gone")
    func oddBytes() throws {
        guard case .session(let event) = Datagram(parsing: Capture.oddBytes) else { throw Missing() }
        #expect(event.headers?["X-Odd"] == "caf\u{FFFD}  \\ \"q\" tabhere")
    }

    @Test("A null body is no empty body")
    func nulls() throws {
        guard case .session(let event) = Datagram(parsing: Array(Capture.deadTarget.utf8)) else { throw Missing() }
        #expect(event.body == nil && event.isOutbound && event.status == 408 && event.reason == "Timeout")
    }

    @Test(
        "The formats of other generations are told apart by their first byte",
        arguments: [
            ("OAVC_CALL_EVENT:CALL_START:c-1:sip:a@b:sip:c@d", "OAVC_CALL_EVENT"), ("E_CALL_TERMINATED:c-1", "E_CALL_TERMINATED"),
            ("Event=E_CALL_SETUP\ncall_id=1", "E_CALL_SETUP"), (#"event_type=E_CALL_ANSWERED\ncall_id=1"#, "E_CALL_ANSWERED"),
            (#"{"event":"call_start","call_id":"1"}"#, "call_start"), (#"{"jsonrpc":"2.0","method":"E_CORE_LOG","params":{}}"#, "E_CORE_LOG"),
        ])
    func generations(text: String, name: String) { #expect(Datagram(parsing: Array(text.utf8)) == .foreign(name: name)) }

    @Test(
        "Nonsense is nonsense",
        arguments: [
            "", "{", "[]", "5", "\u{1}\u{2}", "{}", "hello", #"{"jsonrpc":"2.0","method":"E_UA_SESSION","params":{"key":"a b"}}"#,
        ])
    func nonsense(text: String) {
        guard case .nonsense = Datagram(parsing: Array(text.utf8)) else {
            Issue.record("\(text) is \(Datagram(parsing: Array(text.utf8)))")
            return
        }
    }

    @Test("Answers: a result, an error with its data, and the plain texts of a server that could not read")
    func replies() {
        #expect(Datagram(parsing: Array(#"{"jsonrpc":"2.0","result":"OK","id":"t-1"}"#.utf8)) == .reply(.init(id: "t-1", outcome: .result("OK"))))
        #expect(
            Datagram(parsing: Array(#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":"Negative expire value"},"id":1}"#.utf8))
                == .reply(.init(id: "1", outcome: .error(code: -32602, "Invalid params (Negative expire value)"))))
        #expect(Datagram(parsing: Array("400 Parse_error".utf8)) == .reply(.init(id: nil, outcome: .error(code: 400, "Parse_error"))))
    }

    @Test("Headers: folded, short names, any case; addresses with and without brackets")
    func headers() {
        let headers = MessageHeaders(parsing: "t: <sip:desk@example.com>;tag=1\r\nX-Fold: one\r\n two\r\nm: sip:a@b;transport=udp\r\nnonsense\r\n")
        #expect(headers["To"] == "<sip:desk@example.com>;tag=1" && headers["x-fold"] == "one two")
        #expect(MessageAddress(parsing: headers["Contact"]!).uri == "sip:a@b")
        #expect(MessageAddress(parsing: "<sip:alice@example.com:5060;user=phone>").host == "example.com:5060")
        #expect(headers.informative.map(\.name) == ["X-Fold"])
    }

    @Test("Keys: relay and bare, the numbers of star and hash, and what is no key")
    func keys() {
        #expect(PressedKey.read("Signal= 5\r\nDuration=160\r\n", isRelay: true)! == ("5", 160))
        #expect(PressedKey.read("signal=10\nduration=99999\n", isRelay: true)! == ("*", 0))
        #expect(PressedKey.read(" 11 \r\n", isRelay: false)! == ("#", 0))
        #expect(PressedKey.read("Signal=12\r\n", isRelay: true) == nil && PressedKey.read("", isRelay: false) == nil)
    }

    @Test("Hold: by direction, of the audio alone, and by the address of old phones")
    func hold() {
        #expect(Description.isHold("v=0\r\nm=audio 1 RTP/AVP 0\r\na=inactive\r\n") && Description.isHold("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 1 RTP/AVP 0\r\n"))
        #expect(!Description.isHold("v=0\r\nm=audio 1 RTP/AVP 0\r\na=recvonly\r\nm=video 1 RTP/AVP 96\r\na=sendonly\r\n"))
        #expect(Description.held("v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendrecv\r\n") == "v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendonly\r\n")
    }
}

struct Missing: Error {}
