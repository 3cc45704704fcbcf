import JSON
import Testing

@testable import Host

@Suite("A request to call somebody")
struct OutgoingCallTests {
    private let whole: JSONValue = [
        "command": "dial", "provider": "telephony.twilio", "to": "+905551112233", "from": "+905550000000",
        "profile": "sales", "ringTimeoutMs": 20_000, "wait": true,
    ]

    @Test("What it says is taken, and what it leaves out has a default")
    func read() throws {
        let call = try OutgoingCall(whole)
        #expect(call.provider == "telephony.twilio" && call.to == "+905551112233" && call.from == "+905550000000")
        #expect(call.profile == "sales" && call.ringTimeoutMs == 20_000)
        let short = try OutgoingCall(["command": "dial", "provider": "telephony.sip", "to": "sip:a@b", "from": .null])
        #expect(short.from == "" && short.profile == "" && short.ringTimeoutMs == 30_000)
    }

    static let wrong: [(JSONValue, String)] = [
        (["provider": "", "to": "x"], "\"provider\""),
        (["provider": "telephony.sip"], "\"to\""), (["provider": "telephony.sip", "to": ""], "\"to\""),
        (["provider": "telephony.sip", "to": "sip:a@b\r\nX: y"], "\"to\""),
        (["provider": 7, "to": "x"], "\"provider\""), (["provider": "p", "to": "x", "ring": 5], "\"ring\""),
        (["provider": "p", "to": "x", "ringTimeoutMs": 999], "\"ringTimeoutMs\""),
        (["provider": "p", "to": "x", "ringTimeoutMs": 600_001], "\"ringTimeoutMs\""),
        (["provider": "p", "to": "x", "ringTimeoutMs": "20"], "\"ringTimeoutMs\""),
    ]

    @Test("What is wrong is refused by the name of its member", arguments: wrong)
    func refused(_ request: JSONValue, _ name: String) throws {
        let refusal = try #require(throws: DialRefusal.self) { try OutgoingCall(request) }
        #expect(refusal.message.contains(name))
    }

    @Test("A call that goes out takes a place like one that comes in")
    func admission() {
        var admission = Admission(callsMax: 1, retryAfterS: 5)
        #expect(admission.arrived(hasProfile: true) == .admit)
        #expect(admission.arrived(hasProfile: true) == .decline(code: 503, retryAfterS: 5))
        admission.ended()
        #expect(admission.arrived(hasProfile: true) == .admit)
    }
}
