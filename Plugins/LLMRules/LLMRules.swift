// A language model without a model: it answers what a written file covers, word for word, and declines the rest.
//
// A small model that is asked for opening hours invents them. An operator who has written them down wants them said as
// written, at once, and wants to know beforehand what will be said. Whatever is not in the file goes to the next model
// of the chain.

import JSON
import KnowledgeEngine
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(LLMRules.self, host, module)
}

final class LLMRules: LanguageModel {
    static let id = "org.vchost.llm-rules"

    let knowledge: Knowledge
    let transferTool: String
    let goodbyeTool: String
    let answered: Metric
    let declined: Metric

    init(_ host: ProviderHost) throws(PluginError) {
        guard let path = host.configuration.text("knowledge"), !path.isEmpty else {
            throw PluginError(.configuration, "`knowledge` is not set; write the path of a knowledge file")
        }
        let text = String(decoding: try host.contents(ofFile: path), as: UTF8.self)
        switch KnowledgeFile.parse(text) {
        case .success(let knowledge): self.knowledge = knowledge
        case .failure(let complaints):
            let lines = complaints.list.map { "\(path):\($0.line): \($0.message)" }
            let rest = complaints.count - lines.count
            throw PluginError(.configuration, lines.joined(separator: "; ") + (rest > 0 ? "; and \(rest) more" : ""))
        }
        transferTool = host.configuration.text("transfer_tool") ?? "transfer_call"
        goodbyeTool = host.configuration.text("goodbye_tool") ?? "end_call"
        answered = host.metrics.counter("rules_answered_total", "Questions that the knowledge file answered.")
        declined = host.metrics.counter("rules_declined_total", "Questions that went to the next model.")
        host.log.info(
            "knowledge read", (name: "path", value: path), (name: "intents", value: String(knowledge.intentNames.count))
        )
    }

    func open(_ host: SessionHost) -> LLMRulesSession { LLMRulesSession(self, host) }
}

final class LLMRulesSession: LanguageModelSession {
    /// Answers of this call that can still be recognised among the messages.
    private static let saidMax = 64

    private let provider: LLMRules
    private let host: SessionHost
    private var said: [(text: String, intent: String)] = []

    init(_ provider: LLMRules, _ host: SessionHost) {
        self.provider = provider
        self.host = host
    }

    func answer(_ question: Question) {
        let messages = question.messages
        guard let latest = messages.last, latest["role"]?.string == "user", let utterance = Self.text(of: latest) else {
            return afterTool(messages.last, question)
        }
        // What was answered before is read from the conversation and not remembered, because an answer may have been
        // thrown away, cut short by the caller, or given by another model.
        let intents = messages.dropLast().compactMap { $0["role"]?.string == "assistant" ? intent(of: $0) ?? "" : nil }
        let answer = provider.knowledge.answer(utterance, after: intents.last) { name in intents.count { $0 == name } }
        guard let answer else {
            provider.declined.record()
            return question.finish(.declined)
        }
        provider.answered.record()
        host.log.debug(
            "understood", (name: "intent", value: answer.intent), (name: "confidence", value: String(answer.confidence))
        )
        if said.count == Self.saidMax { said.removeFirst() }
        said.append((answer.text, answer.intent))

        guard question.emit(.delta(answer.text)) == .accepted else { return }
        if let action = answer.action, let call = toolCall(for: action, offered: question.toolsText) {
            guard question.emit(.toolCall(call)) == .accepted else { return }
            question.finish(.toolCalls)
        } else {
            question.finish(.stop)
        }
    }

    /// Asked again with the result of one of its own tool calls, it has nothing to add; else the next model has.
    private func afterTool(_ latest: JSONValue?, _ question: Question) {
        let isOwn = latest?["role"]?.string == "tool" && (latest?["tool_call_id"]?.string ?? "").hasPrefix("rules-")
        question.finish(isOwn ? .stop : .declined)
    }

    /// The intent that was answered with this message, as far as the caller heard it.
    private func intent(of message: JSONValue) -> String? {
        guard let text = Self.text(of: message), !text.isEmpty else { return nil }
        return said.last { $0.text.hasPrefix(text) || text.hasPrefix($0.text) }?.intent
    }

    private static func text(of message: JSONValue) -> String? {
        if let text = message["content"]?.string { return text }
        return message["content"]?.array?.compactMap { $0["text"]?.string }.joined()
    }

    /// The call for an action, with the argument that the host's tool asks for; nil where the host offers no such tool.
    private func toolCall(for action: KnowledgeAction, offered toolsText: String) -> ToolCall? {
        let name: String
        let target: String?
        switch action {
        case .transfer(let to): (name, target) = (provider.transferTool, to)
        case .goodbye: (name, target) = (provider.goodbyeTool, nil)
        }
        let tools = (try? JSONValue(parsing: toolsText))?.array ?? []
        guard let tool = tools.first(where: { $0["function"]?["name"]?.string == name }) else {
            host.log.warning(
                "the knowledge file asks for a tool that this call does not have", (name: "tool", value: name))
            return nil
        }
        let parameters = tool["function"]?["parameters"]
        let argument =
            parameters?["required"]?.array?.first?.string ?? parameters?["properties"]?.object?.keys.sorted().first
        let arguments: JSONValue = target.map { .object([argument ?? "target": .string($0)]) } ?? [:]
        return ToolCall(id: "rules-\(said.count)", name: name, arguments: arguments.text)
    }
}
