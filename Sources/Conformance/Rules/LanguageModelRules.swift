// LLM: language models. Here the form of an answer; how a vendor's answer becomes one stands in
// `LanguageModelRules+Vendor.swift`.
//
// No rule knows what the right answer is: a vendor's script says it, in the plugin author's words. So rules compare:
// two answers to one question, an answer with the capabilities in the manifest, what was asked with what reached the
// vendor.

import JSON
import PluginABI
import Providers

let languageModelRules: [Rule] = [
    model(
        "VC-LLM-01", .basic, smoke: true, "A question is answered by words, and by LLM_DONE with its reason.",
        because: "Without words the caller hears silence; by the reason the host knows whether more is to come.",
        passing: "emit(DELTA);  emit(LLM_DONE of VC_LLM_STOP);",
        failing: "emit(LLM_DONE);        // and its `reason` is 0",
        needs: ["VC-LIFE-02"]
    ) { session, _ in
        let answer = session.inquire()
        let declines = session.bench.subject.provider?.capabilities.flag("declines") ?? false
        if declines, answer.ends.last == VC_LLM_DECLINED { return }
        if answer.failure != nil, session.bench.isWithoutVendor {
            throw NotApplicable("it asks a vendor, and has no script of one")
        }
        guard let end = answer.ends.first, [VC_LLM_STOP, VC_LLM_LENGTH].contains(end), !answer.text.isEmpty else {
            throw Violation(
                "\"Hello.\"", expected: "DELTA, and LLM_DONE \(VC_LLM_STOP) or \(VC_LLM_LENGTH)",
                got: answer.summary)
        }
    },
    model(
        "VC-LLM-02", .basic, "LLM_DONE comes once.",
        because: "The host ends the turn with it; a second one ends the next turn.",
        passing: "if (self->is_over) return;  self->is_over = 1;  emit(LLM_DONE);",
        failing: "emit(LLM_DONE) at \"finish_reason\", and again at \"[DONE]\""
    ) { session, _ in
        let answer = session.inquire()
        guard answer.ends.count <= 1 else {
            throw Violation("an answer", expected: "LLM_DONE once", got: "\(answer.ends.count) times")
        }
    },
    model(
        "VC-LLM-03", .basic, "A DELTA never ends within a character.",
        because: "A voice is given half of a letter, and says nothing or stumbles.",
        passing: "keep the bytes of an unfinished character for the next DELTA",
        failing: "emit(DELTA of buffer, 16 bytes at a time);"
    ) { session, _ in
        for event in session.inquire().events where event.type == VC_EVENT_DELTA {
            if let complaint = event.complaints.first(where: { $0.contains("UTF-8") }) {
                throw Violation("an answer", expected: "DELTAs that are UTF-8, each for itself", got: complaint)
            }
        }
    },
    model(
        "VC-LLM-04", .basic, "No DELTA is empty.",
        because: "The first word ends the wait for the model: an empty one starts a turn that has nothing to say.",
        passing: "if (text.length) emit(DELTA);",
        failing: "emit(DELTA);        // also for the chunk that only names the role"
    ) { session, _ in
        for event in session.inquire().events where event.type == VC_EVENT_DELTA && event.text == "" {
            throw Violation("an answer", expected: "DELTAs with text", got: "an empty one")
        }
    },
    tools(
        "VC-LLM-06", "The arguments of a TOOL_CALL are a JSON object.",
        because: "The host reads them before the function runs; without arguments they are {}.",
        passing: "arguments = VC_STR(\"{}\");        // where the vendor sends none",
        failing: "arguments = (vc_str){0};"
    ) { session in
        let answer = try session.inquire(Inquiry(tools: Inquiry.tools)).needCalls()
        for call in answer.calls where (try? JSONValue(parsing: call.arguments))?.object == nil {
            throw Violation(
                "TOOL_CALL \(call.name)", expected: "a JSON object as arguments",
                got: call.arguments.isEmpty ? "nothing" : String(call.arguments.prefix(80)))
        }
    },
    tools(
        "VC-LLM-07", "Every TOOL_CALL of an answer has an id of its own.",
        because: "Results come back under it: with one id for two calls, one function gets the other's result.",
        passing: "call = the vendor's id, or a number where it gives none",
        failing: "call = VC_STR(\"call\");"
    ) { session in
        let ids = try session.inquire(Inquiry(tools: Inquiry.tools)).needCalls().calls.map(\.id)
        guard ids.count > 1 || ids == [""] else {
            throw NotApplicable("the vendor's script has one function called, and never two")
        }
        guard Set(ids).count == ids.count, !ids.contains("") else {
            throw Violation("\(ids.count) calls", expected: "\(ids.count) ids", got: ids.joined(separator: ", "))
        }
    },
    tools(
        "VC-LLM-08", "A request goes on with the results of its functions.",
        because: "The caller is told what the function found out, in the same turn.",
        passing: "the host asks again under the same request, and it is answered as any other",
        failing: "if (request->request <= self->latest) return VC_E_ARGUMENT;"
    ) { session in
        let request = session.nextRequest()
        let first = try session.inquire(Inquiry(tools: Inquiry.tools), request: request).needCalls()
        let second = session.goOn(after: first, request)
        guard second.status == VC_OK, let end = second.ends.first, end != VC_LLM_DECLINED else {
            throw Violation("the results of a request's functions", expected: "an answer", got: second.summary)
        }
    },
    model(
        "VC-LLM-14", .basic, "LLM_DONE is the last event of its request.",
        because: "The host forgets a request that is done: what follows is refused, and the tokens are not counted.",
        passing: "emit(USAGE);  emit(LLM_DONE);",
        failing: "emit(LLM_DONE) at \"finish_reason\";  emit(USAGE) when the vendor counts, a chunk later"
    ) { session, _ in
        let events = session.inquire().events
        guard let done = events.firstIndex(where: { $0.type == VC_EVENT_LLM_DONE }) else { return }
        if let late = events[(done + 1)...].first(where: { $0.type != VC_EVENT_LLM_DONE && !$0.isControl }) {
            throw Violation("after LLM_DONE", expected: "nothing of that request", got: late.name)
        }
    },
    model(
        "VC-LLM-16", .basic, "Two questions at once are answered each for itself.",
        because: "One is speculative, asked while the caller may go on; words of one answer in the other are nonsense.",
        passing: "every event names the request that it answers",
        failing: "head.request = self->latest_request;",
        skip: { subject in
            (subject.provider?.capabilities.parallelRequests ?? 1) > 1 ? nil : "the manifest says no parallelRequests"
        }
    ) { session, provider in
        let alone = try provider.session().inquire().needText()
        let (one, other) = (session.nextRequest(), session.nextRequest())
        let statuses = [session.put(Inquiry(), one), session.put(Inquiry(), other)]
        guard statuses == [vc_status(VC_OK), vc_status(VC_OK)] else {
            throw Violation(
                "two requests at once", expected: "VC_OK for both, as the manifest says",
                got: statuses.map(statusName).joined(separator: ", "))
        }
        session.waitForEnd(of: one, VC_EVENT_LLM_DONE)
        session.waitForEnd(of: other, VC_EVENT_LLM_DONE)
        for request in [one, other] {
            let answer = Answer(status: vc_status(VC_OK), events: session.answers(to: request))
            guard answer.text == alone.text else {
                throw Violation(
                    "request \(request) of two at once", expected: "the answer as it is alone: \(alone.summary)",
                    got: answer.summary)
            }
        }
    },
    model(
        "VC-LLM-24", .basic, "USAGE counts the cached tokens among those of the input.",
        because: "Costs are reckoned from it: input that was cached is cheaper, not additional.",
        passing: "input_tokens = prompt_tokens;  cached_tokens = prompt_tokens_details.cached_tokens;",
        failing: "input_tokens = prompt_tokens - cached;  cached_tokens = cached;"
    ) { session, _ in
        let usages = session.inquire().usages
        guard !usages.isEmpty else { throw NotApplicable("it tells no USAGE") }
        for usage in usages where usage.cached > usage.input {
            throw Violation("USAGE", expected: "cached ≤ input", got: "\(usage.cached) of \(usage.input)")
        }
    },
    model(
        "VC-LLM-31", .basic, "Only a model whose manifest says so declines.",
        because: "The host has no other model to ask, where nobody was told that one is needed.",
        passing: "\"declines\": true",
        failing: "emit(LLM_DONE of VC_LLM_DECLINED);        // of a model that is the only one",
        skip: { $0.provider?.capabilities.flag("declines") == true ? "the manifest says that it declines" : nil }
    ) { session, _ in
        let instructions: JSONValue = ["role": "system", "content": "You are the voice of a library. Greet the caller."]
        let question: JSONValue = ["role": "user", "content": "Hello."]
        for messages: JSONValue in [[question], [instructions], [instructions, question]] {
            let answer = session.inquire(Inquiry(messages: messages))
            guard !answer.ends.contains(VC_LLM_DECLINED) else {
                throw Violation(messages.text, expected: "an answer, or an ERROR", got: "VC_LLM_DECLINED")
            }
        }
    },
    model(
        "VC-LLM-32", .realTime, "A speculative question is answered like any other.",
        because: "It is asked half a second before the caller is sure to be done, and hides the model's latency.",
        passing: "the flag tells that the answer may be thrown away, and no more",
        failing: "if (request->flags) return VC_E_UNSUPPORTED;"
    ) { session, provider in
        let plain = try provider.session().inquire().needText()
        let speculative = session.inquire(Inquiry(flags: UInt32(VC_LLM_SPECULATIVE)))
        guard speculative.isSame(as: plain) else {
            throw Violation("VC_LLM_SPECULATIVE", expected: plain.summary, got: speculative.summary)
        }
    },
    tools(
        "VC-LLM-33", "An answer that calls functions ends with VC_LLM_TOOL.",
        because: "By it the host knows that the turn is not over: with STOP, nobody runs the function.",
        passing: "reason = self->call_count ? VC_LLM_TOOL : VC_LLM_STOP;",
        failing: "reason = VC_LLM_STOP;        // some vendors say \"stop\" after a call"
    ) { session in
        let answer = try session.inquire(Inquiry(tools: Inquiry.tools)).needCalls()
        guard Set(answer.ends) == [VC_LLM_TOOL] else {
            throw Violation("an answer with TOOL_CALL", expected: "LLM_DONE \(VC_LLM_TOOL)", got: answer.summary)
        }
    },
]

