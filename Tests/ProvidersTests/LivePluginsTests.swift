import Glibc
import JSON
import Synchronization
import Testing

@testable import Calls
@testable import Providers

/// A host of one section.
private final class SmallHouse: ProviderHouse {
    let running = RunningProviders()
    let destroyed = Mutex<[String]>([])

    func sections(of plugin: LoadedPlugin, in registry: PluginRegistry) throws(PluginRefusal) -> [ProviderSection] {
        guard registry.plugin(named: "org.test.llm") === plugin else { return [] }
        let declaration = plugin.manifest.providers[0]
        do throws(ConfigurationError) {
            return [
                ProviderSection(
                    name: "llm.test", kind: .languageModel, plugin: plugin, declaration: declaration,
                    configuration: try declaration.configuration.apply(to: [:]), isolation: .inprocess)
            ]
        } catch {
            throw .didNotStart(plugin.path, "\(error)")
        }
    }

    func created(_ instance: ProviderInstance) throws(ProviderFailure) {}
    func publish(_ instances: [ProviderInstance]) { running.publish(instances) }
    func withdraw(_ instances: [ProviderInstance]) { running.withdraw(instances) }
    func willDestroy(_ instance: ProviderInstance) {
        destroyed.withLock { $0.append(instance.plugin.manifest.version) }
    }
    func bereaved(by names: [String]) -> [String] { names.map { "nobody has \($0)" } }
}

@Suite("Plugins of a running host") struct LivePluginsTests {
    private let workshop = Workshop()
    private let house = SmallHouse()
    private let log = LogList()

    private func live(_ limits: PluginGenerations.Limits = .init(), steps: PluginSteps = .init()) throws -> LivePlugins {
        let watch = DirectoryWatch(directory: workshop.plugins)
        #expect(watch.problem == nil)
        let loader = try workshop.loader(log: log)
        let registry = PluginRegistry(directory: workshop.plugins, loader: loader, log: log)
        let live = LivePlugins(
            registry: registry, watch: watch, instances: [], failures: [], loader: loader, house: house,
            steps: steps, quarantine: Quarantine(directory: workshop.root + "/state", hostVersion: "1", log: log),
            records: ConformanceRecords(directory: workshop.root + "/state"), limits: limits, log: log)
        live.start()
        return live
    }

    /// Builds a version that answers with its own number, outside of the plugin directory.
    private func build(_ version: String, onStart: String = "") throws -> String {
        try workshop.build(
            "next.so",
            Sources.languageModel(
                onRequest: "delta(s, r->request, r->epoch, \"\(version)\"); done(s, r->request, r->epoch, VC_LLM_STOP);",
                onStart: onStart),
            manifest: Workshop.manifest(id: "org.test.llm", kind: "vc.llm/1", changes: ["version": .string(version)]),
            link: ["-Wl,-rpath,/nowhere/\(version)"])
        rename(workshop.plugins + "/next.so", workshop.root + "/\(version).so")
        return workshop.root + "/\(version).so"
    }

    private func install(_ path: String, as name: String = "a.so") {
        run(["/bin/cp", path, workshop.plugins + "/." + name])
        rename(workshop.plugins + "/." + name, workshop.plugins + "/" + name)
    }

    /// Settling, trying out in a child and draining take seconds on a busy machine.
    private func wait(for what: String, _ condition: () -> Bool) throws {
        for _ in 0..<3_000 {
            if condition() { return }
            usleep(10_000)
        }
        throw Unexpected("\(what) did not come about; \(log.lines.suffix(5).map(\.message))")
    }

    private func waitForVersion(_ version: String?) throws {
        try wait(for: "version \(version ?? "none")") {
            house.running["llm.test"]?.plugin.manifest.version == version
        }
    }

    @Test("A file that drops in is used; after an upgrade an open session goes on, and then its provider is destroyed")
    func dropInAndUpgrade() throws {
        let live = try live()
        defer { live.stop() }
        let (one, two) = (try build("1.0.0"), try build("2.0.0"))
        install(one)
        try waitForVersion("1.0.0")
        let first = try #require(house.running["llm.test"])
        let caller = Caller()
        guard case .languageModel(let session) = try first.open(.languageModel, caller) else {
            throw Unexpected("another kind")
        }
        install(two)
        try waitForVersion("2.0.0")
        try wait(for: "draining") { first.state == .draining }
        // New sessions are of the new one, and the open one still answers.
        session.request(
            LanguageModelRequest(
                ticket: Ticket(epoch: 0, request: 1), messages: [Message(.caller, "hello")], speculative: false))
        try caller.wait("an answer") { caller in
            caller.events.first { if case .languageModel(_, .delta("1.0.0")) = $0 { true } else { false } }
        }
        #expect(live.rows().map(\.state) == ["running", "draining"] && live.rows().map(\.sessions) == [0, 1])
        session.close()
        try wait(for: "the end of the old one") { first.state == .destroyed }
        #expect(house.destroyed.withLock { $0 } == ["1.0.0"])
        install(one)
        try waitForVersion("1.0.0")
        #expect(house.running["llm.test"] !== first)
        #expect(live.rows()[0].generation == 3)
    }

