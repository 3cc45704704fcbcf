// The life of an object, as the contract draws it: opening, ready, closing, closed; or failed, waiting for its close.
//
// A value, so that "READY once", "CLOSED once and last" and "nothing after a fatal error" can be tested without a host.

struct SessionLife {
    enum Phase: Equatable { case opening, ready, failed, closed, gone }
    private(set) var phase = Phase.opening

    /// True while ordinary events may go out.
    var isOpen: Bool { phase == .opening || phase == .ready }

    /// True when READY is to be emitted now.
    mutating func becomeReady() -> Bool {
        guard phase == .opening else { return false }
        phase = .ready
        return true
    }

    /// True when the fatal ERROR is to be emitted now.
    mutating func fail() -> Bool {
        guard isOpen else { return false }
        phase = .failed
        return true
    }

    /// True when CLOSED is to be emitted now.
    mutating func close() -> Bool {
        guard phase != .closed && phase != .gone else { return false }
        phase = .closed
        return true
    }

    /// The host does not know the object any more.
    mutating func vanish() { phase = .gone }
}
