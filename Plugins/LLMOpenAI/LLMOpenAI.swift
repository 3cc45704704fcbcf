// Any language model behind OpenAI's chat completions: OpenAI itself, Groq, vLLM, llama.cpp, xllamacpp.
//
// One plugin for all of them, because they differ in details that belong to the reading of their answers
// (`ChatStream`), not in what is asked. A request is tried again only while nothing of its answer was said, and only
// once: a caller who waits for the first word is better served by the next provider of the chain than by a patient one.

import ChatStream
import JSON
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(LLMOpenAI.self, host, module)
}

final class LLMOpenAI: LanguageModel {
    static let id = "org.vchost.llm-openai"

    let url: String
    let headers: [(name: String, value: String)]
    let request: ChatRequest
    /// Whom errors name: the host part of the address.
    let vendor: String
    let timeoutMs: Int
    let firstTokenMs: Int
    let retries: Int

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

        var headers = [(name: "Content-Type", value: "application/json"), (name: "Accept", value: "text/event-stream")]
        if let key = configuration.text("api_key"), !key.isEmpty {
            headers.append((name: "Authorization", value: "Bearer \(key)"))
        }
        self.headers = headers

        let tokenLimitName = configuration.text("token_limit_name") ?? "max_tokens"
        var fixed: [String: JSONValue] = [:]
        if let extra = configuration.text("extra"), !extra.isEmpty {
            guard let fields = try? JSONValue(parsing: extra).object else {
                throw PluginError(
                    .configuration, "`extra` is \"\(extra)\", which is no JSON object; write {\"seed\": 1}, say")
            }
            fixed = fields
        }
        if let model = configuration.text("model"), !model.isEmpty { fixed["model"] = .string(model) }
        if let temperature = configuration.number("temperature") { fixed["temperature"] = .number(temperature) }
        if let limit = configuration.integer("max_tokens"), limit > 0 { fixed[tokenLimitName] = .integer(Int64(limit)) }
        if let stop = configuration.texts("stop"), !stop.isEmpty { fixed["stop"] = .array(stop.map { .string($0) }) }
        if configuration.flag("usage") ?? true { fixed["stream_options"] = ["include_usage": true] }
        request = ChatRequest(fixed: fixed, tokenLimitName: tokenLimitName)

        timeoutMs = configuration.integer("timeout_ms") ?? 30000
        firstTokenMs = configuration.integer("first_token_ms") ?? 5000
        retries = configuration.integer("retries") ?? 1
    }

    func open(_ host: SessionHost) -> LLMOpenAISession {
        host.http.prewarm(url)
        return LLMOpenAISession(self, host)
    }
}

final class LLMOpenAISession: LanguageModelSession {
    private let provider: LLMOpenAI
    private let host: SessionHost

    init(_ provider: LLMOpenAI, _ host: SessionHost) {
        self.provider = provider
        self.host = host
    }

    func answer(_ question: Question) { attempt(question, retriesLeft: provider.retries) }

    private func attempt(_ question: Question, retriesLeft: Int) {
        guard !question.isFinished else { return }
        let body = provider.request.body(
            messages: question.messagesText, tools: question.toolsText, options: question.options)
        let attempt = Attempt(self, question, retriesLeft: retriesLeft)
        do throws(PluginError) {
            attempt.exchange = try host.http.start(
                HTTPRequest(
                    "POST", provider.url, headers: provider.headers, body: .text(body), deadlineMs: provider.timeoutMs,
                    firstByteMs: provider.firstTokenMs)
            ) { attempt.heard($0) }
        } catch {
            question.fail(error)
        }
    }

    /// A request for one question, and what came of it.
    private final class Attempt {
        /// No refusal needs more words than this.
        static let refusalBytesMax = 64 << 10

        let session: LLMOpenAISession
        let question: Question
        let retriesLeft: Int
        var exchange: HTTPExchange?
        var response = HTTPResponse(status: 0, headers: [])
        var events = ServerSentEvents()
        var answer = ChatAnswer()
        var refusal: [UInt8] = []

        init(_ session: LLMOpenAISession, _ question: Question, retriesLeft: Int) {
            self.session = session
            self.question = question
            self.retriesLeft = retriesLeft
        }

        func heard(_ event: HTTPEvent) {
            switch event {
            case .response(let response): self.response = response
            case .data(let bytes) where response.status == 200:
                for event in events.feed(bytes) { follow(answer.take(event)) }
                if events.isOverflown {
                    fail(PluginError(.vendor, "\(session.provider.vendor) sent an event of more than a mebibyte"))
                }
            case .data(let bytes): refusal += bytes.prefix(Self.refusalBytesMax - refusal.count)
            case .done where response.status == 200: follow(answer.end())
            case .done:
                fail(
                    VendorError(body: refusal).pluginError(
                        status: response.status, vendor: session.provider.vendor,
                        retryAfterMs: VendorError.retryAfterMs(response)))
            case .failed(let error): fail(error)
            }
        }

        private func follow(_ steps: [ChatStep]) {
            for step in steps {
                switch step {
                case .emit(let part):
                    switch question.emit(part) {
                    case .accepted: break
                    case .noCredit:
                        // Megabytes wait to be said: whatever this is, it is no answer to a caller any more.
                        question.finish(.length)
                        exchange?.cancel()
                    case .canceled, .gone: exchange?.cancel()
                    }
                case .finish(let end): question.finish(end)
                case .fail(let error): fail(error)
                }
            }
        }

        /// Tries once more where that can help and nothing was said yet; else the question has failed.
        private func fail(_ error: PluginError) {
            exchange?.cancel()
            let isWorthwhile = error.isRetryable && error.retryAfterMs <= 500 && !answer.hasOutput && retriesLeft > 0
            guard isWorthwhile else { return question.fail(error) }
            session.host.log.info("asking once more", (name: "after", value: error.message))
            let (session, question, retriesLeft) = (session, question, retriesLeft)
            let timer = session.host.timers.after(max(50, error.retryAfterMs)) { [weak session] in
                session?.attempt(question, retriesLeft: retriesLeft - 1)
            }
            if timer == nil { question.fail(error) }
        }
    }
}
