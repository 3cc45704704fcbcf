// A real server beside the test: a Python program of Tests/Peers, which picks its own port and ends with the test's
// process.

import Glibc

private func path(of program: String) -> String {
    "\(#filePath)".split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 } + "/Peers/\(program)"
}

/// What a program of Tests/Peers says until it ends.
func output(of program: String, _ arguments: String...) -> String {
    let words = (["python3", path(of: program)] + arguments).map { "'\($0)'" }.joined(separator: " ")
    guard let pipe = popen(words, "r") else { return "" }
    defer { pclose(pipe) }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4 << 10)
    while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { text += chunk[..<count] }
    return String(decoding: text, as: UTF8.self)
}

final class Peer: Sendable {
    let port: Int

    init(_ program: String, _ arguments: String...) {
        let path = path(of: program)
        var toPeer: [Int32] = [0, 0]
        var fromPeer: [Int32] = [0, 0]
        precondition(pipe(&toPeer) == 0 && pipe(&fromPeer) == 0)
        for end in [toPeer[1], fromPeer[0]] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, toPeer[0], 0)
        posix_spawn_file_actions_adddup2(&actions, fromPeer[1], 1)
        var argv: [UnsafeMutablePointer<CChar>?] = (["python3", path] + arguments).map { strdup($0) } + [nil]
        var pid = pid_t()
        let result = posix_spawnp(&pid, "python3", &actions, nil, &argv, environ)
        precondition(result == 0, "python3 cannot be started: \(String(cString: strerror(result)))")
        close(toPeer[0])
        close(fromPeer[1])

        var line = [UInt8]()
        var byte: UInt8 = 0
        while read(fromPeer[0], &byte, 1) == 1, byte != 0x0a { line.append(byte) }
        let text = String(decoding: line, as: UTF8.self)
        precondition(text.hasPrefix("port "), "\(program) said \"\(text)\" in place of its port")
        port = Int(text.dropFirst(5))!
    }
}
