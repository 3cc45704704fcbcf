import Control
import Providers
import Testing

@testable import Host

@Suite("What a proof's report means for a file")
struct SmokeProofTests {
    private func judged(_ report: String, status: Int32) -> PluginRefusal? {
        SmokeProof.refusal(
            Array(report.utf8), status: status, file: "acme.so", path: "plugins.d/acme.so", version: "2.0.0")
    }

    @Test("A broken MUST is named with its sentence and what was found; warnings are not")
    func broken() throws {
        let results = """
            {"rule":"VC-A-01","weight":"must","status":"pass","sentence":"A."},
            {"rule":"VC-B-01","weight":"should","status":"warn","sentence":"B."},
            {"rule":"VC-C-01","weight":"must","status":"crash","sentence":"It closes.","message":"crash: SIGSEGV at close"},
            {"rule":"VC-D-01","weight":"must","status":"fail","sentence":"D."}
            """
        let refusal = try #require(judged("{\"plugins\":[{\"results\":[\(results)]}]}", status: 4))
        #expect(refusal.code == .notProven)
        #expect(
            refusal.reason == "acme.so 2.0.0 breaks VC-C-01 (\"It closes.\"): crash: SIGSEGV at close, and 1 more")
        #expect(refusal.mend.hasSuffix("vchost conform run plugins.d/acme.so --smoke"))
    }

    @Test("All kept, all skipped, and nothing to judge let a file pass", arguments: [0, 77, 6] as [Int32])
    func passed(_ status: Int32) { #expect(judged("", status: status) == nil) }

    @Test("A runner that fails proves nothing, so the file is not used", arguments: [5, 137] as [Int32])
    func unproven(_ status: Int32) throws {
        #expect(try #require(judged("", status: status)).reason.contains("could not be proven"))
    }
}
