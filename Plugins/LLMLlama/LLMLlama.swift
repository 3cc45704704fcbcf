// A language model behind the WebSocket service of the Turkish voice deployments: a question in one frame, the answer
// in many, no request ids and no word for "stop".
//
// A session has connections of its own and shares none with other calls: without ids an answer belongs to a call only
// by the connection on which it comes.

import JSON
import LlamaSocket
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(LLMLlama.self, host, module)
}

final class LLMLlama: LanguageModel {
    static let id = "org.vchost.llm-llama"

    let url: String
    /// Whom errors name.
    let vendor: String
    let connectMs: Int
    let firstTokenMs: Int
    let timeoutMs: Int
    let retries: Int
    let sentencesMax: Int
    private let configuration: Configuration

    init(_ host: ProviderHost) throws(PluginError) {
        configuration = host.configuration
        url = configuration.text("url") ?? "ws://127.0.0.1:8765"
        guard url.hasPrefix("ws://") || url.hasPrefix("wss://") else {
            throw PluginError(
                .configuration, "`url` is \"\(url)\", which is no WebSocket address; write ws://127.0.0.1:8765")
        }
        vendor = "the llama service at \(url.split(separator: "/", maxSplits: 2)[1].prefix { $0 != "/" })"
        connectMs = configuration.integer("connect_ms") ?? 2000
        firstTokenMs = configuration.integer("first_token_ms") ?? 5000
        timeoutMs = configuration.integer("timeout_ms") ?? 30000
        retries = configuration.integer("retries") ?? 1
        sentencesMax = configuration.integer("sentences_max") ?? 0
    }

    func open(_ host: SessionHost) -> LlamaSession {
        let session = LlamaSession(self, host)
        session.begin()
        return session
    }

    /// How a call's questions are written.
    func request(language: String) -> LlamaRequest {
        var fixed: [String: JSONValue] = ["use_rag": .bool(configuration.flag("use_rag") ?? true)]
        for key in ["temperature", "top_p"] {
            if let value = configuration.number(key) { fixed[key] = .number(value) }
        }
        if let limit = configuration.integer("max_tokens"), limit > 0 { fixed["max_tokens"] = .integer(Int64(limit)) }
        if let stop = configuration.texts("stop"), !stop.isEmpty { fixed["stop"] = .array(stop.map { .string($0) }) }
        if let count = configuration.integer("rag_k"), count > 0 { fixed["rag_k"] = .integer(Int64(count)) }
        let given = configuration.text("language") ?? ""
        return LlamaRequest(
            form: configuration.text("form").flatMap { LlamaRequest.Form(rawValue: $0) } ?? .messages,
            history: configuration.text("history").flatMap { LlamaRequest.History(rawValue: $0) } ?? .inside,
            historyMessages: configuration.integer("history_messages") ?? 12,
            phrases: LlamaRequest.Phrases(language: given.isEmpty ? language : given), fixed: fixed)
    }
}
