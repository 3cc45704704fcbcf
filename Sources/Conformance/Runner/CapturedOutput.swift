// What a probe wrote to its standard output or error: the beginning of it, and how much it was.

/// A bounded copy of a stream that somebody else fills.
public struct CapturedOutput: Sendable, Equatable {
    /// Enough for any message and most backtraces; a plugin that prints in a loop must not fill our memory.
    public static let bytesMax = 64 << 10

    private var kept: [UInt8] = []
    /// All that came.
    public private(set) var bytes = 0

    public init() {}

    mutating func take(_ more: ArraySlice<UInt8>) {
        bytes += more.count
        kept += more.prefix(Self.bytesMax - kept.count)
    }

    public var text: String {
        let beginning = String(decoding: kept, as: UTF8.self)
        return bytes > kept.count ? beginning + "\n[\(bytes - kept.count) bytes more]\n" : beginning
    }
}
