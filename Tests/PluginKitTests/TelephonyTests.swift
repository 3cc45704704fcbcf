// What the kit does for signalling plugins: a mailbox one way, an outbox the other.

import PluginABI
import Testing

@testable import PluginKit

@Suite("The kit serves telephony")
struct TelephonyKitTests {
    private let object = ScriptedObject()
    private let mailbox: TelephonyMailbox
    private let session: TelephonySession

    init() throws {
        _ = try handPlugin.get()
        var request = vc_open()
        request.session = object.handle
        mailbox = try TelephonyMailbox()
        session = try TelephonySession(request, .inbound(key: "k"), mailbox)
    }

    @Test("Orders come out in order, and what may be refused is refused when too much waits")
    func bound() {
        for _ in 0..<TelephonySession.ordersMax { #expect(mailbox.leave(.dtmf("1"), of: session) == vc_status(VC_OK)) }
        #expect(mailbox.leave(.hold(true), of: session) == vc_status(VC_E_AGAIN))
        #expect(mailbox.leave(.hangup(code: 0, reason: ""), of: session) == vc_status(VC_OK))
        let items = mailbox.take()
        guard items.count == 33, case .order(.hangup, _) = items.last else {
            Issue.record("\(items.count) orders, the last is \(String(describing: items.last))")
            return
        }
        #expect(mailbox.take().isEmpty)
        #expect(mailbox.leave(.hold(true), of: session) == vc_status(VC_OK))
    }

    @Test("Refusals without a session are bounded too")
    func declines() {
        for number in 0..<TelephonyMailbox.declinesMax {
            #expect(mailbox.decline(key: "\(number)", code: 503, retryAfterS: 5) == vc_status(VC_OK))
        }
        #expect(mailbox.decline(key: "k", code: 503, retryAfterS: 5) == vc_status(VC_E_AGAIN))
        #expect(mailbox.take().count == TelephonyMailbox.declinesMax)
        #expect(mailbox.decline(key: "k", code: 503, retryAfterS: 5) == vc_status(VC_OK))
    }

    @Test("Events wait for credit in order; the end of the call is never dropped, and nothing follows CLOSED")
    func credit() {
        object.credit = 1
        for _ in 0..<40 { session.emit(.held(true)) }
        #expect(object.kinds == [.other(UInt32(VC_EVENT_HELD))])
        #expect(session.emit(.hangup(.caller, code: 0, reason: "bye")))
        object.credit = nil
        session.flush()
        #expect(object.kinds.count == 32 && object.kinds.last == .other(UInt32(VC_EVENT_HANGUP)))
        session.emit(.closed)
        session.emit(.held(false))
        #expect(object.kinds.last == .closed)
    }

    @Test("What could end a header or an address early is refused")
    func texts() {
        #expect(canStandInURI("sip:alice@example.com") && !canStandInURI("sip:a b") && !canStandInURI("a>b") && !canStandInURI(""))
        #expect(OutboundCall.Header(name: "X-Odd", value: "one").isOneLine)
        #expect(!OutboundCall.Header(name: "X-Odd", value: "one\r\nTo: two").isOneLine)
        #expect(!OutboundCall.Header(name: "X Odd", value: "one").isOneLine)
    }
}
