// One report with everything that a report can hold, from which all formats are written.

@testable import Conformance

extension RunReport {
    static var sample: RunReport {
        func rule(_ id: String, _ sentence: String, _ weight: Rule.Weight = .must) -> Rule {
            Rule(id, .basic, weight, sentence, because: "", needs: [], check: .probe { _ in })
        }
        func result(
            _ rule: Rule, _ status: Status, provider: String = "org.acme.tts", _ change: (inout RuleResult) -> Void = { _ in }
        ) -> RuleResult {
            var result = RuleResult(rule, provider: provider, status: status)
            result.cpuMs = 3.25
            result.wallMs = 12.04
            change(&result)
            return result
        }
        var settings = RunSettings()
        settings.seed = 0x7f3a_0000_1234_5678
        var report = Report(
            .sample(), settings: settings,
            results: [
                result(rule("VC-PKG-01", "The manifest is UTF-8 JSON # without duplicates."), .pass, provider: ""),
                result(rule("VC-TTS-02", "Each request has exactly one DONE."), .pass) {
                    $0.notes = [RuleResult.Note("p99", "1.2 ms")]
                },
                result(rule("VC-STT-04", "FINALIZED carries the request's id."), .fail) {
                    $0.violation = Violation(
                        "finalize(request 42)", expected: "FINALIZED carrying 42 within 300 ms", got: "43 after 12 ms", place: "finalize")
                    $0.place = "finalize"
                },
                result(rule("VC-MEM-02", "A frame is not read beyond its end."), .crash) {
                    $0.why = "SIGSEGV at push frame=17: reads beyond the frame"
                    $0.place = "push frame=17"
                    $0.details = "thread 4711, address 0x7f00"
                    $0.output = "first\n\u{1b}[31m<boom> & \"bust\"\u{1b}[0m\n"
                    $0.strays = ["sleep 600"]
                },
                result(rule("VC-LIFE-05", "CLOSED comes within a second."), .hang) { $0.why = "it did not come back at close" },
                result(rule("VC-ENVI-08", "It does not exit."), .noVerdict) {
                    $0.why = "the process ended with status 0 at create"
                },
                result(rule("VC-ENVI-02", "It prints nothing on standard error.", .should), .warn) {
                    $0.violation = Violation("a whole life", expected: "nothing on standard error", got: "\"warning: ünïcode\"")
                },
                result(rule("VC-TTS-13", "Marks ascend."), .skip) { $0.why = "the provider has no marks" },
                result(rule("VC-TTS-23", "Silence before speech is short."), .waived) {
                    $0.violation = Violation("speak", expected: "at most 300 ms", got: "420 ms")
                    $0.why = "issue #12"
                },
            ])
        report.wallMs = 12_400
        report.needless = ["VC-LIFE-01"]
        report.unsteady = ["VC-THR-03"]
        var good = Report(.sample(id: "org.acme.vad", kinds: ["vc.vad/1"]), settings: settings, results: [])
        good.results = [result(rule("VC-VAD-01", "Silence is no speech."), .pass, provider: "org.acme.vad")]
        good.wallMs = 900
        let text = Subject(
            path: "/plugins/text.so", name: "text.so", sha256: String(repeating: "0", count: 64), bytes: [], manifest: nil,
            manifestText: "", manifestProblem: "it is no plugin: it has no ELF header")
        return RunReport([report, good, Report(text, settings: settings, results: [])])
    }
}
