// Where this module says what the operator should know. The host gives the real log; tests give a list.

/// Takes lines from any thread, and does not wait for a disk.
public protocol ProviderLog: Sendable {
    func write(_ line: ProviderLogLine)
}

public struct ProviderLogLine: Sendable, Equatable {
    public enum Level: UInt8, Sendable {
        case debug, info, warning, error
        /// The plugin broke the contract: what it did, and what the contract says.
        case pluginFault
    }

    public var level: Level
    public var message: String
    /// The plugin's id.
    public var plugin: String
    /// The section of the configuration, "stt.local", or empty.
    public var provider: String
    /// The call's id, or empty.
    public var call: String

    public init(_ level: Level, _ message: String, plugin: String, provider: String = "", call: String = "") {
        self.level = level
        self.message = message
        self.plugin = plugin
        self.provider = provider
        self.call = call
    }
}
