// Language models: the conversation in, words and tool calls out.

public import JSON
import PluginABI

/// A provider of a language model.
public protocol LanguageModel: Provider {
    associatedtype Session: LanguageModelSession
    /// Opens the session of one call. Answers at once.
    func open(_ host: SessionHost) throws(PluginError) -> Session
}

/// A language model in one call.
public protocol LanguageModelSession: ProviderSession {
    /// Asks. The answer goes to `question.emit`, now or later, and ends with `finish` or `fail`, once.
    ///
    /// More than one may be asked at a time; after `cancel` those that are not finished are, without further ado.
    func answer(_ question: Question)
}

/// More of an answer.
public enum AnswerPart: Sendable, Equatable {
    /// More of the text. What is empty is left out.
    case delta(String)
    /// A function to be called: complete, with arguments that are a JSON object.
    case toolCall(ToolCall)
    case usage(TokenUsage)
}

/// A function that the model wants called.
public struct ToolCall: Sendable, Equatable {
    /// Names the call when its result comes back.
    public var id: String
    public var name: String
    /// A JSON object.
    public var arguments: String

    public init(id: String, name: String, arguments: String) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }
}

public struct TokenUsage: Sendable, Equatable {
    public var inputTokens: Int
    /// Those of the input that the provider had already.
    public var cachedTokens: Int
    public var outputTokens: Int

    public init(inputTokens: Int, cachedTokens: Int = 0, outputTokens: Int) {
        self.inputTokens = inputTokens
        self.cachedTokens = cachedTokens
        self.outputTokens = outputTokens
    }
}

/// Why an answer ended.
public enum AnswerEnd: UInt32, Sendable {
    case stop = 1
    /// The token limit cut it off.
    case length = 2
    /// The model waits for tool results.
    case toolCalls = 3
    case canceled = 4
    /// Not mine: ask the next provider in the chain. Only before the first delta, and no failure.
    case declined = 5
}

/// One question to the model, and the way back for its answer.
public final class Question {
    public let request: UInt64
    public let epoch: UInt64
    /// JSON array in the shape of OpenAI's chat: role, content, tool_calls, tool_call_id.
    public let messagesText: String
    /// JSON array of function tools in the same shape; "[]" when there are none.
    public let toolsText: String
    /// JSON object: temperature, max_tokens, stop, ...; "{}" when all is left to the provider.
    public let optionsText: String
    /// The turn is not confirmed yet: the answer may be thrown away.
    public let isSpeculative: Bool

    /// No answer is wanted any more.
    public private(set) var isFinished = false
    private var hasSpoken = false
    private unowned let session: LanguageModelOpenSession

    fileprivate init(_ request: vc_llm_request, _ session: LanguageModelOpenSession) {
        self.request = request.request
        epoch = request.epoch
        messagesText = String(request.messages)
        toolsText = String(request.tools)
        optionsText = String(request.options)
        isSpeculative = request.flags & UInt32(VC_LLM_SPECULATIVE) != 0
        self.session = session
    }

    /// The messages, parsed; empty when the host sent nonsense.
    public var messages: [JSONValue] { (try? JSONValue(parsing: messagesText))?.array ?? [] }
    public var options: JSONValue { (try? JSONValue(parsing: optionsText)) ?? [:] }

    /// Hands over more of the answer.
    @discardableResult
    public func emit(_ part: AnswerPart) -> Outcome {
        guard !isFinished else { return .canceled }
        switch part {
        case .delta(let text):
            if text.isEmpty { return .accepted }
            hasSpoken = true
            return session.host.post(.delta(text), epoch: epoch, request: request)
        case .toolCall(let call): return session.host.post(.toolCall(call), epoch: epoch, request: request)
        case .usage(let usage): return session.host.post(.usage(usage), epoch: epoch, request: request)
        }
    }

    /// The answer is complete. Once; what comes after it is not heard.
    public func finish(_ end: AnswerEnd) {
        guard !isFinished else { return }
        var end = end
        if end == .declined && hasSpoken {
            session.host.log.pluginFault(
                "declined after the first delta; only a question not answered yet can be declined")
            end = .stop
        }
        isFinished = true
        session.remove(self)
        _ = session.host.post(.answered(end), epoch: epoch, request: request)
    }

    /// The answer failed. The session goes on: the host may ask again, or another model.
    public func fail(_ error: PluginError) {
        guard !isFinished else { return }
        isFinished = true
        session.remove(self)
        _ = session.host.post(.error(error, isFatal: false), epoch: epoch, request: request)
    }

    fileprivate func cancel() {
        guard !isFinished else { return }
        isFinished = true
        session.host.postCanceled(.answered(.canceled), epoch: epoch, request: request)
    }

    fileprivate func forget() { isFinished = true }
}

extension LanguageModel {
    public static var _kind: ProviderKind { .languageModel }

    public func _open(_ request: OpenRequest) throws(PluginError) -> OpenSession {
        let host = try SessionHost(request.open)
        return LanguageModelOpenSession(host, try open(host))
    }
}

private final class LanguageModelOpenSession: OpenSession {
    /// A conversation asks one question at a time, and one speculatively; more than this is a host gone wrong.
    static let questionsMax = 8

    private let author: any LanguageModelSession
    private var questions: [Question] = []

    init(_ host: SessionHost, _ author: any LanguageModelSession) {
        self.author = author
        super.init(host, author, UnsafeRawPointer(languageModelOps.pointer))
    }

    func ask(_ request: vc_llm_request) -> vc_status {
        // The epoch of a question can be news to us: the host raises it first, and tells us when it gets to it.
        if host.raiseEpoch(to: request.epoch) { host.settle() }
        guard request.epoch >= host.epoch else { return vc_status(VC_E_CANCELED) }
        guard questions.count < Self.questionsMax else { return vc_status(VC_E_AGAIN) }
        let question = Question(request, self)
        questions.append(question)
        author.answer(question)
        return vc_status(VC_OK)
    }

    func remove(_ question: Question) { questions.removeAll { $0 === question } }

    override func canceled() {
        let epoch = host.epoch
        for question in questions where question.epoch < epoch { question.cancel() }
        questions.removeAll { $0.epoch < epoch }
        super.canceled()
    }

    override func forgetRequests() {
        for question in questions { question.forget() }
        questions = []
    }
}

private let languageModelOps = ConstantTable(
    vc_llm_ops(
        size: UInt32(MemoryLayout<vc_llm_ops>.size), reserved: 0, request: languageModelRequest,
        // The host asks anew with the results among the messages, which is how every vendor's API works as well.
        tool_result: nil))

private func languageModelRequest(_ self_: UnsafeMutableRawPointer?, _ request: UnsafePointer<vc_llm_request>)
    -> vc_status
{
    guard request.pointee.size >= UInt32(MemoryLayout<vc_llm_request>.size) else { return vc_status(VC_E_ARGUMENT) }
    return withSession(self_, as: LanguageModelOpenSession.self) { $0.ask(request.pointee) }
}
