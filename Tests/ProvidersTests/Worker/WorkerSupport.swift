// Real plugins in real workers: the program is the built `vchost`, which lies beside the tests.

import Glibc
import JSON
import Synchronization
import Testing

@testable import Calls
@testable import Providers

enum Built {
    /// Where the build put its products.
    static let directory: String = {
        var path = [CChar](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        let program = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let beside = String(program[..<(program.lastIndex(of: "/") ?? program.startIndex)])
        if access(beside + "/vchost", X_OK) == 0 { return beside }
        return Workshop.repository + "/.build/debug"
    }()

    static var host: String { directory + "/vchost" }
}

extension WorkerOptions {
    /// As in production, but for patience: the machine may be busy with other tests.
    static var forTests: WorkerOptions {
        var options = WorkerOptions()
        options.command = [Built.host, "__worker"]
        options.handshakeMs = 20_000
        options.createMs = 10_000
        options.openMs = 5_000
        return options
    }
}

extension Workshop {
    /// One of the plugins that the build made, dropped in by a stranger.
    func foreign(_ product: String) throws -> LoadedPlugin {
        let manifest = try #require(readSmallFile(Self.repository + "/Plugins/\(product)/manifest.json"))
        let path = plugins + "/\(product).so"
        let library = try #require(readWholeFile(Built.directory + "/lib\(product).so"))
        let isPacked = try ELFFile(library).manifestText() != nil
        let bytes = isPacked ? library : try ELFFile(library).packed(manifest: manifest)
        write(bytes, to: path)
        chmod(path, 0o755)
        let registry = try registry()
        guard let plugin = registry.plugin(named: product) else {
            throw Unexpected("\(product) was not loaded: \(registry.entries.map { "\($0.state)" })")
        }
        return plugin
    }
}

extension LoadedPlugin {
    /// Its only provider, running in a worker.
    func working(
        _ name: String, settings: [String: String] = [:], options: WorkerOptions = .forTests,
        log: any ProviderLog = LogList()
    ) throws -> ProviderInstance {
        let declaration = manifest.providers[0]
        let instance = ProviderInstance(
            plugin: self, declaration: declaration, name: name,
            configuration: try declaration.configuration.apply(to: settings), isolation: .worker,
            workerOptions: options, log: log)
        try instance.create()
        try instance.start()
        try instance.waitUntilReady()
        return instance
    }
}

/// Waits longer than `waitUntil` does: processes start and end.
func waitForProcess(_ what: String, _ condition: () throws -> Bool) throws {
    for _ in 0..<2_000 {
        if try condition() { return }
        usleep(10_000)
    }
    throw Unexpected("\(what) did not come about")
}

func isRunning(_ process: Int) -> Bool {
    // A zombie has ended.
    guard process > 0, let stat = readSmallFile("/proc/\(process)/stat") else { return false }
    return !String(decoding: stat, as: UTF8.self).contains(") Z ")
}
