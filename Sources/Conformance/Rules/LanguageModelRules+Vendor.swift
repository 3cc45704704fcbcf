// LLM: what reaches the vendor, and what is made of its stream.
//
// A stream of server-sent events is written in a few lines and read wrongly in many ways, because every vendor writes
// it a little differently and a test sees one of them. So each rule has the vendor write the very same answer in
// another way that the standard allows (HTML, section 9.2), and compares.

import JSON
import PluginABI
import Providers

let languageModelVendorRules: [Rule] = [
    asked(
        "VC-LLM-05", .basic, "The words of a message reach the vendor as they are.",
        because: "A name of question marks is not understood, and a bare quotation mark breaks the JSON.",
        passing: "append(body, request->messages);        // JSON goes into JSON unchanged",
        failing: "for (char c in text) ascii[i] = c & 0x80 ? '?' : c;"
    ) { session, services, _ in
        let words = "Grüß Gott, Iğdır’dan! \"So\", she said:\n\tC:\\new & <b> 日本語 🙂"
        _ = session.inquire(Inquiry(messages: [["role": "user", "content": .string(words)]]))
        let body = try services.needBody()
        guard body.json.texts.contains(where: { $0.contains(words) }) else {
            throw Violation(
                "a message with quotation marks, line breaks and letters of several scripts",
                expected: "the same text in the body", got: String(body.text.prefix(200)))
        }
    },
    asked(
        "VC-LLM-26", .basic, "The whole conversation reaches the vendor, in its order.",
        because: "\"And on Sunday?\" means nothing without what was said before.",
        passing: "append(body, request->messages);",
        failing: "append(body, last(request->messages));"
    ) { session, services, _ in
        let said = ["When are you open on Saturday?", "On Saturday we are open from ten to t", "And on Sunday?"]
        let messages: JSONValue = [
            ["role": "system", "content": "You speak for a library."], ["role": "user", "content": .string(said[0])],
            ["role": "assistant", "content": .string(said[1])], ["role": "user", "content": .string(said[2])],
        ]
        _ = session.inquire(Inquiry(messages: messages))
        let text = try services.needBody().text
        let places = said.compactMap { text.firstRange(of: $0)?.lowerBound }
        guard text.contains("You speak for a library."), places.count == said.count, places == places.sorted() else {
            throw Violation(
                "a conversation of four messages", expected: "all of them in the body, in order",
                got: String(text.prefix(300)))
        }
    },
    asked(
        "VC-LLM-21", .basic, "The options of a question reach the vendor.",
        because: "The host lowers `max_tokens` for a short answer; a model that does not hear of it talks on.",
        passing: "append(body, request->options);",
        failing: "append(body, self->configured_options);        // and the host's are dropped"
    ) { session, services, _ in
        _ = session.inquire(Inquiry(options: ["temperature": 0.625, "max_tokens": 77]))
        let numbers: [Double] = try services.needBody().json.numbers
        let asked: [Double] = [0.625, 77]
        for number in asked where !numbers.contains(number) {
            throw Violation(
                "options of temperature 0.625 and max_tokens 77", expected: "both numbers in the body",
                got: "no \(number == 77 ? "77" : "0.625")")
        }
    },
    asked(
        "VC-LLM-12", .basic, "An answer that the token limit cuts off ends with VC_LLM_LENGTH.",
        because: "The host then knows that the sentence has no end, and asks for the rest.",
        passing: "reason = equals(finish, \"length\") ? VC_LLM_LENGTH : VC_LLM_STOP;",
        failing: "reason = VC_LLM_STOP;"
    ) { session, services, usual in
        let answer = session.inquire(Inquiry(options: ["max_tokens": 1]))
        guard let entry = services.seen().last?.entry, entry != usual else {
            throw NotApplicable("the vendor's script has no answer of its own to max_tokens 1")
        }
        guard Set(answer.ends) == [VC_LLM_LENGTH] else {
            throw Violation("an answer of one token", expected: "LLM_DONE \(VC_LLM_LENGTH)", got: answer.summary)
        }
    },
    asked(
        "VC-LLM-23", .resilient, "The agent's instructions are in no log line above debug.",
        because: "They are the operator's work, and hold what callers must not know.",
        passing: "asked with 4 messages",
        failing: "log(request->messages);"
    ) { session, _, _ in
        let instructions: JSONValue = ["role": "system", "content": "The password of the day is rosebud."]
        _ = session.inquire(Inquiry(messages: [instructions, ["role": "user", "content": "Hello."]]))
        for line in session.world.logLines where line.level > UInt32(VC_LOG_DEBUG) {
            let text = line.message + line.fields.map { " \($0.0)=\($0.1)" }.joined()
            guard !text.contains("rosebud") else {
                throw Violation("the log", expected: "no words of the instructions", got: line.message)
            }
        }
    },
    rewritten(
        "VC-LLM-17", .oneByteChunks, "byte by byte", "A stream may be cut anywhere.",
        because: "Networks cut where they like; the test server, on the same machine, never did.",
        passing: "append(&self->line, bytes);        // and what follows the last line break waits",
        failing: "parse_lines(bytes);        // each piece for itself"),
    rewritten(
        "VC-LLM-18", .comments, "with comments between the events", "Comments in a stream mean nothing.",
        because: "Vendors send them to keep the connection open while the model thinks.",
        passing: "if (line[0] == ':') return;",
        failing: "if (!begins_with(line, \"data:\")) return fail(VC_E_VENDOR);"),
    rewritten(
        "VC-LLM-28", .noSpaces, "as data:{…} without a space", "The space behind `data:` may be missing.",
        because: "The standard leaves it out as it likes, and so do vendors.",
        passing: "value = line + 5;  if (*value == ' ') value++;",
        failing: "if (!begins_with(line, \"data: \")) return;"),
    rewritten(
        "VC-LLM-29", .lineEnd(.crlf), "with CRLF", "The lines of a stream may end with CRLF.",
        because: "Proxies and some vendors write them so; a line of \"\\r\" is no empty line, and no event ever ends.",
        passing: "\\n, \\r\\n and \\r end a line",
        failing: "if (line.length == 0) dispatch();        // and the line is \"\\r\""),
    rewritten(
        "VC-LLM-30", .missingDone, "without its last [DONE]", "A stream that told its end needs no [DONE].",
        because: "It is a habit of one vendor. Others close the connection after the reason, and the answer is whole.",
        passing: "done(context, request, NULL) { if (self->reason) finish(self->reason); }",
        failing: "done(context, request, NULL) { fail(VC_E_NETWORK); }"),
    asked(
        "VC-LLM-27", .resilient, "An answer whose end is missing is an ERROR.",
        because: "A model's server that is restarted closes its streams properly; half a sentence is not an answer.",
        passing: "done(context, request, NULL) { if (!self->reason) fail(VC_E_NETWORK); }",
        failing: "done(context, request, NULL) { finish(VC_LLM_STOP); }"
    ) { session, services, _ in
        services.arm(.cutShort)
        let answer = session.inquire()
        // Also one that names no request: that is another rule's affair.
        guard session.events.contains(where: { $0.failure != nil }) else {
            throw Violation("half an answer, then a proper end", expected: "an ERROR", got: answer.summary)
        }
    },
    asked(
        "VC-LLM-19", .resilient, "Nothing is asked again once words of the answer were said.",
        because: "The second answer begins at the beginning: the caller hears the sentence twice.",
        passing: "if (self->has_output) fail(error); else attempt(self);",
        failing: "if (error->retryable) attempt(self);"
    ) { session, services, _ in
        services.arm(.resetInTheMiddle, times: 1)
        let known = services.seen().count
        let answer = session.inquire()
        guard let first = answer.taken.first(where: { $0.type == VC_EVENT_DELTA }) else {
            throw NotApplicable("nothing was said before the connection broke")
        }
        if services.seen().dropFirst(known).contains(where: { $0.atNs > first.atNs }) {
            throw Violation(
                "a connection that breaks after the first words", expected: "an ERROR", got: "a second request")
        }
    },
]

