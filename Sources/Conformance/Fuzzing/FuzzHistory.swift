// What the host did in a fuzz case, next to what the plugin emitted: all that a judge needs, and no plugin.

import PluginABI
import Providers

/// One round of a case, as the host saw it.
struct FuzzHistory: Sendable {
    struct Request: Sendable {
        var number: UInt64
        /// In which it was begun.
        var epoch: UInt64
        /// Its last piece was taken.
        var isComplete = false
        /// Results were given for its tool calls, so it goes on.
        var toolResults = 0
    }

    /// Something that happened between two events of the plugin.
    struct Moment: Sendable {
        /// The number of the next event of the probe.
        var before: Int
        var atNs: UInt64
    }

    struct Session: Sendable {
        var index: Int
        var events: [RecordedEvent] = []
        var requests: [UInt64: Request] = [:]
        var cancels: [(epoch: UInt64, at: Moment)] = []
        /// Room was given.
        var credits: [Moment] = []
        var closed: Moment?
        /// Of the audio that was pushed.
        var position: UInt64 = 0
        /// It was open at the end of the steps, and the host waited for all answers: what is missing is missing.
        var wasAwaited = false

        var isReady: Bool { events.contains { $0.type == VC_EVENT_READY } }
        var fatal: RecordedEvent? { events.first { $0.failure?.isFatal ?? false } }
    }

    var kind: PluginKind
    var sessions: [Session] = []
    var providerEvents: [RecordedEvent] = []
    var drained: Moment?
    /// Uses of services that their headers forbid.
    var misuse: [String] = []
    /// What a slot answered that is no status of the contract.
    var unknownStatuses: [String] = []
    /// Numbers of a detector.
    var probabilities: [Float] = []
    var logLines: [RecordedLogLine] = []
    var secrets: [String] = []
    /// Timers were late by up to this.
    var lateMs = 0
    /// The plugin has threads of its own, which follow no clock of ours: what is measured in time is not judged.
    var hasOwnThreads = false
}
