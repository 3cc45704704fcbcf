// When a file of the plugin directory is worth a look.
//
// People copy files in every way there is: `cp` writes in place for seconds, `install` and packagers write and then
// change the mode, editors and `vchost plugins pack` rename, a deployment removes and copies again. Half of a library
// is no broken library, so nothing is read while somebody writes, and what turns out to be incomplete is looked at
// again until it has been left alone for a while. What is complete is not judged here; this only says when to look.
//
// The kernel tells when a writer closes its file, and that is the sign to trust. Two deadlines stand behind it for
// writers that never close, and for file systems that do not tell: silence after a write, and silence after a look that
// found an incomplete file.

/// What happened to a file, as far as the directory tells.
public enum FileSign: Sendable, Equatable {
    /// Somebody writes.
    case writing
    /// Written and closed, renamed into place, or its mode changed.
    case written
    /// Removed, or renamed away.
    case gone
}

struct FileSettling: Sendable, Equatable {
    /// Between the last sign and the look: a removal followed by a new file, or a rename and its chmod, are one change.
    static let quietNs: UInt64 = 200_000_000
    /// A writer that has been silent for so long without closing is not waited for any more.
    static let openQuietNs: UInt64 = 3_000_000_000
    /// Between two looks at an incomplete file.
    static let againNs: UInt64 = 1_000_000_000
    /// After the last sign of a writer, an incomplete file is a broken one.
    static let incompleteNs: UInt64 = 10_000_000_000

    /// When to look; nil when there is nothing to look at.
    private(set) var lookAt: UInt64?
    private(set) var isLooking = false
    private var isOpen = false
    private var lastSign: UInt64 = 0

    mutating func noticed(_ sign: FileSign, at now: UInt64) {
        lastSign = now
        isOpen = sign == .writing
        lookAt = now + (isOpen ? Self.openQuietNs : Self.quietNs)
    }

    /// Whether the look is due; it is under way from then on.
    mutating func begin(at now: UInt64) -> Bool {
        guard let due = lookAt, due <= now, !isLooking else { return false }
        lookAt = nil
        isLooking = true
        return true
    }

    enum Verdict { case judge, wait }

    /// The look is over.
    ///
    /// - Parameters:
    ///   - isComplete: false for what may be the first part of a good file.
    /// - Returns: `.wait` when it will be looked at again, whatever it was taken for.
    mutating func looked(isComplete: Bool, at now: UInt64) -> Verdict {
        isLooking = false
        // Something happened meanwhile: what was read is not what is there.
        if lookAt != nil { return .wait }
        if isComplete { return .judge }
        guard now < lastSign + Self.incompleteNs else { return .judge }
        lookAt = now + Self.againNs
        return .wait
    }

    var isSettled: Bool { lookAt == nil && !isLooking }
    var wakeAt: UInt64? { isLooking ? nil : lookAt }
}
