import Glibc
import Testing

@Test("The headers compile as every C and C++ that an author may use, and every slot names its thread")
func headersCompile() throws {
    var root = #filePath[...]
    for _ in 0..<3 { root = root[..<root.lastIndex(of: "/")!] }
    let script = String(root + "/scripts/abi-check")
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(script), nil]
    defer { arguments.forEach { free($0) } }
    var child: pid_t = 0
    try #require(posix_spawn(&child, script, nil, nil, &arguments, environ) == 0)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    #expect(status == 0, "run scripts/abi-check to see what failed")
}
