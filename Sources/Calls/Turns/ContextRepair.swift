/// The caller goes on shortly after the agent began to answer: the turn had not ended.
///
/// A false end of turn is the commonest fault of every endpointer. Where the interruption comes so early, the beginning
/// of the answer is withdrawn, both halves of the turn become one, and the model is asked again with the whole. Later
/// than that it is an interruption, and the model should know what it was interrupted in.
struct ContextRepair: Sendable, Equatable {
    let windowMs: Int

    /// - Parameter firstHeard: when the caller first heard the answer, nil if he has not.
    func applies(firstHeard: Instant?, interruptedAt: Instant) -> Bool {
        guard windowMs > 0 else { return false }
        guard let firstHeard else { return true }
        return interruptedAt.milliseconds(since: firstHeard) <= windowMs
    }
}
