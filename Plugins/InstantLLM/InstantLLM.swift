// A language model that knows nothing and answers at once: for load tests, where a real one would be what is measured,
// and as the smallest example of one. It needs no model, no network and no service of the host.

import JSON
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(InstantLLM.self, host, module)
}

final class InstantLLM: LanguageModel {
    static let id = "org.vchost.llm-instant"

    /// What is answered to everything; empty: the caller's own words.
    let reply: String

    init(_ host: ProviderHost) throws(PluginError) {
        reply = host.configuration.text("reply") ?? ""
    }

    func open(_ host: SessionHost) -> InstantLLMSession { InstantLLMSession(self) }
}

final class InstantLLMSession: LanguageModelSession {
    private let provider: InstantLLM

    init(_ provider: InstantLLM) { self.provider = provider }

    func answer(_ question: Question) {
        let reply = provider.reply.isEmpty ? Self.latestWords(of: question.messages) : provider.reply
        var count = 0
        for token in Self.tokens(of: reply) {
            switch question.emit(.delta(token)) {
            case .accepted: count += 1
            // Thousands of words wait already. A real model would hold back here; this one has said enough.
            case .noCredit: return question.finish(.length)
            case .canceled, .gone: return
            }
        }
        question.emit(.usage(TokenUsage(inputTokens: question.messages.count, outputTokens: count)))
        question.finish(.stop)
    }

    /// What the user said last.
    private static func latestWords(of messages: [JSONValue]) -> String {
        let latest = messages.last { $0["role"]?.string == "user" }
        return latest?["content"]?.string ?? "I have nothing to repeat."
    }

    /// Words, each with the space behind it: what a real model's tokens come to.
    private static func tokens(of text: String) -> [String] {
        var tokens: [String] = []
        var start = text.startIndex
        while start < text.endIndex {
            let end = text[start...].firstIndex(of: " ").map(text.index(after:)) ?? text.endIndex
            tokens.append(String(text[start..<end]))
            start = end
        }
        return tokens
    }
}
