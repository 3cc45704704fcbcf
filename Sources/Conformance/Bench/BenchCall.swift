// Calls between a telephony plugin and its scripted peer.
//
// A rule names the dialogue that the peer plays: "incoming-bye" is a caller who hangs up after the answer. What the
// dialogues are is written down for authors in `docs/conform-scripts.md`; a script need not have them all, and a rule
// whose dialogue is missing does not apply.

import JSON
import PluginABI
import Providers

/// How long a rule waits for what must come. A plugin with threads of its own lives on the machine's time.
private let patienceMs = 3_000
/// And how long for what must not.
private let quietMs = 50

/// A dialogue that the peer plays.
struct PeerDialogue {
    let bench: Bench
    let name: String
    let run: Int

    var hasPassed: Bool { VendorServices.current?.dialogue(run)["state"] == "passed" }

    /// Waits for its end; throws what the peer missed.
    func needEnd(_ what: String, expected: String) throws {
        guard !bench.wait(ms: patienceMs, until: { hasPassed }) else { return }
        let state = VendorServices.current?.dialogue(run) ?? .null
        let problem = state["problem"]?.string ?? ""
        let place = "step \(state["step"]?.text ?? "0") of \(name)"
        throw Violation(
            what, expected: expected, got: problem.isEmpty ? "not within \(patienceMs) ms (\(place))" : problem)
    }
}

/// A call that was announced.
struct IncomingCall {
    let provider: BenchProvider
    let dialogue: PeerDialogue
    let event: RecordedEvent

    var key: String {
        guard case .incoming(let key, _, _, _, _, _, _) = event.body else { return "" }
        return key
    }

    /// The host opens a session for it.
    func taken() throws -> BenchSession {
        var options = SessionOptions()
        options.key = key
        return try provider.session(options)
    }

    /// And answers it.
    func answered() throws -> BenchSession {
        let session = try taken()
        let status = session.answer()
        guard status == VC_OK else { throw Violation("answer", expected: "VC_OK", got: statusName(status)) }
        let first = session.waitForAny(VC_EVENT_ANSWERED, VC_EVENT_HANGUP)
        guard first?.type == VC_EVENT_ANSWERED else {
            throw Violation("answer", expected: "ANSWERED", got: first?.name ?? "nothing for \(patienceMs) ms")
        }
        return session
    }
}

extension Bench {
    /// Has the peer begin a dialogue.
    func begin(_ name: String) throws -> PeerDialogue {
        guard let run = VendorServices.current?.beginDialogue(name) else {
            throw NotApplicable("its vendor has no dialogue `\(name)`")
        }
        return PeerDialogue(bench: self, name: name, run: run)
    }

    /// A call that comes in to a provider of its own.
    func call(_ name: String) throws -> IncomingCall { try provider().called(name) }

    /// Time in which something could come that must not.
    func pass(ms: Int = quietMs) { _ = wait(ms: ms) { false } }

    /// A call to somebody, whom the dialogue plays.
    func dial(_ name: String, ringTimeoutMs: UInt32 = 30_000) throws -> (session: BenchSession, peer: PeerDialogue) {
        let provider = try provider()
        let peer = try begin(name)
        var options = SessionOptions()
        options.direction = UInt32(VC_CALL_OUTBOUND)
        options.to = "4930123"
        options.ringTimeoutMs = ringTimeoutMs
        return (try provider.session(options), peer)
    }

    var profile: Capabilities.Profile { subject.provider?.capabilities.profile ?? .signalling }
}

extension BenchProvider {
    /// A call that comes in.
    func called(_ name: String) throws -> IncomingCall {
        let known = events.filter { $0.type == VC_EVENT_INCOMING }.count
        let dialogue = try bench.begin(name)
        guard let event = waitForIncoming(ms: patienceMs, after: known) else {
            throw Violation("the peer calls", expected: "INCOMING within \(patienceMs) ms", got: "none")
        }
        return IncomingCall(provider: self, dialogue: dialogue, event: event)
    }

    /// Nil: it has no such slot.
    func decline(_ key: String, _ code: UInt32, retryAfterS: UInt32 = 0) -> vc_status? {
        guard
            let decline = table.pointee.kind_ops?.assumingMemoryBound(to: vc_telephony_provider_ops.self).pointee
                .decline
        else { return nil }
        let lent = bench.lender.lend(key, "key")
        let status = bench.world.call("decline \(code)") { decline(theirs, lent, code, retryAfterS) }
        bench.lender.takeBack()
        return status
    }

    func count(_ type: Int) -> Int { events.filter { $0.type == type }.count }
}

extension BenchSession {
    /// Waits for an event of one of the types; nil: none came.
    @discardableResult
    func waitForAny(_ types: Int..., ms: Int = patienceMs) -> RecordedEvent? {
        _ = bench.wait(ms: ms) { events.contains { types.contains($0.type) } }
        return events.first { types.contains($0.type) }
    }

    /// The end of the call, as the host was told.
    func needHangup(_ what: String) throws -> (cause: UInt32, code: UInt32, event: RecordedEvent) {
        guard let event = waitForAny(VC_EVENT_HANGUP), case .hangup(let cause, let code, _) = event.body else {
            throw Violation(what, expected: "HANGUP within \(patienceMs) ms", got: "none")
        }
        return (cause, code, event)
    }

    func needCause(_ wanted: Int, _ what: String) throws {
        let cause = try needHangup(what).cause
        guard cause == UInt32(wanted) else {
            throw Violation(
                what, expected: "HANGUP with the cause \(hangupName(UInt32(wanted)))", got: hangupName(cause))
        }
    }
}

func hangupName(_ cause: UInt32) -> String {
    switch Int(cause) {
    case VC_HANGUP_CALLER: "CALLER"
    case VC_HANGUP_AGENT: "AGENT"
    case VC_HANGUP_CANCELED: "CANCELED"
    case VC_HANGUP_REFUSED: "REFUSED"
    case VC_HANGUP_NO_ANSWER: "NO_ANSWER"
    case VC_HANGUP_FAILED: "FAILED"
    default: "cause \(cause)"
    }
}