/// A rule about a model with a vendor: a session, the vendor, and the name of the entry that answers "Hello.".
private func asked(
    _ id: String, _ level: Rule.Level, _ sentence: String, because: String, passing: String, failing: String,
    check: @escaping @Sendable (BenchSession, VendorServices, String) throws -> Void
) -> Rule {
    Rule(
        id, level, .must, kinds: [.languageModel], sentence, because: because, passing: passing, failing: failing,
        needs: ["VC-LLM-01"],
        check: .probe { bench in
            let (provider, services) = try bench.providerWithVendor()
            let usual = services.seen().last?.entry ?? ""
            try check(try provider.session(), services, usual)
        })
}

/// A rule that has the vendor write the same answer in another way.
private func rewritten(
    _ id: String, _ fault: VendorFault, _ way: String, _ sentence: String, because: String, passing: String,
    failing: String
) -> Rule {
    asked(id, .resilient, sentence, because: because, passing: passing, failing: failing) { session, services, usual in
        guard session.bench.isStream(usual) else { throw NotApplicable("its vendor sends no stream of events") }
        let plain = try session.provider.session().inquire().needText()
        services.arm(fault)
        let answer = session.inquire()
        guard answer.isSame(as: plain) else {
            throw Violation("the same answer \(way)", expected: plain.summary, got: answer.summary)
        }
    }
}

extension Bench {
    /// Whether an entry of the vendor's script answers with server-sent events.
    func isStream(_ entry: String) -> Bool {
        let script = try? VendorScript.load(directory: job.scripts, provider: job.provider)
        guard let answer = script?.http.first(where: { $0.name == entry })?.answer else { return false }
        if case .events = answer.body { return true }
        return false
    }
}

extension VendorServices {
    /// The latest body that the vendor got.
    fileprivate func needBody() throws -> (text: String, json: JSONValue) {
        guard let request = seen().last(where: { !$0.request.body.isEmpty })?.request, let json = request.json else {
            throw NotApplicable("its vendor is asked with something else than JSON")
        }
        return (request.text, json)
    }
}

extension JSONValue {
    /// All texts in it, at any depth.
    fileprivate var texts: [String] {
        if let string { return [string] }
        if let array { return array.flatMap(\.texts) }
        return object?.values.flatMap(\.texts) ?? []
    }

    fileprivate var numbers: [Double] {
        if let number { return [number] }
        if let array { return array.flatMap(\.numbers) }
        return object?.values.flatMap(\.numbers) ?? []
    }
}
