// The runner's own failures. They are never a plugin's: whoever reads "the plugin failed" must be able to believe it.

import Glibc

/// Why a run could not be made or finished: exit status 5.
public struct RunnerFailure: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }

    /// What could not be done, and the system's reason.
    init(_ what: String, errno code: Int32) {
        description = "\(what): \(String(cString: strerror(code)))"
    }
}
