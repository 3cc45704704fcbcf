// JSON in lines, as a value: bytes in, in any pieces, whole lines out.
//
// It works on bytes, so a character that the network cuts in two is whole again before it is read.

public struct OllamaLines: Sendable {
    /// A line that is longer than this is no token: the stream is given up.
    public static let bytesMax = 1 << 20

    /// The bound was passed; nothing more is given out.
    public private(set) var isOverflown = false

    private var line: [UInt8] = []

    public init() {}

    /// Takes more of the stream and returns the lines that are complete now, without those that are empty.
    public mutating func feed(_ bytes: [UInt8]) -> [String] {
        var lines: [String] = []
        for part in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            if part.offset > 0 { lines.append(contentsOf: end()) }
            guard !isOverflown else { return lines }
            line.append(contentsOf: part.element)
            isOverflown = line.count > Self.bytesMax
        }
        return lines
    }

    /// What stands without a line's end when the stream is over.
    public mutating func end() -> [String] {
        defer { line.removeAll(keepingCapacity: true) }
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        return line.isEmpty || isOverflown ? [] : [String(decoding: line, as: UTF8.self)]
    }
}
