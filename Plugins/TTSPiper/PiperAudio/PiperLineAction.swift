// What `PiperLine` has done, and what it is bound by.

import PluginKit

/// What is to be done.
public enum PiperLineAction: Sendable, Equatable {
    case connect(Int)
    case send(Int, String)
    case close(Int)
    case audio(clause: Int, [Int16], rateHz: Int)
    case finish(clause: Int)
    case fail(clause: Int, PluginError)
    case warn(PluginError)
}

public struct PiperLineLimits: Sendable, Equatable {
    /// Longest silence of the service while it makes a clause.
    public var stallMs: UInt64 = 10000
    /// Further attempts while nothing of a clause was heard.
    public var retries = 1
    /// Connections beside the one that speaks.
    public var spares = 1

    public init() {}
}
