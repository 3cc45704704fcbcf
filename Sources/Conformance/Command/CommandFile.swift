// Small files that are named on the command line. What is wrong with them is the command line's fault.

import Glibc
import JSON

enum CommandFile {
    /// A baseline of a hundred plugins has some megabytes.
    static let bytesMax = 64 << 20

    static func text(_ path: String) throws(CommandUsage) -> String {
        guard let file = fopen(path, "re") else {
            throw CommandUsage("\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count <= bytesMax {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 {
                guard ferror(file) == 0 else {
                    throw CommandUsage("\(path) cannot be read: \(String(cString: strerror(errno)))")
                }
                return String(decoding: bytes, as: UTF8.self)
            }
            bytes += chunk[..<count]
        }
        throw CommandUsage("\(path) has more than \(bytesMax) bytes")
    }

    static func json(_ path: String) throws(CommandUsage) -> JSONValue {
        let text = try text(path)
        do throws(JSONSyntaxError) {
            return try JSONValue(parsing: text)
        } catch {
            throw CommandUsage("\(path): \(error)")
        }
    }

    static let speechOption = CommandOption(
        nil, "--speech", "FILE.wav", "what the caller says, 16 bit mono; by default flite says it")

    /// A recording's absolute path, for probes that run elsewhere.
    static func speech(_ path: String) throws(CommandUsage) -> String {
        do throws(SpeechRecording.Problem) {
            _ = try SpeechRecording(path: path)
        } catch {
            throw CommandUsage("--speech: \(path) \(error)")
        }
        guard let absolute = realpath(path, nil) else { throw CommandUsage("--speech: \(path) is gone") }
        defer { free(absolute) }
        return String(cString: absolute)
    }
}
