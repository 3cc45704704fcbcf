// What a probe says on the verdict pipe.
//
// The pipe is open in a process where foreign code runs, so a line counts only behind the nonce, which the plugin is
// never told, and the verdict only when `done` came. Whatever else is written there is counted and told, since a plugin
// that writes to descriptors which are not its own will do so in a host too.

import JSON

/// Turns the bytes of the pipe into a verdict.
struct VerdictReader: Sendable {
    struct Verdict: Sendable, Equatable {
        /// The first breach that was told.
        var violation: Violation?
        var skip: String?
        var notes: [Note] = []
        var isDone = false
        /// Lines without the nonce, or with nonsense behind it.
        var foreignLines = 0
        /// More came than any rule has to say; the rest was not read.
        var isFlooded = false
    }

    struct Note: Sendable, Equatable {
        var name: String
        var value: String
    }

    /// The longest line; a violation quotes at most some kilobytes.
    static let lineBytesMax = 64 << 10
    /// All lines together.
    static let bytesMax = 1 << 20
    /// Measured values; a rule has two or three.
    static let notesMax = 64

    private let nonce: String
    private var line: [UInt8] = []
    private var total = 0
    private(set) var verdict = Verdict()

    init(nonce: String) { self.nonce = nonce }

    /// Takes bytes as they come. False when no more shall be read.
    mutating func take(_ bytes: ArraySlice<UInt8>) -> Bool {
        for byte in bytes {
            total += 1
            guard total <= Self.bytesMax, line.count < Self.lineBytesMax else {
                verdict.isFlooded = true
                return false
            }
            guard byte == UInt8(ascii: "\n") else {
                line.append(byte)
                continue
            }
            read(String(decoding: line, as: UTF8.self))
            line.removeAll(keepingCapacity: true)
        }
        return true
    }

    private mutating func read(_ text: String) {
        let words = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count >= 2, words[0] == nonce, !verdict.isDone else {
            verdict.foreignLines += 1
            return
        }
        let value = words.count == 3 ? try? JSONValue(parsing: String(words[2])) : nil
        func member(_ name: String) -> String { value?[name]?.string ?? "" }
        switch words[1] {
        case "done": verdict.isDone = true
        case "fail":
            if verdict.violation == nil {
                verdict.violation = Violation(
                    member("what"), expected: member("expected"), got: member("got"), place: member("place"))
            }
        case "skip": verdict.skip = member("why")
        case "note":
            if verdict.notes.count < Self.notesMax {
                verdict.notes.append(Note(name: member("name"), value: member("value")))
            }
        default: verdict.foreignLines += 1
        }
    }
}
