// A generation: one file of a plugin, by its hash, with one configuration, and the providers that were made of it.

/// Names one generation: they are counted from 1 for each plugin, and a number is never used twice in a run.
public struct GenerationID: Hashable, Sendable, CustomStringConvertible {
    public let plugin: String
    public let number: Int

    public var description: String { "\(plugin) generation \(number)" }
}

/// What is known of a file before it is used.
public struct PluginFacts: Sendable, Equatable {
    /// The file's name in the plugin directory.
    public var file: String
    public var id: String
    public var version: String
    public var sha256: String
    /// The sidecar's settings as text: two generations may differ in nothing else.
    public var settings: String
    /// Where its code runs.
    public var isolation: Manifest.Isolation
    /// It owns something of which there is one, a port: two generations cannot run at a time.
    public var isExclusive: Bool
    /// The build made it, so it need not be proven.
    public var isShipped: Bool

    public init(
        file: String, id: String, version: String, sha256: String, settings: String = "{}",
        isolation: Manifest.Isolation = .inprocess, isExclusive: Bool = false, isShipped: Bool = false
    ) {
        self.file = file
        self.id = id
        self.version = version
        self.sha256 = sha256
        self.settings = settings
        self.isolation = isolation
        self.isExclusive = isExclusive
        self.isShipped = isShipped
    }

    /// Whether a generation of these would do the same as one of `other`. A file's name is nothing to a call.
    func isSame(as other: PluginFacts) -> Bool {
        sha256 == other.sha256 && settings == other.settings && isolation == other.isolation
    }
}

public struct Generation: Sendable, Equatable {
    public enum State: String, Sendable {
        /// Tried out, away from every call.
        case proving
        /// Loaded and created: its settings are checked.
        case preparing
        /// Ready, and waits for a moment in which the one before it has no session (exclusive plugins only).
        case waiting
        /// Binds its ports, loads its models.
        case starting
        /// New calls get it.
        case running
        /// New calls get another; it takes what was under way when that was decided.
        case retiring
        /// Takes nothing new; open sessions go on.
        case draining
        case destroying
    }

    public let id: GenerationID
    public let facts: PluginFacts
    public internal(set) var state: State
    /// Since when, on the monotonic clock.
    public internal(set) var sinceNs: UInt64
    /// As last observed; only while somebody waits for them to end.
    public internal(set) var sessions = 0
    var hasExpired = false
    /// The file changed again before this one was used: it will not be.
    var isOutdated = false
}
