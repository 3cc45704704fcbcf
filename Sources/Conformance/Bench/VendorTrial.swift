// A question to a provider whose vendor fails, and what came of it.
//
// Rules about failures are told once for recognisers, models and voices: each asks what its kind is asked in a call,
// and is answered with the event that ends a request, or with an ERROR.

import PluginABI
import Providers

/// What a provider with a vendor made of one question.
struct VendorTrial {
    let session: BenchSession
    let request: UInt64
    /// What the slot answered.
    let status: vc_status
    /// All events of the session since the question.
    let events: [RecordedEvent]
    /// What reached the vendor since then.
    let seen: [VendorSighting]
    /// From the question to its end, or as long as was waited.
    let lastedMs: Int

    var failures: [RecordedEvent.Failure] { events.compactMap(\.failure) }
    var failure: RecordedEvent.Failure? { failures.first }
    /// FINALIZED, TTS_DONE, LLM_DONE.
    var ends: [RecordedEvent] { events.filter { $0.type == session.endType } }
    /// Neither an end nor an ERROR came, nor did the slot refuse.
    var hangs: Bool { status == VC_OK && failure == nil && ends.isEmpty }

    /// What came, for a report.
    var summary: String {
        if status != VC_OK { return statusName(status) }
        if let failure { return "ERROR \(statusName(failure.code))" }
        return ends.first?.name ?? "nothing for \(lastedMs / 1_000) s"
    }

    /// The ERROR, for a rule that is about what it says.
    func needFailure() throws -> RecordedEvent.Failure {
        guard let failure else { throw NotApplicable("no ERROR came, but \(summary)") }
        return failure
    }
}

extension BenchSession {
    /// What ends a request of this kind.
    var endType: Int {
        switch bench.kind {
        case .speechToText: VC_EVENT_FINALIZED
        case .textToSpeech: VC_EVENT_TTS_DONE
        default: VC_EVENT_LLM_DONE
        }
    }

    /// Asks what the kind is asked in a call, and waits for nothing.
    func question(_ request: UInt64) -> vc_status {
        switch bench.kind {
        case .speechToText:
            begin(request)
            pushInTime(bench.speech(rateHz: rateHz, ms: 600))
            return finalize(request)
        case .textToSpeech: return speak(request, "Hello there. How are you?")
        default: return put(Inquiry(), request)
        }
    }

    /// Asks, and waits for what ends the question, at most `ms`, and two seconds more.
    func trial(_ services: VendorServices, ms: Int = 120_000) -> VendorTrial {
        let request = nextRequest()
        let (knownEvents, knownSeen) = (events.count, services.seen().count)
        let beganNs = bench.nowNs
        let status = question(request)
        var endedNs = beganNs
        if status == VC_OK {
            _ = bench.wait(ms: ms) {
                events.dropFirst(knownEvents).contains { $0.type == endType || $0.failure != nil }
            }
            endedNs = bench.nowNs
            bench.advance(ms: 2_000)
        }
        return VendorTrial(
            session: self, request: request, status: status, events: Array(events.dropFirst(knownEvents)),
            seen: Array(services.seen().dropFirst(knownSeen)), lastedMs: Int((endedNs - beganNs) / 1_000_000))
    }
}

extension Bench {
    /// Whether it asked a vendor that no script plays: it was then answered with 404, and is not to blame.
    var isWithoutVendor: Bool {
        let services = VendorServices.current
        let asked = (services?.callCount("http.start") ?? 0) + (services?.callCount("ws.connect") ?? 0)
        return job.scripts.isEmpty && asked > 0
    }

    /// A provider that asks a vendor over "vc.http/1", and the vendor. Others have nothing to be judged by.
    ///
    /// One question, undisturbed, shows whether it does; its session is left alone.
    func providerWithVendor() throws -> (provider: BenchProvider, services: VendorServices) {
        guard let services = VendorServices.current else { throw NotApplicable("the bench has no vendor") }
        let provider = try provider()
        let trial = try provider.session().trial(services)
        guard services.callCount("http.start") > 0 else { throw NotApplicable("it asks no vendor over vc.http/1") }
        guard let entry = trial.seen.first?.entry, !entry.isEmpty, trial.failure == nil, !trial.hangs else {
            throw NotApplicable("its vendor's script does not answer what the bench asks")
        }
        return (provider, services)
    }

    /// A question in a session of its own, while the vendor fails.
    func trial(of fault: VendorFault, times: Int? = nil) throws -> VendorTrial {
        let (provider, services) = try providerWithVendor()
        let session = try provider.session()
        services.arm(fault, times: times)
        defer { services.disarm() }
        return session.trial(services)
    }
}
