// A call without a conversation: the mailbox, and what came into it.

import Glibc
import JSON
import Testing

@testable import Calls
@testable import Providers

final class Caller: @unchecked Sendable {
    let mailbox: CallMailbox
    private(set) var events: [CallEvent] = []
    private(set) var audio: [(ticket: Ticket, samples: [Int16])] = []
    private(set) var session: OpenedSession?

    init(outboundRateHz: Int = 8_000) {
        mailbox = CallMailbox(doorbell: LoopDoorbell(), outboundRateHz: outboundRateHz)
    }

    /// Takes what arrived.
    func take() {
        for item in mailbox.takeItems() {
            switch item {
            case .event(let event): events.append(event)
            case .audio(_, let ticket, let samples): audio.append((ticket, samples))
            case .opened(_, let opened): session = opened
            }
        }
    }

    /// Waits until `found` gives something; two seconds are a hundred times what any of it takes.
    @discardableResult
    func wait<Found>(_ what: String, _ found: (Caller) -> Found?) throws -> Found {
        for _ in 0..<2_000 {
            take()
            if let result = found(self) { return result }
            usleep(1_000)
        }
        throw Unexpected("no \(what); there are \(events)")
    }

    var failures: [ProviderFailure] {
        events.compactMap { if case .failed(_, _, let failure) = $0 { failure } else { nil } }
    }
}

/// Waits until a condition holds that another thread brings about.
func waitUntil(_ what: String, _ condition: () -> Bool) throws {
    for _ in 0..<2_000 {
        if condition() { return }
        usleep(1_000)
    }
    throw Unexpected("\(what) did not come about")
}

extension LoadedPlugin {
    /// Its only provider, running.
    func running(
        _ name: String, settings: [String: String] = [:], limits: SessionLimits = .standard,
        log: any ProviderLog = LogList()
    ) throws -> ProviderInstance {
        let declaration = manifest.providers[0]
        let instance = ProviderInstance(
            plugin: self, declaration: declaration, name: name,
            configuration: try declaration.configuration.apply(to: settings), limits: limits, log: log)
        try instance.create()
        try instance.start()
        try instance.waitUntilReady()
        return instance
    }
}

extension ProviderInstance {
    var sessions: ProviderSessions {
        ProviderSessions(
            chains: { _ in ProviderChains(speechToText: [], languageModel: [], textToSpeech: []) },
            instance: { [self] name in name == self.name ? self : nil })
    }

    /// Opens a session of it in `caller`'s call.
    func open(_ kind: ProviderKind, _ caller: Caller, outboundRateHz: Int = 8_000) throws -> OpenedSession {
        sessions.open(
            Provider(kind: kind, index: 0, name: name),
            for: CallIdentity(id: "call-1", profile: "test", caller: "1", callee: "2"), inboundRateHz: 8_000,
            outboundRateHz: outboundRateHz, mailbox: caller.mailbox)
        caller.take()
        guard let session = caller.session else { throw Unexpected("not opened: \(caller.events)") }
        return session
    }
}
