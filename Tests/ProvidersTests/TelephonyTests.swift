import Glibc
import JSON
import PluginABI
import Synchronization
import Testing

@testable import Calls
@testable import Providers

/// A plugin whose calls do what the target or key says, and which tells on the provider what it was told to decline.
let phoneSource = """
    #include <stdlib.h>
    #include <string.h>
    static const vc_host *host;
    static vc_handle provider_handle;
    typedef struct session { vc_handle handle; } session;
    static void plain(vc_handle h, uint32_t type) {
        const vc_event e = { .size = sizeof e, .type = type };
        host->emit(h, &e);
    }
    static void withdrawn(vc_str key) {
        const vc_event_withdrawn e = { .head = { .size = sizeof e, .type = VC_EVENT_WITHDRAWN }, .key = key };
        host->emit(provider_handle, &e.head);
    }
    static void hung(session *s, uint32_t cause, uint32_t code, vc_str reason) {
        const vc_event_hangup e = { .head = { .size = sizeof e, .type = VC_EVENT_HANGUP }, .cause = cause, .code = code, .reason = reason };
        host->emit(s->handle, &e.head);
    }
    static vc_status answer(vc_self self) { plain(((session *)self)->handle, VC_EVENT_ANSWERED); return VC_OK; }
    static vc_status hangup(vc_self self, uint32_t code, vc_str reason) {
        hung(self, VC_HANGUP_AGENT, code, reason);
        hung(self, VC_HANGUP_AGENT, code, reason);
        return VC_OK;
    }
    static vc_status transfer(vc_self self, vc_str target) {
        const vc_event_transferred e = { .head = { .size = sizeof e, .type = VC_EVENT_TRANSFERRED }, .succeeded = 1, .code = 202, .reason = target };
        host->emit(((session *)self)->handle, &e.head);
        return VC_OK;
    }
    static vc_status dtmf(vc_self self, vc_str digits) {
        const vc_event_dtmf e = { .head = { .size = sizeof e, .type = VC_EVENT_DTMF }, .digits = digits, .duration_ms = 80 };
        host->emit(((session *)self)->handle, &e.head);
        return VC_OK;
    }
    static vc_status decline(vc_self self, vc_str key, uint32_t code, uint32_t after) {
        (void)self, (void)after;
        if (code == 503) withdrawn(key);
        return VC_OK;
    }
    static const vc_telephony_ops telephony = { .size = sizeof telephony, .answer = answer, .hangup = hangup, .transfer = transfer, .dtmf = dtmf };
    static const vc_telephony_provider_ops provider_ops = { .size = sizeof provider_ops, .decline = decline };
    static void cancel(vc_self self, uint64_t epoch) { (void)self, (void)epoch; }
    static void close_(vc_self self) { plain(((session *)self)->handle, VC_EVENT_CLOSED); }
    static const vc_session_ops ops = { .size = sizeof ops, .cancel = cancel, .close = close_, .destroy = free };
    static vc_status open_(vc_self p, const vc_open *r, vc_session *out, vc_error *e) {
        (void)p, (void)e;
        const vc_telephony_open *kind = r->kind;
        session *s = calloc(1, sizeof *s);
        s->handle = r->session;
        out->state = s, out->ops = &ops, out->kind_ops = &telephony;
        plain(s->handle, VC_EVENT_READY);
        if (kind->direction == VC_CALL_OUTBOUND) {
            plain(s->handle, VC_EVENT_RINGING);
            if (kind->header_count == 2 && kind->headers[1].value.length == 3) hung(s, VC_HANGUP_REFUSED, 486, kind->headers[1].value);
        }
        return VC_OK;
    }
    static vc_status create(const vc_create *r, vc_self *self, vc_error *e) { (void)e; provider_handle = r->provider; *self = 0; return VC_OK; }
    static vc_status start(vc_self self, vc_error *e) {
        (void)self, (void)e;
        plain(provider_handle, VC_EVENT_READY);
        const vc_field header = { VC_STR("X-Test"), VC_STR("yes") };
        const vc_event_incoming call = { .head = { .size = sizeof call, .type = VC_EVENT_INCOMING }, .key = VC_STR("k1"),
            .from = VC_STR("sip:a@b"), .to = VC_STR("sip:c@d"), .headers = &header, .header_count = 1 };
        host->emit(provider_handle, &call.head);
        return VC_OK;
    }
    static void destroy(vc_self self) { (void)self; }
    static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR("vc.telephony/1"), .id = VC_STR("org.test.phone"),
        .create = create, .start = start, .destroy = destroy, .open = open_, .kind_ops = &provider_ops };
    static const vc_provider *const providers[] = { &provider };
    static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
    VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
        host = the_host;
        *module = &module_;
        return VC_OK;
    }
    """

