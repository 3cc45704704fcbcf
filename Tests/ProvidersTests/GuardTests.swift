import Glibc
import JSON
import PluginABI
import Testing

@testable import Calls
@testable import Providers

@Suite("A plugin that breaks the contract") struct GuardTests {
    let workshop = Workshop()
    let log = LogList()

    private func model(
        _ source: String, limits: SessionLimits = .standard, changes: [String: JSONValue] = [:]
    ) throws -> ProviderInstance {
        let plugin = try workshop.load(
            "llm.so", source, manifest: Workshop.manifest(id: "org.test.llm", kind: "vc.llm/1", changes: changes))
        return try plugin.running("llm.test", limits: limits, log: log)
    }

    private func session(_ instance: ProviderInstance, _ caller: Caller) throws -> any LanguageModelSession {
        guard case .languageModel(let session) = try instance.open(.languageModel, caller) else {
            throw Unexpected("another kind")
        }
        return session
    }

    private func ask(_ session: any LanguageModelSession, _ request: UInt64, epoch: UInt64 = 0) {
        session.request(
            LanguageModelRequest(
                ticket: Ticket(epoch: epoch, request: request), messages: [Message(.caller, "hello")],
                speculative: false))
    }

    private func texts(_ caller: Caller) -> [String] {
        caller.events.compactMap { if case .languageModel(_, .delta(let text)) = $0 { text } else { nil } }
    }

    /// What `emit` answered to a breach, and which breach was counted.
    private func answer(to onRequest: String) throws -> (status: String, breaches: [Breach]) {
        let instance = try model(Sources.languageModel(onRequest: onRequest + " answer_last(s, r);"))
        let caller = Caller()
        let session = try session(instance, caller)
        ask(session, 1)
        let status = try caller.wait("answer") { texts($0).last }
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        return (status, Breach.allCases.filter { instance.faults.count(of: $0) > 0 })
    }

    @Test(
        "Each bad event is refused with its status, counted, and logged as the plugin's fault",
        arguments: [
            ("tell(s, 9999, r->request, 0);", VC_E_ARGUMENT, Breach.eventType),
            ("tell(s, VC_EVENT_FINALIZED, r->request, 0);", VC_E_ARGUMENT, .eventType),
            ("tell(s, VC_EVENT_DRAINED, 0, 0);", VC_E_ARGUMENT, .eventType),
            ("tell(s, VC_EVENT_DELTA, r->request, 0);", VC_E_ARGUMENT, .eventSize),
            ("delta(s, r->request, r->epoch + 5, \"x\");", VC_E_ARGUMENT, .eventEpoch),
            ("delta(s, r->request, 0, \"\");", VC_E_ARGUMENT, .eventBody),
            ("delta(s, r->request, 0, \"\\xff\");", VC_E_ARGUMENT, .eventBody),
            ("delta(s, 77, 0, \"x\");", VC_E_ARGUMENT, .eventRequest),
            ("done(s, r->request, 0, 99);", VC_E_ARGUMENT, .eventBody),
            ("tell(s, VC_EVENT_READY, 0, 0);", VC_E_ARGUMENT, .readyTwice),
        ])
    func badEvent(onRequest: String, status: Int, breach: Breach) throws {
        let answer = try answer(to: onRequest)
        #expect(answer.status == "\(status)")
        #expect(answer.breaches == [breach])
        #expect(log.faults.count == 1)
    }

    @Test("An event that is unknown and optional is taken and ignored")
    func optionalEvent() throws {
        let answer = try answer(
            to: "const vc_event e = { sizeof e, 9999, VC_EVENT_OPTIONAL, 0, 0, 0 }; last = host->emit(s->handle, &e);")
        #expect(answer.status == "0" && answer.breaches.isEmpty)
    }

    @Test("A breach is counted each time and logged once")
    func loggedOnce() throws {
        _ = try answer(to: "for (int i = 0; i < 500; i++) tell(s, 9999, 0, 0);")
        #expect(log.faults.count == 1)
    }

    @Test("Work of an old epoch is told that it is canceled, and that is no fault")
    func oldEpoch() throws {
        let instance = try model(
            Sources.languageModel(onRequest: "if (r->epoch == 2) { delta(s, 1, 0, \"old\"); answer_last(s, r); }"))
        let caller = Caller()
        let session = try session(instance, caller)
        ask(session, 1)
        caller.mailbox.advance(to: 2)
        session.cancel(olderThan: 2)
        ask(session, 2, epoch: 2)
        #expect(try caller.wait("answer") { texts($0).last } == "\(VC_E_CANCELED)")
        #expect(texts(caller).count == 1)
        session.close()
        #expect(instance.faults.total == 0)
    }

