import Glibc
import JSON
import Testing

@testable import Providers

@Suite("Quarantine") struct QuarantineTests {
    let workshop = Workshop()
    private var state: String { workshop.root + "/state" }

    private func quarantine(_ hostVersion: String = "1.0", log: LogList = LogList()) -> Quarantine {
        Quarantine(directory: state, hostVersion: hostVersion, log: log)
    }

    private func crash(_ sha256: String = "aaaaaaaabbbb", at seconds: Int64) -> CrashReport {
        CrashReport(
            sha256: sha256, plugin: "org.test.a", version: "1.0", signal: "SIGSEGV", breadcrumb: "speak",
            backtrace: "#0 speak", sessions: 2, atMs: seconds * 1_000)
    }

    @Test("Three crashes within ten minutes are too many, three in a longer time are not")
    func rule() {
        var rule = CrashRule()
        let verdicts = [0, 300_000, 600_000, 800_000, 800_001].map { rule.crashed(at: $0) }
        #expect(verdicts == [false, false, false, true, false])
        #expect(rule.isQuarantined)
    }

    @Test("It is by hash, survives a restart with what is known of the crash, and a pardon ends it")
    func survives() throws {
        let first = quarantine()
        #expect(first.record(crash(at: 1)) == .restart(crashes: 1))
        #expect(first.record(crash("other", at: 1)) == .restart(crashes: 1))
        #expect(first.record(crash(at: 2)) == .restart(crashes: 2))
        guard case .quarantined(let refusal) = first.record(crash(at: 3)) else { throw Unexpected("not quarantined") }
        #expect(refusal.reason.contains("3 crashes within 10 minutes; at 1970-01-01T00:00:03Z it crashed (SIGSEGV in speak)"))
        first.flush()

        let second = quarantine()
        #expect(second.refusal(of: "aaaaaaaabbbb", file: "a.so")?.code == .quarantined)
        #expect(second.refusal(of: "other", file: "b.so") == nil)
        #expect(second.lastCrash(of: "aaaaaaaabbbb")?.backtrace == "#0 speak")
        var status = stat()
        #expect(stat(state + "/quarantine.json", &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(second.pardon("aaaaaaaa") == ["aaaaaaaabbbb"])
        #expect(second.pardon("nothing").isEmpty)
        second.flush()
        #expect(quarantine().refusal(of: "aaaaaaaabbbb", file: "a.so") == nil)
    }

    @Test("Another version of the host gives everybody another chance")
    func otherHost() {
        let first = quarantine()
        for second in 1...3 { _ = first.record(crash(at: Int64(second))) }
        first.flush()
        #expect(quarantine("1.1").refusal(of: "aaaaaaaabbbb", file: "a.so") == nil)
        #expect(quarantine("1.0").refusal(of: "aaaaaaaabbbb", file: "a.so") != nil)
    }

    @Test("A corrupt store is set aside with a line, and nothing else happens", arguments: ["{", "[]", "{\"version\":9}"])
    func corrupt(text: String) throws {
        mkdir(state, 0o700)
        workshop.write(text, to: state + "/quarantine.json")
        let log = LogList()
        let store = quarantine(log: log)
        #expect(log.lines.count == 1 && log.lines[0].message.contains("was set aside as"))
        #expect(directoryEntries(state)?.count == 1)
        _ = store.record(crash(at: 1))
        store.flush()
        #expect(log.lines.count == 1)
        #expect(quarantine().crashes(of: "aaaaaaaabbbb") == 1)
    }

    @Test("A state directory that cannot be made costs a line, and the rule works for this run")
    func unwritable() {
        let log = LogList()
        let store = Quarantine(directory: "/proc/nowhere", hostVersion: "1", log: log)
        for second in 1...3 { _ = store.record(crash(at: Int64(second))) }
        store.flush()
        #expect(store.refusal(of: "aaaaaaaabbbb", file: "a.so") != nil)
        #expect(log.lines.contains { $0.message.contains("cannot be written") })
    }

    @Test("The store is bounded: the plugin whose crash is longest ago is forgotten, and a long backtrace is cut")
    func bounded() {
        let store = quarantine()
        for number in 0..<100 {
            var report = crash("sha-\(number)", at: Int64(number))
            report.backtrace = String(repeating: "x", count: 100_000)
            _ = store.record(report)
        }
        #expect(store.crashes(of: "sha-0") == 0 && store.crashes(of: "sha-99") == 1)
        #expect(store.lastCrash(of: "sha-99")?.backtrace.utf8.count == Quarantine.backtraceBytesMax)
        store.flush()
        #expect(quarantine().crashes(of: "sha-99") == 1)
    }

    @Test("A quarantined file is not opened: its constructor does not run")
    func notOpened() throws {
        let witness = workshop.root + "/opened"
        try workshop.build(
            "a.so",
            Sources.least(
                id: "org.test.a", kind: "vc.tts/1",
                more: "#include <stdio.h>\n__attribute__((constructor)) static void born(void) { "
                    + "fclose(fopen(\"\(witness)\", \"w\")); }"),
            manifest: Workshop.manifest(id: "org.test.a", kind: "vc.tts/1"))
        let sha256 = SHA256.hex(try #require(readWholeFile(workshop.plugins + "/a.so")))
        let store = quarantine()
        for second in 1...3 { _ = store.record(crash(sha256, at: Int64(second))) }
        let loader = try PluginLoader(
            cacheDirectory: workshop.cache, probe: .forTests, quarantine: store, log: LogList())
        let registry = PluginRegistry(directory: workshop.plugins, loader: loader, log: LogList())
        guard case .refused(let refusal) = registry.entries[0].state else { throw Unexpected("loaded") }
        #expect(refusal.code == .quarantined && access(witness, F_OK) != 0)
    }

    @Test("A conformance result belongs to the bytes that were tested, and the list shows it")
    func conformance() throws {
        let records = ConformanceRecords(directory: state)
        let record = ConformanceRecord(level: "real-time", date: "2026-01-31T12:00:00Z", hostVersion: "1", seed: "7")
        #expect(records.write(record, for: "aaaa") == nil)
        #expect(records["aaaa"] == record && records["bbbb"] == nil)
        for number in 0..<300 {
            var other = record
            other.date = "2026-02-\(100 + number)"
            #expect(records.write(other, for: "sha-\(number)") == nil)
        }
        #expect(records.all().count == ConformanceRecords.recordsMax && records["aaaa"] == nil)
    }
}