private final class Heard<Event: Sendable>: Sendable {
    private let list = Mutex<[Event]>([])
    func add(_ event: Event) { list.withLock { $0.append(event) } }
    var all: [Event] { list.withLock { $0 } }
}

@Suite("The telephone over the C line") struct TelephonyTests {
    let workshop = Workshop()

    private func phone(_ events: @escaping @Sendable (TelephonyProviderEvent) -> Void) throws -> TelephonyProvider {
        let plugin = try workshop.load(
            "phone.so", phoneSource,
            manifest: Workshop.manifest(
                id: "org.test.phone", kind: "vc.telephony/1", capabilities: ["profile": "signalling"]))
        let instance = ProviderInstance(
            plugin: plugin, declaration: plugin.manifest.providers[0], name: "telephony.test", configuration: [:],
            log: LogList())
        try instance.create()
        let provider = try TelephonyProvider(instance, events: events)
        try instance.start()
        try instance.waitUntilReady()
        return provider
    }

    @Test("An incoming call is announced with all that is known of it, and its session is told and tells")
    func inbound() throws {
        let announced = Heard<TelephonyProviderEvent>()
        let phone = try phone { announced.add($0) }
        guard case .incoming(let call) = announced.all.first else { throw Unexpected("nothing announced") }
        #expect(
            call.key == "k1" && call.from == "sip:a@b"
                && call.headers == [TelephonyHeader(name: "X-Test", value: "yes")])
        let heard = Heard<TelephonyEvent>()
        let session = try phone.answerable(key: call.key, call: "c1") {
            heard.add($0)
            return .accepted
        }
        session.answer()
        session.transfer(to: "sip:x")
        session.sendDTMF("12#")
        session.hold(true)  // the plugin has no such slot
        session.hangUp(code: 0, reason: "bye")
        try waitUntil("the refusal of hold") { heard.all.count == 5 }
        #expect(heard.all.contains(.answered))
        #expect(heard.all.contains(.transferred(succeeded: true, code: 202, reason: "sip:x")))
        #expect(heard.all.contains(.digits("12#", durationMs: 80)))
        #expect(heard.all.count { if case .failed = $0 { true } else { false } } == 1)
        // The second HANGUP is refused.
        #expect(
            heard.all.filter { if case .hungUp = $0 { true } else { false } } == [
                .hungUp(.agent, code: 0, reason: "bye")
            ])
        session.close()
        try waitUntil("the session's end") { phone.instance.sessionCount == 0 }
        #expect(phone.instance.faults.total == 1)
    }

    @Test("A caller whom the host cannot serve is told so, and not that somebody is busy")
    func refusalCodes() throws {
        #expect(HangUpReason.providersFailed.refusalCode == 503 && HangUpReason.shutdown.refusalCode == 503)
        #expect(HangUpReason.agentDone.refusalCode == 0)
        let phone = try phone { _ in }
        let heard = Heard<TelephonyEvent>()
        let session = try phone.dial(to: "sip:x", ringTimeoutMs: 1_000, call: "c3") {
            heard.add($0)
            return .accepted
        }
        session.hangUp(.providersFailed)
        try waitUntil("the end") { heard.all.count == 2 }
        #expect(heard.all.last == .hungUp(.agent, code: 503, reason: "providersFailed"))
        session.close()
        try waitUntil("the session's end") { phone.instance.sessionCount == 0 }
    }

    @Test("How a call that went out has ended is told apart by the protocol's code")
    func ends() {
        #expect(TelephonyEvent.Cause.refused.hangUpCause(code: 486) == .busy)
        #expect(TelephonyEvent.Cause.refused.hangUpCause(code: 600) == .busy)
        #expect(TelephonyEvent.Cause.refused.hangUpCause(code: 603) == .rejected)
        #expect(TelephonyEvent.Cause.noAnswer.hangUpCause(code: 408) == .noAnswer)
        #expect(TelephonyEvent.Cause.failed.hangUpCause(code: 503) == .network)
    }

    @Test("Events that come while an outgoing call is opened are held until it is, and keep their order")
    func outbound() throws {
        let phone = try phone { _ in }
        let heard = Heard<TelephonyEvent>()
        let headers = [TelephonyHeader(name: "A", value: ""), TelephonyHeader(name: "B", value: "bbb")]
        let session = try phone.dial(to: "sip:x", headers: headers, ringTimeoutMs: 1_000, call: "c2") {
            heard.add($0)
            return .accepted
        }
        #expect(heard.all == [.ringing, .hungUp(.refused, code: 486, reason: "bbb")])
        session.close()
        try waitUntil("the session's end") { phone.instance.sessionCount == 0 }
    }

    @Test("A call is declined by its key")
    func declines() throws {
        let announced = Heard<TelephonyProviderEvent>()
        let phone = try phone { announced.add($0) }
        phone.decline(key: "k1", code: 503, retryAfterSeconds: 5)
        #expect(announced.all.last == .withdrawn(key: "k1"))
    }
}
