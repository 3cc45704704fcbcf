import Control
import Glibc
enum RunCommand: Command {
    static let name = "run"
    static let summary = "run"
    static let help = ""
    static func run(_ words: [String]) throws -> Int32 { 1 }
}
