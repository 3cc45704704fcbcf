import Control
import Glibc
enum CallCommand: Command {
    static let name = "call"
    static let summary = "call"
    static let help = ""
    static func run(_ words: [String]) throws -> Int32 { 1 }
}
