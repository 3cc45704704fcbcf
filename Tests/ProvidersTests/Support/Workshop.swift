// A directory in which a test builds plugins as an author would: with a C compiler and the headers, nothing else.

import Glibc
import JSON
import Testing

@testable import Providers

final class Workshop {
    /// Removed when the test is over.
    let root: String
    /// Where the plugins go: mode 0755.
    let plugins: String
    let cache: String

    static let repository: String = {
        var path = #filePath[...]
        for _ in 0..<4 { path = path[..<path.lastIndex(of: "/")!] }
        return String(path)
    }()
    static var headers: String { repository + "/Sources/PluginABI/include" }

    init() {
        var template = Array("/var/tmp/vchost-test-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "cannot make a directory in /var/tmp")
        root = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        plugins = root + "/plugins.d"
        cache = root + "/cache"
        mkdir(plugins, 0o755)
    }

    deinit { run(["/bin/rm", "-rf", root]) }

    func write(_ text: String, to path: String) { write(Array(text.utf8), to: path) }

    func write(_ bytes: [UInt8], to path: String) {
        unlink(path)
        precondition(writeWhole(bytes, to: path, mode: 0o644) == 0, "cannot write \(path)")
    }

    /// Compiles `source` to `plugins.d/NAME`, with the manifest inside unless it is nil.
    @discardableResult
    func build(
        _ name: String, _ source: String, manifest: JSONValue?, flags: [String] = [], link: [String] = []
    ) throws -> String {
        let path = root + "/" + name + ".c"
        let embedded = manifest.map { "VC_MANIFEST(\(JSONValue.string($0.text).text));\n" } ?? ""
        write("#include \"vchost/vchost.h\"\n" + embedded + source, to: path)
        let out = plugins + "/" + name
        let status = run(
            [
                "/usr/bin/cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC",
                "-fvisibility=hidden",
            ]
                + ["-I", Self.headers, path, "-o", out] + flags + link)
        try #require(status == 0, "cc failed for \(name)")
        chmod(out, 0o755)
        return out
    }

    func loader(log: any ProviderLog = LogList(), probe: PluginProbe = .forTests) throws -> PluginLoader {
        try PluginLoader(cacheDirectory: cache, probe: probe, log: log)
    }

    func registry(log: any ProviderLog = LogList(), probe: PluginProbe = .forTests) throws -> PluginRegistry {
        PluginRegistry(directory: plugins, loader: try loader(log: log, probe: probe), log: log)
    }

    /// Builds one plugin and loads it.
    func load(_ name: String, _ source: String, manifest: JSONValue, flags: [String] = []) throws -> LoadedPlugin {
        try build(name, source, manifest: manifest, flags: flags)
        let registry = try registry()
        guard let plugin = registry.plugin(named: name) else {
            throw Unexpected("\(name) was not loaded: \(registry.entries.map { "\($0.state)" })")
        }
        return plugin
    }

    static func manifest(
        id: String, kind: String, capabilities: JSONValue = [:], config: JSONValue? = nil,
        changes: [String: JSONValue] = [:]
    ) -> JSONValue {
        var provider: [String: JSONValue] = ["kind": .string(kind), "id": .string(id), "capabilities": capabilities]
        if let config { provider["config"] = config }
        var members: [String: JSONValue] = [
            "manifest": 1, "id": .string(id), "version": "1.0.0", "title": "A test", "license": "Apache-2.0",
            "abi": ["major": 1, "minor": 0, "hostMinorMin": 0], "runtime": ["language": "c"],
            "providers": [.object(provider)],
        ]
        members.merge(changes) { $1 }
        return .object(members)
    }
}

struct Unexpected: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Runs a program to its end and gives its exit code.
@discardableResult
func run(_ command: [String]) -> Int32 {
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    var child: pid_t = 0
    guard posix_spawn(&child, command[0], nil, nil, &arguments, environ) == 0 else { return -1 }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f)
}

extension PluginProbe {
    /// The test runner itself, told by the environment to be the child (`probeChild` in ProbeTests.swift).
    static let forTests = PluginProbe(
        command: ["/proc/self/exe", "--testing-library", "swift-testing", "--filter", "probeChild", "--"],
        environment: ["VCHOST_TEST_PROBE": "1"], deadlineMs: 20_000)
}
