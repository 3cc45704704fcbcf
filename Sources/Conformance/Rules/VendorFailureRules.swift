// ERR: what a provider says when its vendor refuses, breaks off, or sends nonsense. How long it tries stands in
// `VendorPatienceRules.swift`.
//
// The host decides by the code whether to ask again, to ask another provider, or to wake up the operator; and the
// operator reads the rest. So each rule is about one member of the ERROR, and looks at no other.

import JSON
import PluginABI
import Providers

let vendorFailureRules: [Rule] = [
    failing(
        "VC-ERR-05", .status(401, retryAfterS: nil), "A refused credential is VC_E_AUTH.",
        because: "No other attempt helps: the operator must know, and the host asks another provider at once.",
        passing: "case 401: case 403: error.code = VC_E_AUTH;",
        failing: "error.code = VC_E_VENDOR;        // whatever the status is"
    ) { try $0.needCode([VC_E_AUTH], "status 401") },
    failing(
        "VC-ERR-06", .status(429, retryAfterS: 2), "A vendor's limit is VC_E_QUOTA.",
        because: "It passes by itself: the provider is left alone for a while, and not given up.",
        passing: "case 429: error.code = VC_E_QUOTA;",
        failing: "error.code = VC_E_VENDOR;"
    ) { try $0.needCode([VC_E_QUOTA], "status 429") },
    failing(
        "VC-ERR-07", .status(500, retryAfterS: nil), "A vendor's own error is VC_E_VENDOR.",
        because: "It says whom to write to: neither the network nor this host is at fault.",
        passing: "default: error.code = VC_E_VENDOR;",
        failing: "error.code = VC_E_INTERNAL;        // which is a bug of the plugin"
    ) { try $0.needCode([VC_E_VENDOR], "status 500") },
    Rule(
        "VC-ERR-08", .resilient, .must, kinds: asking,
        "A vendor that cannot be reached is VC_E_NETWORK or VC_E_TIMEOUT.",
        because: "The operator looks at the firewall and not at the plugin.",
        passing: "error.code = theirs->code;        // vc.http says it already",
        failing: "error.code = VC_E_INTERNAL;",
        check: .probe { bench in
            for fault: VendorFault in [.refused, .dnsFailure, .tlsFailure, .resetBeforeFirstByte] {
                try bench.trial(of: fault).needCode([VC_E_NETWORK, VC_E_TIMEOUT], fault.json["name"]?.string ?? "")
            }
        }),
    failing(
        "VC-ERR-09", .notJSON, "A page of HTML with status 200 is an ERROR.",
        because: "A proxy's login page is no answer: the caller hears silence, and the log says that all is well.",
        passing: "if (!self->has_events) fail(VC_E_VENDOR, \"answered with something else than events\");",
        failing: "done(context, request, NULL) { finish(VC_LLM_STOP); }        // whatever came"
    ) { trial in
        guard trial.failure != nil else {
            throw Violation("a page of HTML", expected: "an ERROR", got: trial.summary)
        }
    },
    failing(
        "VC-ERR-25", .emptyBody, "An empty answer with status 200 is an ERROR.",
        because: "Nothing is not what was asked for, and the next provider would have had something.",
        passing: "if (!self->byte_count) fail(VC_E_VENDOR, \"answered with nothing\");",
        failing: "done(context, request, NULL) { if (parse_error) fail(…); else finish(); }"
    ) { trial in
        guard trial.failure != nil else { throw Violation("an empty body", expected: "an ERROR", got: trial.summary) }
    },
    failing(
        "VC-ERR-22", .resetInTheMiddle, "An answer that breaks off is an ERROR.",
        because: "The host has the sentence said again; a broken one that counts as whole stays broken.",
        passing: "done(context, request, error) { if (error) fail(error->code); }",
        failing: "done(context, request, error) { finish(self); }"
    ) { trial in
        guard trial.failure != nil else {
            throw Violation("a connection that breaks in the middle", expected: "an ERROR", got: trial.summary)
        }
    },
    failing(
        "VC-ERR-24", .invalidUTF8, "Bytes that are no UTF-8 stay outside.",
        because: "They would go into the log, the record of the call, and every program that reads those.",
        passing: "fail(VC_E_VENDOR, \"answered with something else than JSON\");",
        failing: "snprintf(message, …, \"cannot read %s\", body);"
    ) { trial in
        for event in trial.events {
            guard let complaint = event.complaints.first(where: { $0.contains("UTF-8") }) else { continue }
            throw Violation("an answer of bytes that are no text", expected: "texts in UTF-8", got: complaint)
        }
    },
    failing(
        "VC-ERR-16", .status(429, retryAfterS: 7), "`retry_after_ms` is what the vendor asked for.",
        because: "Asked before that, many vendors begin to count anew.",
        passing: "error.retry_after_ms = 1000 * number(header(\"retry-after\"));",
        failing: "error.retry_after_ms = 0;"
    ) { trial in
        let ms = try trial.needFailure().retryAfterMs
        guard ms == 7_000 else { throw Violation("Retry-After: 7", expected: "retry_after_ms 7000", got: "\(ms)") }
    },
    failing(
        "VC-ERR-18", .status(500, retryAfterS: nil), "`protocol_status` is the vendor's HTTP status.",
        because: "It is the first thing that one looks for in a vendor's documentation.",
        passing: "error.protocol_status = self->status;",
        failing: "error.protocol_status = 0;"
    ) { trial in
        let status = try trial.needFailure().protocolStatus
        guard status == 500 else { throw Violation("status 500", expected: "protocol_status 500", got: "\(status)") }
    },
    failing(
        "VC-ERR-19", .status(500, retryAfterS: nil), "`vendor_code` is the vendor's own code, unchanged.",
        because: "Its support asks for that first.",
        passing: "error.vendor_code = member(body, \"code\");",
        failing: "error.vendor_code = VC_STR(\"ERROR\");"
    ) { trial in
        let code = try trial.needFailure().vendorCode
        let body = trial.session.bench.refusal(500)
        guard !code.isEmpty, body.contains("\"\(code)\"") else {
            throw Violation("a refusal with \(body)", expected: "its code", got: code.isEmpty ? "none" : "\"\(code)\"")
        }
    },
    Rule(
        "VC-ERR-30", .resilient, .must, kinds: asking, "An ERROR says in one line what happened.",
        because: "It is what the operator reads, in a list where each error has one line.",
        passing: "\"llm.example answered 500: the server had an error\"",
        failing: "error.message = (vc_str){0};",
        check: .probe { bench in
            for fault: VendorFault in [.status(500, retryAfterS: nil), .refused, .notJSON] {
                guard let message = try bench.trial(of: fault).failure?.message else { continue }
                guard !message.isEmpty, message.utf8.count <= 512, !message.contains(where: \.isNewline) else {
                    throw Violation(
                        "\(fault.json["name"]?.string ?? "")", expected: "a message of one line, 512 bytes at most",
                        got: message.isEmpty ? "none" : "\(message.utf8.count) bytes: \(message.prefix(80))")
                }
            }
        }),
    Rule(
        "VC-ERR-13", .resilient, .must, kinds: asking,
        "A secret appears in no log line and no ERROR, whatever goes wrong.",
        because: "Keys are written down exactly when they are refused, by whoever wants to know why.",
        passing: "\"the key in LLM_KEY was refused\"",
        failing: "log(\"the key %s was refused\", key);",
        skip: { ($0.manifest?.secrets ?? []).isEmpty ? "the manifest lists no secrets" : nil },
        check: .probe { bench in
            let secrets = bench.job.secrets.values.filter { $0.count >= 8 }
            guard !secrets.isEmpty else { throw NotApplicable("the vendor's script has no secret of eight letters") }
            for fault: VendorFault in [.status(401, retryAfterS: nil), .status(500, retryAfterS: nil), .notJSON] {
                let trial = try bench.trial(of: fault)
                let lines = bench.world.logLines.map { line in line.message + line.fields.map { " " + $0.1 }.joined() }
                let words = lines + trial.failures.flatMap { [$0.message, $0.vendorCode, $0.vendor] }
                if words.contains(where: { word in secrets.contains { word.contains($0) } }) {
                    throw Violation(
                        "\(fault.json["name"]?.string ?? "")", expected: "no secret in the log or the ERROR",
                        got: "one")
                }
            }
        }),
    failing(
        "VC-ERR-28", .status(500, retryAfterS: nil), kinds: [.languageModel, .textToSpeech],
        "A request ends once: with ERROR, or as it should.",
        because: "The host has asked the next provider when the ERROR came; what follows is another answer's end.",
        passing: "emit(ERROR of the request);        // and nothing more for it",
        failing: "emit(ERROR);  emit(LLM_DONE);"
    ) { trial in
        guard let first = trial.failure, !first.isFatal else { return }
        let count = trial.failures.count + trial.ends.count
        guard count == 1 else {
            let end = RecordedEvent.name(of: trial.session.endType)
            throw Violation(
                "status 500", expected: "one ERROR and nothing more",
                got: "\(trial.failures.count) ERROR and \(trial.ends.count) \(end)")
        }
    },
    failing(
        "VC-ERR-29", .status(500, retryAfterS: nil), "An ERROR names the request that it ends, or is fatal.",
        because: "Without it nobody knows which question has failed, and the caller waits for its answer.",
        passing: "head.request = self->request;",
        failing: "head.request = 0;"
    ) { trial in
        guard let event = trial.events.first(where: { $0.failure?.isFatal == false }) else { return }
        guard event.request == trial.request else {
            throw Violation(
                "status 500", expected: "an ERROR of request \(trial.request)", got: "of request \(event.request)")
        }
    },
    Rule(
        "VC-ERR-11", .resilient, .must, kinds: asking, "After an ERROR that is not fatal the session works.",
        because: "The caller asks again, and the vendor is back.",
        passing: "every request begins with nothing of the one before",
        failing: "self->has_failed = 1;",
        check: .probe { bench in
            let (provider, services) = try bench.providerWithVendor()
            let session = try provider.session()
            services.arm(.status(500, retryAfterS: nil))
            guard try !session.trial(services).needFailure().isFatal else { throw NotApplicable("the ERROR is fatal") }
            services.disarm()
            let trial = session.trial(services)
            guard trial.status == VC_OK, trial.failure == nil, !trial.ends.isEmpty else {
                throw Violation("a question after one that failed", expected: "an answer", got: trial.summary)
            }
        }),
    failing(
        "VC-ERR-12", .status(401, retryAfterS: nil), "After a fatal ERROR nothing comes but CLOSED.",
        because: "The host has opened another session in its place.",
        passing: "self->has_failed = 1;        // and every emit looks at it",
        failing: "emit(fatal ERROR);  emit(LLM_DONE);"
    ) { trial in
        guard try trial.needFailure().isFatal else { throw NotApplicable("the ERROR is not fatal") }
        let after = trial.events.drop { $0.failure?.isFatal != true }.dropFirst()
        if let late = after.first(where: { $0.type != VC_EVENT_CLOSED && $0.type != VC_EVENT_CANCELED }) {
            throw Violation("after a fatal ERROR", expected: "nothing", got: late.name)
        }
    },
]

/// Kinds that ask a vendor.
let asking: [PluginKind] = [.speechToText, .languageModel, .textToSpeech]

/// A rule about one failure of the vendor.
func failing(
    _ id: String, _ fault: VendorFault, kinds: [PluginKind] = asking, _ sentence: String, because: String,
    passing: String, failing: String, check: @escaping @Sendable (VendorTrial) throws -> Void
) -> Rule {
    Rule(
        id, .resilient, .must, kinds: kinds, sentence, because: because, passing: passing, failing: failing,
        check: .probe { bench in try check(try bench.trial(of: fault)) })
}

extension VendorTrial {
    fileprivate func needCode(_ codes: [Int], _ what: String) throws {
        guard let code = failure?.code, codes.contains(Int(code)) else {
            throw Violation(
                what, expected: "ERROR " + codes.map { statusName(vc_status($0)) }.joined(separator: " or "),
                got: summary)
        }
    }
}

extension Bench {
    /// The body of a refusal, as the vendor's script has it.
    fileprivate func refusal(_ status: Int) -> String {
        let script = try? VendorScript.load(directory: job.scripts, provider: job.provider)
        return String(decoding: (script?.errors[status] ?? VendorFault.usualError(status)).bytes([:]), as: UTF8.self)
    }
}