    @Test("A version that does not start changes nothing, and a removal takes the plugin from new calls")
    func brokenAndRemoved() throws {
        let live = try live()
        defer { live.stop() }
        install(try build("1.0.0"))
        try waitForVersion("1.0.0")
        install(try build("2.0.0", onStart: "(void)s; return VC_E_NETWORK;"))
        try wait(for: "the refusal") { live.rows().contains { $0.state == "refused" } }
        try waitForVersion("1.0.0")
        let line = try #require(log.lines.first { $0.message.contains("refused") })
        #expect(line.message.contains("a.so does not start") && line.message.contains("version 1.0.0 goes on"))
        unlink(workshop.plugins + "/a.so")
        try waitForVersion(nil)
        try wait(for: "its end") { live.rows().isEmpty }
        #expect(log.lines.contains { $0.message == "nobody has llm.test" })
    }

    @Test("A version that fails its proof is not loaded")
    func notProven() throws {
        let proofs = Mutex<[String]>([])
        let live = try live(
            steps: PluginSteps(prove: { plugin in
                proofs.withLock { $0.append("\(plugin.manifest.version) \(access(plugin.copy, R_OK))") }
                return PluginRefusal(.notProven, "it fails tts-emit-after-close", mend: "Tell its author")
            }))
        defer { live.stop() }
        install(try build("1.0.0"))
        try wait(for: "the refusal") { live.rows().contains { $0.state == "refused" } }
        #expect(house.running["llm.test"] == nil && live.instances.isEmpty)
        #expect(proofs.withLock { $0 } == ["1.0.0 0"])
    }

    @Test("A file that is written in two halves is used when it is whole, without a word about the first")
    func halfWritten() throws {
        let live = try live()
        defer { live.stop() }
        let bytes = try #require(readWholeFile(try build("1.0.0")))
        let descriptor = open(workshop.plugins + "/a.so", O_WRONLY | O_CREAT, 0o755)
        #expect(write(descriptor, bytes, bytes.count / 2) == bytes.count / 2)
        usleep(700_000)
        #expect(live.rows().isEmpty)
        _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + bytes.count / 2, bytes.count - bytes.count / 2) }
        close(descriptor)
        try waitForVersion("1.0.0")
        #expect(!log.lines.contains { $0.message.contains("refused") })
    }

    @Test("The third crash takes the plugin from new calls, and after a pardon it is back")
    func quarantined() throws {
        let live = try live()
        defer { live.stop() }
        install(try build("1.0.0"))
        try waitForVersion("1.0.0")
        let sha256 = try #require(house.running["llm.test"]).plugin.sha256
        func crash() -> Quarantine.Verdict {
            live.crashed(
                CrashReport(
                    sha256: sha256, plugin: "org.test.llm", version: "1.0.0", provider: "llm.test", signal: "SIGSEGV",
                    breadcrumb: "request"))
        }
        #expect(crash() == .restart(crashes: 1))
        try wait(for: "the line") {
            live.rows()[0].lastEvent == "llm.test 1.0.0 crashed (SIGSEGV in request), is started again, 0 sessions failed over"
        }
        #expect(crash() == .restart(crashes: 2))
        _ = crash()
        try waitForVersion(nil)
        try wait(for: "the quarantine") { live.rows().map(\.state) == ["quarantined"] }
        // The same bytes under the same name are refused without being opened.
        install(workshop.root + "/1.0.0.so")
        usleep(600_000)
        #expect(live.rows().map(\.state) == ["quarantined"])
        #expect(live.pardon("org.test.llm") == [sha256])
        try waitForVersion("1.0.0")
    }

    @Test("A reload answers with what changed, and with nothing when nothing did")
    func reload() throws {
        let live = try live()
        defer { live.stop() }
        install(try build("1.0.0"))
        func reload() throws -> [String] {
            let lines = Mutex<[String]?>(nil)
            live.reload { answer in lines.withLock { $0 = answer } }
            try wait(for: "an answer") { lines.withLock { $0 != nil } }
            return lines.withLock { $0 ?? [] }
        }
        #expect(try reload() == ["org.test.llm: version 1.0.0 is used for new calls, generation 1"])
        #expect(try reload().isEmpty)
    }

    @Test("Time within a plugin is found by sampling: a plugin that is busy for 100 ms is booked with about that")
    func account() {
        let account = CallAccount()
        let watch = SlowCalls(
            faults: PluginFaults(plugin: "a", provider: "b", log: log), account: account, limitMs: 1_000)
        for _ in 0..<10 {
            watch.watch("busy", call: "") { begin in
                while hostClockNs() < begin + 10_000_000 {}
            }
        }
        #expect(account.calls == 10)
        // A tick is at most 10 ms, so each call is off by one at most.
        #expect(account.callbackMs >= 50 && account.callbackMs <= 2_000)
    }
}
