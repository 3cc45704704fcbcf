/// Every bound of a session on the plugin line, with its reason.
public struct SessionLimits: Sendable, Equatable {
    /// From `close` to CLOSED; the contract gives a plugin 1 s, and the host gives up after this.
    public var closeMs = 5_000
    /// Audio kept back until a session is READY: what a caller says while a connection is made.
    public var beforeReadyMs = 2_000
    /// Requests kept back until a session is READY; a turn has a dozen clauses.
    public var beforeReadyRequests = 64
    /// Audio kept back while a recogniser says AGAIN. Older words are worth less than newer ones.
    public var againMs = 200
    /// A VC_CONTROL call that takes longer is logged.
    public var slowCallMs = 5
    /// The same where it crosses to a worker and back.
    public var slowWorkerCallMs = 100
    /// But for `create`, which may read files, and before which no call waits.
    public var slowCreateMs = 250
    /// Events held while `open` runs. A plugin has nothing to say yet but READY.
    public var whileOpening = 64
    /// Frames given to a recogniser are at most this long.
    public var frameMs = 20
    /// After AGAIN for want of room in the call's mailbox, `credit` comes this much later: the mailbox empties in one.
    public var creditAfterMs = 20

    public static let standard = SessionLimits()

    public init() {}
}
