// Runs `CConformanceChild`, which is built beside these tests, with a breadcrumb page, and reads what it left.

import CConformance
import Glibc
import Testing

struct Child {
    let status: Int32
    let output: String
    let crumb: vcc_crumb

    var signal: Int32 { status & 0x7f }
    var exitCode: Int32 { status >> 8 & 0xff }
    var lines: [String] { output.split(separator: "\n").map(String.init) }

    var sentence: String { text { vcc_crumb_sentence($0, $1, $2) } }
    var details: String { text { vcc_crumb_details($0, $1, $2) } }

    private func text(_ write: (UnsafePointer<vcc_crumb>, UnsafeMutablePointer<CChar>, Int) -> Int) -> String {
        withUnsafePointer(to: crumb) { crumb in
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
                _ = write(crumb, buffer.baseAddress!, 512)
                return String(cString: buffer.baseAddress!)
            }
        }
    }

    static let program: String = {
        var path = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &path, 4095)
        let own = String(decoding: path[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return own[..<own.lastIndex(of: "/")!] + "/CConformanceChild"
    }()

    static func run(_ arguments: String...) throws -> Child {
        let page = vcc_page_create()
        try #require(page >= 0, "no page: errno \(-page)")
        defer { close(page) }
        var pipes: [Int32] = [0, 0]
        let sort = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        try #require(socketpair(AF_UNIX, sort, 0, &pipes) == 0)
        defer { close(pipes[0]) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[1], 1)
        posix_spawn_file_actions_adddup2(&actions, page, 3)
        let words = ([program, "3"] + arguments).map { (word: String) in strdup(word) }
        defer { words.forEach { free($0) } }
        let environment = ["PATH=/usr/bin:/bin", "HOME=/tmp"].map { (entry: String) in strdup(entry) }
        defer { environment.forEach { free($0) } }
        var id: pid_t = 0
        // Threads of a test run block signals, and a child inherits that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let failure = posix_spawn(&id, program, &actions, &attributes, words + [nil], environment + [nil])
        close(pipes[1])
        try #require(failure == 0, "cannot start \(program): errno \(failure)")

        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(pipes[0], &block, block.count)
            if count <= 0 { break }
            bytes += block[..<count]
        }
        var status: Int32 = 0
        waitpid(id, &status, 0)
        var crumb = vcc_crumb()
        try #require(vcc_page_read(page, &crumb))
        return Child(status: status, output: String(decoding: bytes, as: UTF8.self), crumb: crumb)
    }
}
