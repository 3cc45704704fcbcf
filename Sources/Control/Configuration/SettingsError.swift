/// The configuration cannot be used: what is wrong, and what to do about it.
public struct SettingsError: Error, Sendable, CustomStringConvertible {
    public enum Code: Sendable { case unreadable, invalid }

    public let code: Code
    public let message: String
    public var description: String { message }

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
