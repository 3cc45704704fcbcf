// What all calls know of the providers: told by each call's observer, asked whenever a call looks at its chains, and
// shown to the operator in the log, on the event socket, as a metric and in `vchost plugins list`.
//
// It decides nothing; `CircuitBreakers` does. The lock is held for a look into a dictionary of those that have failed,
// which is empty in a healthy house, and never while somebody is told.

import Calls
import Control
import HostServices
import JSON
import Synchronization

final class ProviderHealth: Sendable {
    private let breakers: Mutex<CircuitBreakers>
    private let logger: Logger
    private let events: EventSocket?
    private let metrics: MetricsRegistry

    init(pauseMs: Int, logger: Logger, events: EventSocket?, metrics: MetricsRegistry) {
        breakers = Mutex(CircuitBreakers(policy: .init(pauseMs: pauseMs)))
        self.logger = logger
        self.events = events
        self.metrics = metrics
    }

    /// The chains as `call` should go through them now: who is left alone comes last.
    func order(_ chains: ProviderChains, for call: CallIdentity, at now: Instant) -> ProviderChains {
        let (ordered, news) = breakers.withLock { breakers in
            (breakers.chains(chains, for: call.id, at: now), breakers.takeNews())
        }
        tell(news, call)
        return ordered
    }

    func outcome(_ outcome: ProviderOutcome, of provider: String, in call: CallIdentity, at now: Instant) {
        let news = breakers.withLock { breakers in
            breakers.outcome(outcome, of: provider, in: call.id, at: now)
            return breakers.takeNews()
        }
        tell(news, call)
    }

    func ended(_ call: CallIdentity, at now: Instant) {
        breakers.withLock { $0.ended(call.id, at: now) }
    }

    /// A row for each provider that has failed since the host is up.
    func rows(at now: Instant) -> [JSONValue] {
        breakers.withLock(\.standings).map { standing in
            var waitMs = 0
            if case .open(let until) = standing.state { waitMs = until.milliseconds(since: now) }
            return [
                "provider": .string(standing.provider), "state": .string(standing.state.name),
                "waitMs": .integer(Int64(waitMs)), "failures": .integer(Int64(standing.failures)),
                "openings": .integer(Int64(standing.openings)), "reason": .string(standing.reason),
            ]
        }
    }

    // MARK: Who is told

    private func tell(_ news: [CircuitBreakers.News], _ call: CallIdentity) {
        for item in news {
            log(item, call)
            if case .opened(_, _, isAgain: false) = item.change { count(item.provider) }
            if let events, events.isWatched { events.publish(item.json(call).text) }
        }
    }

    /// An outage is a line at its beginning and one at its end; that probes fail meanwhile is no news.
    private func log(_ item: CircuitBreakers.News, _ call: CallIdentity) {
        let subject = LogSubject(name: item.provider, call: call.id)
        switch item.change {
        case .opened(let pauseMs, let reason, isAgain: false):
            logger.warning(
                "is left alone by all calls that have another, for \(Self.seconds(pauseMs)) at first: \(reason)",
                of: subject)
        case .opened(let pauseMs, let reason, isAgain: true):
            logger.write(.debug, "is left alone for another \(Self.seconds(pauseMs)): \(reason)", of: subject)
        case .probed: logger.write(.debug, "is asked again, by this call alone", of: subject)
        case .closed(let afterMs): logger.info("answers again, after \(Self.seconds(afterMs))", of: subject)
        }
    }

    /// "30 s", "8.4 s".
    private static func seconds(_ ms: Int) -> String {
        ms % 1_000 == 0 ? "\(ms / 1_000) s" : "\(ms / 1_000).\(ms % 1_000 / 100) s"
    }

    private func count(_ provider: String) {
        do throws(MetricsRegistry.Refusal) {
            try metrics.define(
                .counter, "vchost_provider_openings", help: "How often a provider was left alone for its failures",
                labels: [("provider", provider)]
            ).increment()
        } catch {
            logger.warning("is not counted: \(error)", of: LogSubject(name: provider))
        }
    }
}

extension CircuitBreaker.State {
    /// As the operator reads it.
    var name: String {
        switch self {
        case .closed: "closed"
        case .open: "open"
        case .halfOpen: "halfOpen"
        }
    }
}

extension CircuitBreakers.News {
    fileprivate func json(_ call: CallIdentity) -> JSONValue {
        var members: [String: JSONValue] = [
            "event": "providerHealth", "call": .string(call.id), "protocolCall": .string(call.protocolCall),
            "provider": .string(provider),
        ]
        switch change {
        case .opened(let pauseMs, let reason, _):
            members["state"] = "open"
            members["pauseMs"] = .integer(Int64(pauseMs))
            members["reason"] = .string(reason)
        case .probed: members["state"] = "halfOpen"
        case .closed(let afterMs):
            members["state"] = "closed"
            members["afterMs"] = .integer(Int64(afterMs))
        }
        return .object(members)
    }
}

/// What a call tells, told to the breakers as well.
final class HealthObserver: CallObserver {
    private let health: ProviderHealth
    private let next: any CallObserver

    init(_ health: ProviderHealth, next: any CallObserver) {
        self.health = health
        self.next = next
    }

    func note(_ entry: LedgerEntry, of call: CallIdentity) { next.note(entry, of: call) }

    func log(_ line: CallLogLine, of call: CallIdentity) { next.log(line, of: call) }

    func outcome(_ outcome: ProviderOutcome, of provider: Provider, in call: CallIdentity) {
        health.outcome(outcome, of: provider.name, in: call, at: CallLoop.monotonicClock())
    }

    func ended(_ record: CallRecord, of call: CallIdentity) {
        health.ended(call, at: CallLoop.monotonicClock())
        next.ended(record, of: call)
    }
}
