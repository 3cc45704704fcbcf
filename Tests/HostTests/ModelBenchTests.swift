import Calls
import JSON
import Providers
import Testing

@testable import Host

@Suite("The results of `vchost models bench`")
struct ModelBenchTests {
    private func result(_ name: String, firstMs: [Double], failures: [String] = []) -> ModelResult {
        var result = ModelResult(name: name, plugin: "org.vchost.llm-test", model: "m")
        for ms in firstMs {
            var answer = TimedAnswer(askedNs: 1_000_000_000)
            answer.firstNs = answer.askedNs + UInt64(ms * 1_000_000)
            // Nine pieces, eight of them within 160 ms after the first.
            answer.pieces = 9
            answer.lastNs = answer.firstNs! + 160_000_000
            answer.endNs = answer.askedNs + 5_000_000_000
            result.add(answer)
        }
        failures.forEach { result.fail($0) }
        return result
    }

    @Test("Quantiles are values that were measured: nearest rank")
    func quantiles() {
        let values: [Double] = [5, 1, 4, 2, 3, 100, 6, 7, 8, 9]
        #expect(ModelResult.quantile(0.5, of: values) == 5)
        #expect(ModelResult.quantile(0.95, of: values) == 100)
        #expect(ModelResult.quantile(0.5, of: [3]) == 3)
        #expect(ModelResult.quantile(0.5, of: []) == nil)
    }

    @Test("The quickest comes first, who did not answer last; the target is held against the median")
    func order() {
        let table = ModelTable(
            [
                result("llm.slow", firstMs: [401, 401, 1]), result("llm.gone", firstMs: [], failures: ["no", "no"]),
                result("llm.quick", firstMs: [400, 100, 4000]),
            ], targetMs: 400, prompts: 3, runs: 1)
        #expect(
            table.text == """
                MODEL      FIRST TOKEN     95 %  TOKENS/S   ANSWER  TOKENS  FAILED  400 MS
                llm.quick       400 ms  4000 ms     ~50.0  5000 ms      ~9       0     yes
                llm.slow        401 ms   401 ms     ~50.0  5000 ms      ~9       0      no
                llm.gone             -        -         -        -       -  2 of 2       -
                ~ the provider counts no tokens: pieces of text were counted
                llm.gone: no

                """)
        let models = table.json["models"]?.array ?? []
        #expect(models.map { $0["name"]?.string } == ["llm.quick", "llm.slow", "llm.gone"])
        #expect(models.map { $0["meetsTarget"]?.bool } == [true, false, false])
        #expect(models[2]["firstTokenMs"]?["median"] == .null && models[2]["error"] == "no")
    }

    @Test("Tokens are taken from the provider where it counts them; an answer without words has failed")
    func counts() {
        var result = ModelResult(name: "llm.a", plugin: "p", model: "m")
        var answer = TimedAnswer(askedNs: 0)
        answer.firstNs = 100_000_000
        answer.lastNs = 1_100_000_000
        answer.endNs = 1_200_000_000
        answer.pieces = 4
        answer.outputTokens = 21
        result.add(answer)
        #expect(result.countsTokens && result.tokensPerSecond == [20] && result.outputTokens == 21)
        result.add(TimedAnswer(askedNs: 0))
        var declined = TimedAnswer(askedNs: 0)
        declined.end = .declined
        result.add(declined)
        var failed = answer
        failed.end = .failed(ProviderFailure(code: .network, retryable: true, message: "gone"))
        result.add(failed)
        #expect(result.answers == 1 && result.failures.count == 3 && result.failures.last == "gone")
    }

    @Test("No question is asked twice, and all of them begin alike")
    func repetition() {
        let prompts = BenchPrompts(language: "tr")
        var asked: Set<String> = [prompts.conversations[0].text]
        for run in 0..<8 {
            for index in prompts.conversations.indices {
                let conversation = prompts.conversation(index, run: run)
                #expect(asked.insert(conversation.text).inserted)
                #expect(conversation.array?.dropLast() == prompts.conversations[index].array?.dropLast())
            }
        }
    }

    @Test("The built-in prompts end with the caller, in both languages")
    func prompts() throws {
        for language in ["en", "tr-TR"] {
            for conversation in BenchPrompts(language: language).conversations {
                #expect(conversation.array?.first?["role"] == "system" && conversation.array?.last?["role"] == "user")
            }
        }
        #expect(BenchPrompts(language: "tr").conversations[1].text.contains("ücreti"))
        #expect(throws: (any Error).self) { try BenchPrompts(contentsOf: "/nonexistent.json", language: "en") }
    }
}
