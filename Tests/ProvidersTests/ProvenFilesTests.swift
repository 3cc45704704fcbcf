import Testing

@testable import Providers

@Suite("Files that passed their proof") struct ProvenFilesTests {
    private let workshop = Workshop()

    private func files(_ hostVersion: String = "1.0") -> ProvenFiles {
        ProvenFiles(directory: workshop.root + "/state", hostVersion: hostVersion)
    }

    @Test("They are known again by their bytes, their settings and the host that tried them")
    func known() {
        #expect(!files().contains("aa", settings: "{}"))
        files().add("aa", settings: "{}")
        #expect(files().contains("aa", settings: "{}"))
        #expect(!files().contains("bb", settings: "{}"))
        #expect(!files().contains("aa", settings: "{\"word_ms\":60}"))
        #expect(!files("1.1").contains("aa", settings: "{}"))
    }

    @Test("Without a state directory nothing is known")
    func nowhere() {
        let files = ProvenFiles(directory: nil, hostVersion: "1.0")
        files.add("aa", settings: "{}")
        #expect(!files.contains("aa", settings: "{}"))
    }
}

@Suite("The line of a crash") struct CrashSummaryTests {
    @Test(
        "It says what ended the worker, and where",
        arguments: [
            ("SIGSEGV", "speak", "", "crashed (SIGSEGV in speak)"),
            ("SIGABRT", "between calls", "it had 9 MiB", "crashed (SIGABRT between calls; it had 9 MiB)"),
            ("exit(0)", "speak", "", "ended itself (exit(0) in speak)"),
            ("SIGKILL", "between calls", "", "was killed (SIGKILL between calls)"),
            (
                "hung", "speak, session of call c-1", "it hung: speak did not return within 900 ms",
                "hung (speak did not return within 900 ms; in speak, session of call c-1)"
            ),
            ("killed", "push", "it sent nonsense", "was killed (it sent nonsense; in push)"),
        ])
    func summary(_ signal: String, _ place: String, _ reason: String, _ expected: String) {
        let crash = CrashReport(
            sha256: "aa", plugin: "a", version: "1", signal: signal, breadcrumb: place, reason: reason)
        #expect(crash.summary == expected)
    }
}
