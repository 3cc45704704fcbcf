// When a worker is started, started again, and given up: decided in values, under any clock.
//
//     idle ─► starting ─► running ─► (ended) ─► waiting ─► starting ...
//                                                  └─ three crashes in ten minutes ─► quarantined
//
// A crash is an end that nobody asked for. A start that fails without one (the plugin refuses its settings, say, since
// a model's file is gone) is tried again with growing pauses, and is no reason for quarantine.

struct WorkerSupervision: Equatable {
    struct Limits: Equatable, Sendable {
        /// From the spawn to the handshake.
        var handshakeMs = 2_000
        /// Before the first new start, doubled for each further one.
        var restartFirstMs = 100
        var restartMaxMs = 10_000
        /// A worker that ran for so long begins its pauses anew.
        var calmMs = 60_000
        var crashesMax = 3
        var crashWindowMs = 600_000
    }

    enum Phase: Equatable {
        case idle
        case starting(untilNs: UInt64)
        case running(sinceNs: UInt64)
        case waiting(untilNs: UInt64)
        case quarantined
        case stopped
    }

    enum Action: Equatable {
        case spawn
        /// kill -9; `ended` follows.
        case kill(String)
        /// Report a crash; the worker comes back, or with `isTooMany` does not.
        case report(isTooMany: Bool)
    }

    private(set) var phase = Phase.idle
    private let limits: Limits
    private var pauseMs: Int
    private var crashesNs: [UInt64] = []

    init(_ limits: Limits = Limits()) {
        self.limits = limits
        pauseMs = limits.restartFirstMs
    }

    /// Starts the worker for the first time.
    mutating func start(now: UInt64) -> [Action] {
        guard phase == .idle else { return [] }
        return spawn(now: now)
    }

    mutating func handshook(now: UInt64) {
        if case .starting = phase { phase = .running(sinceNs: now) }
    }

    /// The process is gone.
    mutating func ended(isCrash: Bool, now: UInt64) -> [Action] {
        switch phase {
        case .idle, .waiting, .quarantined, .stopped: return []
        case .starting: break
        case .running(let since):
            if now &- since >= ns(limits.calmMs) { pauseMs = limits.restartFirstMs }
        }
        guard isCrash else {
            wait(now: now)
            return []
        }
        let windowNs = ns(limits.crashWindowMs)
        crashesNs = crashesNs.filter { now &- $0 < windowNs } + [now]
        guard crashesNs.count < limits.crashesMax else {
            phase = .quarantined
            return [.report(isTooMany: true)]
        }
        wait(now: now)
        return [.report(isTooMany: false)]
    }

    /// The file was quarantined by somebody else.
    mutating func forbid() { if phase != .stopped { phase = .quarantined } }

    mutating func stop() { phase = .stopped }

    mutating func tick(now: UInt64) -> [Action] {
        switch phase {
        case .starting(let until) where now >= until:
            // Not twice: the end follows, and decides.
            phase = .starting(untilNs: .max)
            return [.kill("no handshake within \(limits.handshakeMs) ms")]
        case .waiting(let until) where now >= until: return spawn(now: now)
        default: return []
        }
    }

    private mutating func spawn(now: UInt64) -> [Action] {
        phase = .starting(untilNs: now &+ ns(limits.handshakeMs))
        return [.spawn]
    }

    private mutating func wait(now: UInt64) {
        phase = .waiting(untilNs: now &+ ns(pauseMs))
        pauseMs = min(pauseMs * 2, limits.restartMaxMs)
    }

    private func ns(_ ms: Int) -> UInt64 { UInt64(ms) * 1_000_000 }
}

/// Finds a worker that runs and does not work, from what it leaves in its page at each heartbeat.
///
/// Counted in heartbeats of ours and not in time: a machine that stands still makes nobody hang.
struct WorkerLiveness: Equatable {
    private var beat: UInt64 = 0
    private var answered: UInt64 = 0
    private var missed = 0
    private var call: UInt64 = 0
    private var seen = 0

    /// Heartbeats that may stay without an answer while the worker is in no call.
    static let missedMax = 2

    enum Verdict: Equatable {
        /// Send this heartbeat.
        case alive(beat: UInt64)
        case hung(String)
    }

    mutating func tick(answered: UInt64, callBegunNs: UInt64, slot: WorkerSlot, periodMs: Int) -> Verdict {
        if callBegunNs != 0 {
            // Within a call nothing else is answered: the call's own limit counts.
            missed = 0
            seen = callBegunNs == call ? seen + 1 : 0
            call = callBegunNs
            if seen >= slot.heartbeatsMax {
                return .hung("\(slot.name) did not return within \(seen * periodMs) ms")
            }
        } else {
            call = 0
            seen = 0
            missed = answered == beat || answered != self.answered ? 0 : missed + 1
            self.answered = answered
            if missed > Self.missedMax { return .hung("no answer to \(missed) heartbeats") }
        }
        beat += 1
        return .alive(beat: beat)
    }
}
