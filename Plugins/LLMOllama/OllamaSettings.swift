// The settings of a section, read once.

import JSON
import OllamaChat
import PluginKit

struct OllamaSettings: Sendable {
    /// Without a slash at its end.
    let url: String
    /// Whom errors name.
    let authority: String
    let model: String
    let apiKey: String
    let hasTools: Bool
    let pulls: Bool
    let pullTimeoutMs: Int
    let warms: Bool
    let timeoutMs: Int
    let firstTokenMs: Int
    private let think: JSONValue?
    private let keepAlive: JSONValue
    private let options: [String: JSONValue]

    init(_ configuration: Configuration) throws(PluginError) {
        let address = configuration.text("url") ?? "http://127.0.0.1:11434"
        guard address.hasPrefix("http://") || address.hasPrefix("https://") else {
            throw PluginError(
                .configuration, "`url` is \"\(address)\", which is no http address; write http://127.0.0.1:11434")
        }
        url = String(address.reversed().drop { $0 == "/" }.reversed())
        authority = String(address.split(separator: "/", maxSplits: 2)[1].prefix { $0 != "/" })
        model = configuration.text("model") ?? ""
        guard !model.isEmpty else {
            throw PluginError(.configuration, "`model` is empty; name a model, one that `ollama list` shows")
        }
        apiKey = configuration.text("api_key") ?? ""
        think = OllamaRequest.think(configuration.text("think") ?? "off")
        keepAlive = OllamaRequest.duration(configuration.text("keep_alive") ?? "-1")
        options = try Self.options(configuration)
        hasTools = configuration.flag("tools") ?? true
        pulls = configuration.flag("pull") ?? false
        pullTimeoutMs = (configuration.integer("pull_timeout_s") ?? 3600) * 1000
        warms = configuration.flag("warm") ?? true
        timeoutMs = configuration.integer("timeout_ms") ?? 30000
        firstTokenMs = configuration.integer("first_token_ms") ?? 5000
    }

    private static func options(_ configuration: Configuration) throws(PluginError) -> [String: JSONValue] {
        var options: [String: JSONValue] = [:]
        if let text = configuration.text("options"), !text.isEmpty {
            guard let given = try? JSONValue(parsing: text).object else {
                throw PluginError(
                    .configuration, "`options` is \"\(text)\", which is no JSON object; write {\"top_k\": 20}, say")
            }
            options = given
        }
        for key in ["num_ctx", "num_predict"] {
            if let value = configuration.integer(key), value > 0 { options[key] = .integer(Int64(value)) }
        }
        for key in ["temperature", "top_p"] {
            if let value = configuration.number(key) { options[key] = .number(value) }
        }
        if let stop = configuration.texts("stop"), !stop.isEmpty { options["stop"] = .array(stop.map { .string($0) }) }
        return options
    }

    /// - Parameter withThink: false for a model that refuses the very word.
    func request(withThink: Bool = true) -> OllamaRequest {
        OllamaRequest(model: model, think: withThink ? think : nil, keepAlive: keepAlive, options: options)
    }

    func address(_ path: String) -> String { url + path }

    func post(_ path: String, _ body: String, deadlineMs: Int, firstByteMs: Int = 0) -> HTTPRequest {
        HTTPRequest(
            "POST", address(path), headers: headers + [(name: "Content-Type", value: "application/json")],
            body: .text(body), deadlineMs: deadlineMs, firstByteMs: firstByteMs)
    }

    func get(_ path: String, deadlineMs: Int) -> HTTPRequest {
        HTTPRequest("GET", address(path), headers: headers, deadlineMs: deadlineMs)
    }

    private var headers: [(name: String, value: String)] {
        apiKey.isEmpty ? [] : [(name: "Authorization", value: "Bearer \(apiKey)")]
    }
}