    @Test("DECLINED is legal before the first DELTA, and after it a failure and a fault")
    func declined() throws {
        let instance = try model(
            Sources.languageModel(
                onRequest: "if (r->request == 2) delta(s, 2, 0, \"well\"); done(s, r->request, 0, VC_LLM_DECLINED);"))
        let caller = Caller()
        let session = try session(instance, caller)
        ask(session, 1)
        caller.take()
        #expect(
            caller.events.contains {
                if case .languageModel(Ticket(epoch: 0, request: 1), .done(.declined)) = $0 { true } else { false }
            })
        #expect(caller.failures.isEmpty)
        ask(session, 2)
        caller.take()
        #expect(caller.failures.map(\.code) == [.misbehaved])
        #expect(instance.faults.count(of: .declinedAfterDelta) == 1)
        session.close()
    }

    @Test("What is emitted after CLOSED is refused, and the handle is stale")
    func afterClosed() throws {
        let instance = try model(
            Sources.languageModel(
                onRequest: "answer_last(s, r);",
                onOpen: "vc_status kept = last; tell(s, VC_EVENT_READY, 0, 0); last = kept;",
                onClose: "tell(s, VC_EVENT_CLOSED, 0, 0); tell(s, VC_EVENT_CLOSED, 0, 0);"))
        let caller = Caller()
        let first = try session(instance, caller)
        first.close()
        first.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        let second = try session(instance, caller)
        ask(second, 1)
        #expect(try caller.wait("answer") { texts($0).last } == "\(VC_E_STALE)")
        second.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
    }

    @Test("A session's object is freed with its session")
    func objectIsFreed() throws {
        final class Owner: PluginSessionDelegate {
            func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status { vc_status(VC_OK) }
            func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {}
            func lost(_ failure: ProviderFailure) {}
        }
        // The deadline for CLOSED holds the session until it has passed.
        var limits = SessionLimits.standard
        limits.closeMs = 200
        let instance = try model(Sources.languageModel(onRequest: "answer_last(s, r);"), limits: limits)
        let owner = Owner()
        weak var object: PluginObject?
        do {
            let session = try PluginSession.open(instance, SessionRequest(call: "c"), delegate: owner)
            object = session.object
            #expect(object != nil)
            session.close()
        }
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        try waitUntil("the object's end") { object == nil }
    }

    @Test("CLOSED that nobody asked for loses the session, which is then freed all the same")
    func closedUnasked() throws {
        let instance = try model(Sources.languageModel(onRequest: "tell(s, VC_EVENT_CLOSED, 0, 0);"))
        let caller = Caller()
        let session = try session(instance, caller)
        ask(session, 1)
        caller.take()
        #expect(caller.failures.map(\.code) == [.misbehaved])
        #expect(instance.faults.count(of: .closedUnasked) == 1)
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.zombieCount == 0)
    }

    @Test("A session that never closes is given up, and its provider can still be destroyed")
    func zombie() throws {
        var limits = SessionLimits.standard
        limits.closeMs = 50
        let instance = try model(Sources.languageModel(onRequest: "", onClose: ""), limits: limits)
        let caller = Caller()
        try session(instance, caller).close()
        #expect(!instance.destroy())
        try waitUntil("the zombie") { instance.zombieCount == 1 }
        #expect(instance.sessionCount == 0)
        #expect(instance.faults.count(of: .neverClosed) == 1)
        #expect(instance.destroy())
    }

    @Test("What is asked before READY waits, in order, and what an epoch ended is dropped from it")
    func beforeReady() throws {
        let instance = try model(
            Sources.languageModel(
                onRequest: "delta(s, r->request, r->epoch, \"x\"); done(s, r->request, r->epoch, VC_LLM_STOP);",
                onOpen: "late = s; pthread_t t; pthread_create(&t, 0, become, 0); pthread_detach(t);",
                more: """
                    #include <pthread.h>
                    #include <unistd.h>
                    static session *late;
                    static void *become(void *x) { usleep(100 * 1000); tell(late, VC_EVENT_READY, 0, 0); return x; }
                    """))
        let caller = Caller()
        let session = try session(instance, caller)
        ask(session, 1)
        caller.mailbox.advance(to: 1)
        session.cancel(olderThan: 1)
        ask(session, 2, epoch: 1)
        ask(session, 3, epoch: 1)
        caller.take()
        #expect(texts(caller).isEmpty)
        try caller.wait("answers") { texts($0).count == 2 ? true : nil }
        let requests = caller.events.compactMap {
            if case .languageModel(let ticket, .delta) = $0 { ticket.request } else { nil }
        }
        #expect(requests == [2, 3])
        session.close()
        #expect(instance.faults.total == 0)
    }

    @Test("A session that is never READY fails after the manifest's time")
    func neverReady() throws {
        let provider: JSONValue = ["kind": "vc.llm/1", "id": "org.test.llm", "timing": ["readyTimeoutMs": 60]]
        let instance = try model(Sources.languageModel(onRequest: "", onOpen: ""), changes: ["providers": [provider]])
        let caller = Caller()
        let session = try session(instance, caller)
        try caller.wait("failure") { $0.failures.isEmpty ? nil : true }
        #expect(caller.failures.map(\.code) == [.timeout])
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
    }

    @Test("A mandatory slot that is NULL fails the session and names the slot")
    func missingSlot() throws {
        let instance = try model(Sources.languageModel(onRequest: "", slots: ".reserved = 0"))
        let caller = Caller()
        #expect(throws: Unexpected.self) { try instance.open(.languageModel, caller) }
        #expect(caller.failures.first?.message == "vc_llm_ops.request is NULL")
        try waitUntil("the session's end") { instance.sessionCount == 0 }
    }

    @Test("A call that takes longer than 5 ms is counted and logged")
    func slow() throws {
        let instance = try model(
            Sources.languageModel(onRequest: "usleep(20 * 1000); answer_last(s, r);", more: "#include <unistd.h>\n"))
        let caller = Caller()
        let session = try session(instance, caller)
        ask(session, 1)
        #expect(instance.faults.count(of: .slowCall) == 1)
        #expect(log.lines.contains { $0.level == .warning && $0.message.hasPrefix("request took ") })
        session.close()
    }

    @Test(
        "A provider that refuses its settings is failed with its own words, and one that is never READY with the time")
    func providerFails() throws {
        let refusing = try workshop.load(
            "llm.so",
            Sources.languageModel(
                onRequest: "",
                onCreate:
                    "e->code = VC_E_CONFIG; e->message = (vc_str)VC_STR(\"model: expected a file, found /x\"); return VC_E_CONFIG;"
            ),
            manifest: Workshop.manifest(id: "org.test.llm", kind: "vc.llm/1"))
        let instance = ProviderInstance(
            plugin: refusing, declaration: refusing.manifest.providers[0], name: "llm.x", configuration: [:], log: log)
        let failure = #expect(throws: ProviderFailure.self) { try instance.create() }
        #expect(failure?.code == .configuration)
        #expect(failure?.message == "model: expected a file, found /x")
        #expect(instance.destroy())
    }

    @Test("A table that is smaller, larger or dirty is read as the growth rule says")
    func adoption() throws {
        struct Old { var size: UInt32 = 8, reserved: UInt32 = 0 }
        var old = Old()
        let copy = try withUnsafePointer(to: &old) { try adopt($0, as: vc_llm_ops.self, "vc_llm_ops") }
        #expect(copy.request == nil && copy.tool_result == nil)
        struct New { var ops = vc_llm_ops(), more: UInt64 = 7 }
        var new = New()
        new.ops.size = UInt32(MemoryLayout<New>.size)
        new.ops.request = { _, _ in 0 }
        #expect(try withUnsafePointer(to: &new) { try adopt($0, as: vc_llm_ops.self, "vc_llm_ops") }.request != nil)
        new.ops.reserved = 1
        #expect(throws: TableFault(problem: "x.reserved is not 0")) {
            try withUnsafePointer(to: &new) { try adopt($0, as: vc_llm_ops.self, "x") }
        }
        old.size = 0
        #expect(throws: TableFault.self) { try withUnsafePointer(to: &old) { try adopt($0, as: vc_llm_ops.self, "x") } }
        #expect(throws: TableFault(problem: "x is NULL")) { try adopt(nil, as: vc_llm_ops.self, "x") }
    }
}