extension BenchSession {
    /// Gives the results of an answer's calls as the host does: by the slot, or by asking anew under the same request.
    func goOn(after first: Answer, _ request: UInt64) -> Answer {
        let question: JSONValue = ["role": "user", "content": "Hello."]
        if kindOps?.assumingMemoryBound(to: vc_llm_ops.self).pointee.tool_result != nil {
            let known = answers(to: request).count
            for call in first.calls { toolResult(request, call: call.id, #"{"found":true}"#) }
            _ = bench.wait(ms: 60_000) { answers(to: request).dropFirst(known).last?.type == VC_EVENT_LLM_DONE }
            return Answer(status: vc_status(VC_OK), events: Array(answers(to: request).dropFirst(known)))
        }
        let calls: [JSONValue] = first.calls.map { call in
            [
                "id": .string(call.id), "type": "function",
                "function": ["name": .string(call.name), "arguments": .string(call.arguments)],
            ]
        }
        let said: JSONValue = ["role": "assistant", "content": .string(first.text), "tool_calls": .array(calls)]
        let results: [JSONValue] = first.calls.map { call in
            ["role": "tool", "tool_call_id": .string(call.id), "content": #"{"found":true}"#]
        }
        return inquire(Inquiry(messages: .array([question, said] + results), tools: Inquiry.tools), request: request)
    }
}

/// A rule about a session of a language model.
func model(
    _ id: String, _ level: Rule.Level, smoke: Bool = false, _ sentence: String,
    because: String, passing: String, failing: String, needs: [String] = ["VC-LLM-01"],
    skip: @escaping @Sendable (Subject) -> String? = { _ in nil },
    check: @escaping @Sendable (BenchSession, BenchProvider) throws -> Void
) -> Rule {
    Rule(
        id, level, .must, smoke: smoke, kinds: [.languageModel], sentence, because: because, passing: passing,
        failing: failing, needs: needs, skip: skip,
        check: .probe { bench in
            let provider = try bench.provider()
            try check(try provider.session(), provider)
        })
}

/// A rule about functions, which not every model calls.
private func tools(
    _ id: String, _ sentence: String, because: String, passing: String, failing: String,
    check: @escaping @Sendable (BenchSession) throws -> Void
) -> Rule {
    model(
        id, .basic, sentence, because: because, passing: passing, failing: failing, skip: withoutTools,
        check: { session, _ in try check(session) })
}

@Sendable func withoutTools(_ subject: Subject) -> String? {
    subject.provider?.capabilities.flag("tools") == true ? nil : "the manifest says no \"tools\""
}
