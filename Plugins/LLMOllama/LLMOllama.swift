// A language model in Ollama, by its own API.
//
// Ollama also answers in OpenAI's shape, which LLMOpenAI speaks. Its own API is worth a plugin because three things
// that matter at a telephone can only be said there: that the model shall not think first, that it shall stay in
// memory with the same context from the first call on, and that a model that is missing shall be fetched.

import ChatStream
import JSON
import OllamaChat
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(LLMOllama.self, host, module)
}

final class LLMOllama: LanguageModel, ChatVendor {
    static let id = "org.vchost.llm-ollama"

    let vendor: String
    let patience: Patience
    let settings: OllamaSettings
    let model: OllamaModel

    init(_ host: ProviderHost) throws(PluginError) {
        settings = try OllamaSettings(host.configuration)
        vendor = "Ollama at \(settings.authority)"
        patience = Patience(host.configuration)
        model = OllamaModel(settings, host)
    }

    /// Ready at once: a server that is down, or a model that takes minutes to come, must not keep the host waiting.
    func start() { model.prepare() }

    func open(_ host: SessionHost) -> LLMOllamaSession {
        host.http.prewarm(settings.address("/api/chat"))
        model.prepare()
        return LLMOllamaSession(self, host)
    }

    // MARK: ChatVendor

    func request(for question: Question) -> HTTPRequest {
        let body = settings.request(withThink: model.takesThink).body(
            messages: question.messages, tools: question.toolsText, wishes: question.options,
            hasTools: settings.hasTools && model.takesTools)
        return settings.post("/api/chat", body, deadlineMs: settings.timeoutMs, firstByteMs: settings.firstTokenMs)
    }

    func reader(for question: Question) -> OllamaAnswer {
        OllamaAnswer(callsBefore: OllamaRequest.callCount(question.messages))
    }

    func learns(from refusal: VendorError, status: Int) -> Bool {
        status == 400 && model.learns(from: refusal.message)
    }

    func mend(for refusal: VendorError, status: Int) -> String? {
        guard status == 404 else { return nil }
        model.wentMissing()
        return "`ollama pull \(settings.model)`, or set `pull = yes`"
    }
}

final class LLMOllamaSession: LanguageModelSession {
    private let provider: LLMOllama
    private let host: SessionHost

    init(_ provider: LLMOllama, _ host: SessionHost) {
        self.provider = provider
        self.host = host
    }

    func answer(_ question: Question) {
        if let percent = provider.model.percentPulled {
            // The host has others to ask, and Ollama would refuse.
            return question.fail(
                PluginError(
                    .notFound, "\(provider.settings.model) is still being pulled, \(percent) % are there",
                    isRetryable: true, retryAfterMs: 5_000, vendor: "Ollama"))
        }
        provider.model.wasUsed()
        StreamedAnswer.ask(provider, question, on: host)
    }
}
