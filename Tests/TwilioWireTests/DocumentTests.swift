// TwiML that we write, and answers of the REST API that we read.

import Testing
import TwilioWire

struct DocumentTests {
    private let head = #"<?xml version="1.0" encoding="UTF-8"?><Response>"#

    private func document(_ write: (UnsafeMutablePointer<CChar>) -> Int) -> String? {
        String(room: Int(TW_TWIML_MAX), write)
    }

    @Test("A call is connected to its stream, and nothing but the end follows")
    func connect() {
        #expect(
            document { tw_twiml_connect($0, "wss://b/m/1", "t0ken", "https://b/s?a=1&b=2") }
                == head + #"<Connect><Stream url="wss://b/m/1" statusCallback="https://b/s?a=1&amp;b=2">"#
                + #"<Parameter name="token" value="t0ken"/></Stream></Connect><Hangup/></Response>"#)
    }

    @Test(
        "A transfer goes to a number, a SIP address or a client, and no address can write TwiML",
        arguments: [
            ("+15550001", "<Number>+15550001</Number>"), ("sip:a@b.c", "<Sip>sip:a@b.c</Sip>"),
            ("sips:a@b.c", "<Sip>sips:a@b.c</Sip>"), ("client:jo", "<Client>jo</Client>"),
            ("1</Number><Hangup/>", "<Number>1&lt;/Number&gt;&lt;Hangup/&gt;</Number>"),
            ("1\u{1}2", "<Number>12</Number>"),
        ])
    func dial(_ target: String, _ noun: String) {
        let written = lend(target) { target in document { tw_twiml_dial($0, target, "", 30) } }
        #expect(written == head + #"<Dial timeout="30">"# + noun + "</Dial></Response>")
    }

    @Test("A document longer than the API takes is refused whole")
    func tooLong() {
        let long = String(repeating: "&", count: 1_000)
        #expect(lend(long) { target in document { tw_twiml_dial($0, target, "", 30) } } == nil)
        #expect(document { tw_twiml_reject($0, true) } == head + #"<Reject reason="busy"/></Response>"#)
        #expect(document { tw_twiml_reject($0, false) } == head + #"<Reject reason="rejected"/></Response>"#)
        #expect(document { tw_twiml_hangup($0) } == head + "<Hangup/></Response>")
    }

    @Test("An answer of the REST API has a sid, or a code and its words")
    func answers() {
        func read(_ text: String) -> (String, UInt32, String)? {
            lend(text) { text in
                var answer = tw_rest_answer()
                guard tw_rest_answer_read(text.at, text.length, &answer) else { return nil }
                return withUnsafeBytes(of: &answer.sid) { sid in
                    withUnsafeBytes(of: &answer.message) { message in
                        (
                            String(decoding: sid.prefix { $0 != 0 }, as: UTF8.self), answer.code,
                            String(decoding: message.prefix { $0 != 0 }, as: UTF8.self)
                        )
                    }
                }
            }
        }
        #expect(read(#"{"sid":"CA1","from":"+1","nested":{"sid":"CA2"}}"#)! == ("CA1", 0, ""))
        #expect(read(#"{"code":21211,"message":"No \"To\"\u2026 \ud83d\ude00","status":400}"#)! == ("", 21211, "No \"To\"… 😀"))
        #expect(read(#"{"message":"\ud83d"}"#)! == ("", 0, ""), "half a pair is no text")
        #expect(read("<html>") == nil)
        for length in 190...210 {
            let long = String(repeating: "x", count: length) + #"\u00fc"# + String(repeating: "ü", count: 60)
            #expect(read(#"{"message":""# + long + #""}"#)!.2.utf8.count < 200)
        }
    }

    @Test("Sids and statuses are known by their form")
    func words() {
        #expect(lend("CA" + String(repeating: "0", count: 32)) { tw_is_sid($0, "CA") })
        for text in ["", "CA", "AC" + String(repeating: "0", count: 32), "CA" + String(repeating: "g", count: 32)] {
            #expect(!lend(text) { tw_is_sid($0, "CA") })
        }
        #expect(lend("no-answer") { tw_call_status_read($0) } == TW_CALL_NO_ANSWER)
        #expect(lend("later") { tw_call_status_read($0) } == TW_CALL_UNKNOWN)
    }
}
