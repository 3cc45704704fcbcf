import Testing

@testable import Host

@Suite("The caller of `vchost call` speaks when a person would")
struct CallerScriptTests {
    private let ms: UInt64 = 1_000_000

    @Test("It waits until the agent has spoken and is quiet")
    func afterAgentQuiet() {
        var script = CallerScript([CallerTurn(file: "a", rule: .afterAgentQuiet(ms: 800), timeoutMs: 15_000)])
        script.answered(at: 0)
        #expect(script.poll(at: 5_000 * ms) == nil)
        script.agent(speaks: true, at: 5_000 * ms)
        #expect(script.poll(at: 8_000 * ms) == nil)
        script.agent(speaks: false, at: 8_000 * ms)
        #expect(script.poll(at: 8_799 * ms) == nil)
        #expect(script.poll(at: 8_800 * ms) == .say(0))
        #expect(script.poll(at: 9_000 * ms) == nil)
    }

    @Test("It interrupts an agent that has been speaking for so long")
    func intoAgent() {
        var script = CallerScript([CallerTurn(file: "a", rule: .intoAgent(ms: 1_500), timeoutMs: 15_000)])
        script.answered(at: 0)
        script.agent(speaks: true, at: 1_000 * ms)
        #expect(script.poll(at: 2_400 * ms) == nil)
        #expect(script.poll(at: 2_500 * ms) == .say(0))
    }

    @Test("A pause within the agent's answer is not its end")
    func pause() {
        var script = CallerScript([CallerTurn(file: "a", rule: .afterAgentQuiet(ms: 800), timeoutMs: 15_000)])
        script.answered(at: 0)
        script.agent(speaks: true, at: 0)
        script.agent(speaks: false, at: 1_000 * ms)
        script.agent(speaks: true, at: 1_500 * ms)
        #expect(script.poll(at: 1_900 * ms) == nil)
        script.agent(speaks: false, at: 2_000 * ms)
        #expect(script.poll(at: 2_800 * ms) == .say(0))
    }

    @Test("With an agent that never speaks it goes on after the limit, and hangs up in the end")
    func silentAgent() {
        var script = CallerScript([CallerTurn(file: "a", rule: .afterAgentQuiet(ms: 800), timeoutMs: 3_000)])
        script.answered(at: 0)
        #expect(script.poll(at: 3_000 * ms) == .say(0))
        script.finishedSpeaking(at: 4_000 * ms)
        #expect(script.poll(at: 11_999 * ms) == nil)
        #expect(script.poll(at: 12_000 * ms) == .hangUp)
    }

    @Test("What the agent said before the caller spoke is no answer to it")
    func staleAnswer() {
        var script = CallerScript([
            CallerTurn(file: "a", rule: .afterAgentQuiet(ms: 800), timeoutMs: 15_000),
            CallerTurn(file: "b", rule: .afterAgentQuiet(ms: 800), timeoutMs: 15_000),
        ])
        script.answered(at: 0)
        script.agent(speaks: true, at: 0)
        script.agent(speaks: false, at: 1_000 * ms)
        #expect(script.poll(at: 1_800 * ms) == .say(0))
        script.finishedSpeaking(at: 3_000 * ms)
        #expect(script.poll(at: 6_000 * ms) == nil)
    }
}

@Suite("Calls are admitted up to the limit")
struct AdmissionTests {
    @Test("A full host declines with 503 and says when to come back, and takes calls again when one has ended")
    func full() {
        var admission = Admission(callsMax: 2, retryAfterS: 7)
        #expect(admission.arrived(hasProfile: true) == .admit)
        #expect(admission.arrived(hasProfile: true) == .admit)
        #expect(admission.arrived(hasProfile: true) == .decline(code: 503, retryAfterS: 7))
        admission.ended()
        #expect(admission.arrived(hasProfile: true) == .admit)
        #expect(admission.declined == 1)
    }

    @Test("A number that nobody answers is not found, whether the host is full or not")
    func noProfile() {
        var admission = Admission(callsMax: 0, retryAfterS: 7)
        #expect(admission.arrived(hasProfile: false) == .decline(code: 404, retryAfterS: 0))
    }

    @Test("A host that drains takes nothing new")
    func draining() {
        var admission = Admission(callsMax: 2, retryAfterS: 7)
        admission.isDraining = true
        #expect(admission.arrived(hasProfile: true) == .decline(code: 503, retryAfterS: 7))
    }
}

@Suite("The command line")
struct ArgumentsTests {
    private static let options = [Option("--config", "FILE", ""), Option("--json", "")]

    @Test("Values stand behind an option or an equals sign, and the last one counts")
    func values() throws {
        let arguments = try Arguments(
            ["show", "--config", "a", "--config=b", "--json", "--", "--x"], options: Self.options)
        #expect(arguments["--config"] == "b")
        #expect(arguments.has("--json"))
        #expect(arguments.positional == ["show", "--x"])
    }

    @Test("What was not declared is refused with a hint", arguments: [
        (["--confg", "a"], "did you mean --config?"), (["--json=1"], "takes no value"), (["--config"], "wants FILE"),
    ])
    func mistakes(words: [String], message: String) {
        let error = #expect(throws: UsageError.self) { try Arguments(words, options: Self.options) }
        #expect(error?.message.contains(message) == true)
    }
}
