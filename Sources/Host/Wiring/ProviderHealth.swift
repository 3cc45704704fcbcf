// The circuit breakers of all providers, fed by what calls tell of their turns, and asked before each turn.
//
// A call's observer hears which provider failed (`failover`) and which ones a turn ended with (`turn`), so nothing has to be
// measured a second time.

import Calls
import Synchronization

final class ProviderHealth: Sendable {
    private let breakers = Mutex<[String: CircuitBreaker]>([:])
    private let policy: CircuitBreaker.Policy
    private let log: @Sendable (String) -> Void

    init(policy: CircuitBreaker.Policy = .init(), log: @escaping @Sendable (String) -> Void) {
        self.policy = policy
        self.log = log
    }

    /// The chains as `call` should go through them: who is left alone comes last.
    func order(_ chains: ProviderChains, for call: String, at now: Instant) -> ProviderChains {
        breakers.withLock { breakers in
            func ordered(_ names: [String]) -> [String] {
                // Alone it is asked whatever is known of it, and the probe belongs to a call that has another.
                guard names.count > 1 else { return names }
                let admitted = names.filter { breakers[$0]?.admits(call, at: now) ?? true }
                return admitted + names.filter { !admitted.contains($0) }
            }
            return ProviderChains(
                speechToText: ordered(chains.speechToText), languageModel: ordered(chains.languageModel),
                textToSpeech: ordered(chains.textToSpeech), turn: ordered(chains.turn))
        }
    }

    func note(_ entry: LedgerEntry, of call: String, at now: Instant) {
        switch entry {
        case .failover(_, let from, _, let failure):
            let isNewlyOpen = breakers.withLock { breakers in
                breakers[from.name, default: CircuitBreaker(policy: policy)].failed(call, at: now)
            }
            if isNewlyOpen { log("\(from.name) is left alone for a while: \(failure.message)") }
        case .turn(let turn):
            if turn.stages[.finalText] != nil { succeeded(turn.recogniser) }
            if turn.stages[.firstToken] != nil { succeeded(turn.languageModel) }
            if turn.stages[.firstAudio] != nil { succeeded(turn.voice) }
        default: break
        }
    }

    private func succeeded(_ name: String) {
        breakers.withLock { breakers in
            // One that never failed needs no breaker.
            guard breakers[name] != nil else { return }
            breakers[name] = nil
        }
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

    func note(_ entry: LedgerEntry, of call: CallIdentity) {
        health.note(entry, of: call.id, at: CallLoop.monotonicClock())
        next.note(entry, of: call)
    }

    func log(_ line: CallLogLine, of call: CallIdentity) { next.log(line, of: call) }

    func ended(_ record: CallRecord, of call: CallIdentity) { next.ended(record, of: call) }
}
