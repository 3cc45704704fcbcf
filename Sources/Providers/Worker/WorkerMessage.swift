// What is said between host and worker, and the names of what a worker may be doing when it dies.

import PluginABI

/// Kinds of messages. The numbers are no contract: both sides are the same binary.
enum WorkerMessage: UInt16 {
    // The ring of calls.
    case heartbeat = 1
    case create, start, drain, destroyProvider
    case open, cancel, close, destroy, abandon
    /// A slot of the kind: `WorkerSlot` and its arguments.
    case slot

    // The ring of services.
    case epoch, credit
    case reply
    case service

    // The ring of events.
    case answer
    case event
    case refused
    case dropped
    case starved
    /// A slot took longer than the contract allows.
    case slow
    case request
}

/// Every call into a plugin, as the breadcrumbs name it.
enum WorkerSlot: UInt32, CaseIterable {
    case none = 0
    case load, entry
    case create, start, drain, destroyProvider
    case open, cancel, credit, close, destroy
    case begin, push, finalize
    case turnPush, transcript, decide
    case request, toolResult
    case speak
    case ringing, answer, hangup, transfer, hold, dtmf, play, mark, flush
    case decline
    case process
    /// A timer, the answer of a request, a task: called by a service.
    case callback

    var name: String {
        switch self {
        case .none: "between calls"
        case .load: "being loaded"
        case .entry: VC_PLUGIN_ENTRY
        case .destroyProvider: "destroy of the provider"
        case .turnPush: "push"
        case .toolResult: "tool_result"
        case .callback: "a callback of a service"
        default: "\(self)"
        }
    }

    /// Whether the contract wants an answer at once.
    var answersAtOnce: Bool {
        switch self {
        case .none, .load, .entry, .create, .start, .destroyProvider, .callback, .process: false
        default: true
        }
    }

    /// What a slot may take before its worker counts as hung, in heartbeats. Loading and `create` read files, `start`
    /// may; everything else answers at once.
    var heartbeatsMax: Int {
        switch self {
        case .load, .entry, .create, .start, .destroyProvider: 7
        default: 2
        }
    }
}

/// Which slots a plugin's tables have: a bit for each, in the order of `WorkerSlot`.
struct SlotMask: Equatable, Hashable {
    var bits: UInt64 = 0

    init(bits: UInt64 = 0) { self.bits = bits }

    init(_ slots: [(WorkerSlot, Bool)]) {
        for (slot, isThere) in slots where isThere { bits |= 1 << UInt64(slot.rawValue) }
    }

    func has(_ slot: WorkerSlot) -> Bool { bits & 1 << UInt64(slot.rawValue) != 0 }
}

/// As `WorkerSlot.callback`, for those who call plugins without being a slot.
package let workerCallbackSlot = WorkerSlot.callback.rawValue
