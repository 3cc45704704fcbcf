// Any language model behind OpenAI's chat completions: OpenAI itself, Groq, vLLM, llama.cpp, xllamacpp.
//
// One plugin for all of them. Where they differ in how they answer, the reading of answers takes it all (`ChatStream`),
// because there one tolerant reader serves everybody. Where they differ in what they accept, a setting says it, because
// a strict server refuses what another one needs, and guessing by the address would be wrong behind every proxy.

import ChatStream
import JSON
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(LLMOpenAI.self, host, module)
}

final class LLMOpenAI: LanguageModel, ChatVendor {
    static let id = "org.vchost.llm-openai"

    let vendor: String
    let patience: Patience
    private let url: String
    private let headers: [(name: String, value: String)]
    private let body: ChatRequest
    private let timeoutMs: Int
    private let firstTokenMs: Int

    init(_ host: ProviderHost) throws(PluginError) {
        let configuration = host.configuration
        let address = configuration.text("url") ?? "http://127.0.0.1:8102/v1"
        guard address.hasPrefix("http://") || address.hasPrefix("https://") else {
            throw PluginError(
                .configuration, "`url` is \"\(address)\", which is no http address; write https://api.example.com/v1")
        }
        let base = String(address.reversed().drop { $0 == "/" }.reversed())
        url = base.hasSuffix("/chat/completions") ? base : base + "/chat/completions"
        vendor = String(address.split(separator: "/", maxSplits: 2)[1].prefix { $0 != "/" })
        headers = Self.headers(configuration)
        body = ChatRequest(
            fixed: try Self.fields(configuration),
            tokenLimitName: configuration.text("token_limit_name") ?? "max_tokens",
            systemRole: configuration.text("system_role") ?? "system", hasTools: configuration.flag("tools") ?? true)
        patience = Patience(configuration)
        timeoutMs = configuration.integer("timeout_ms") ?? 30000
        firstTokenMs = configuration.integer("first_token_ms") ?? 5000
    }

    func open(_ host: SessionHost) -> LLMOpenAISession {
        host.http.prewarm(url)
        return LLMOpenAISession(self, host)
    }

    private static func headers(_ configuration: Configuration) -> [(name: String, value: String)] {
        var headers = [(name: "Content-Type", value: "application/json"), (name: "Accept", value: "text/event-stream")]
        if let key = configuration.text("api_key"), !key.isEmpty {
            headers.append((name: "Authorization", value: "Bearer \(key)"))
        }
        for (key, name) in [("organization", "OpenAI-Organization"), ("project", "OpenAI-Project")] {
            if let value = configuration.text(key), !value.isEmpty { headers.append((name: name, value: value)) }
        }
        return headers
    }

    /// What every request has.
    private static func fields(_ configuration: Configuration) throws(PluginError) -> [String: JSONValue] {
        var fields: [String: JSONValue] = [:]
        if let extra = configuration.text("extra"), !extra.isEmpty {
            guard let given = try? JSONValue(parsing: extra).object else {
                throw PluginError(
                    .configuration, "`extra` is \"\(extra)\", which is no JSON object; write {\"seed\": 1}, say")
            }
            fields = given
        }
        if let model = configuration.text("model"), !model.isEmpty { fields["model"] = .string(model) }
        for key in ["temperature", "top_p"] {
            if let value = configuration.number(key) { fields[key] = .number(value) }
        }
        if let limit = configuration.integer("max_tokens"), limit > 0 {
            fields[configuration.text("token_limit_name") ?? "max_tokens"] = .integer(Int64(limit))
        }
        if let stop = configuration.texts("stop"), !stop.isEmpty { fields["stop"] = .array(stop.map { .string($0) }) }
        if configuration.flag("usage") ?? true {
            var options = fields["stream_options"]?.object ?? [:]
            options["include_usage"] = true
            fields["stream_options"] = .object(options)
        }
        return fields
    }

    // MARK: ChatVendor

    func request(for question: Question) -> HTTPRequest {
        HTTPRequest(
            "POST", url, headers: headers,
            body: .text(
                body.body(messages: question.messagesText, tools: question.toolsText, options: question.options)),
            deadlineMs: timeoutMs, firstByteMs: firstTokenMs)
    }

    func reader(for question: Question) -> ServerSentAnswer { ServerSentAnswer() }

    func mend(for refusal: VendorError, status: Int) -> String? {
        let words = refusal.message.lowercased()
        guard [400, 404, 422].contains(status) else { return nil }
        if words.contains("max_completion_tokens") { return "set `token_limit_name = max_completion_tokens`" }
        if words.contains("stream_options") || words.contains("include_usage") { return "set `usage = no`" }
        if words.contains("tool") { return "the model cannot call functions here: set `tools = no`" }
        return nil
    }
}

final class LLMOpenAISession: LanguageModelSession {
    private let provider: LLMOpenAI
    private let host: SessionHost

    init(_ provider: LLMOpenAI, _ host: SessionHost) {
        self.provider = provider
        self.host = host
    }

    func answer(_ question: Question) { StreamedAnswer.ask(provider, question, on: host) }
}
