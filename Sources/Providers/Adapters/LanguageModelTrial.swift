// A language model that is asked without a call around it, for `vchost models bench`.
//
// Not by way of `PluginLanguageModel`: that one speaks to a conversation's mailbox, whose loop would be part of what is
// measured. Times are taken within `emit`, where the plugin's event crosses the line, so they hold what the plugin and
// the vendor took and nothing of ours.

public import Calls
public import JSON
import PluginABI

/// One answer, with the times of its parts on the host's clock.
public struct TimedAnswer: Sendable {
    public enum End: Sendable {
        case complete
        /// The token limit cut it off.
        case length
        /// The provider said that the question was not its own.
        case declined
        case failed(ProviderFailure)
    }

    public var askedNs: UInt64
    public var end = End.complete
    /// Of the first words, or of the first function that was called.
    public var firstNs: UInt64?
    public var lastNs: UInt64?
    public var endNs: UInt64 = 0
    public var text = ""
    /// Pieces in which the text came; most servers send one for each token.
    public var pieces = 0
    public var toolCalls: [String] = []
    /// As the provider counts them; nil when it does not.
    public var inputTokens: Int?
    public var cachedTokens: Int?
    public var outputTokens: Int?

    public init(askedNs: UInt64) { self.askedNs = askedNs }
}

/// A session of a running provider, to be asked one question after the other.
public final class LanguageModelTrial: PluginSessionDelegate, Sendable {
    private struct State {
        var request: UInt64 = 0
        var answer = TimedAnswer(askedNs: 0)
        var isOver = true
        var loss: ProviderFailure?
    }

    private final class Link: @unchecked Sendable {
        var session: PluginSession!
        var ops = vc_llm_ops()
    }

    private let state = Waiting(State())
    private let link = Link()

    /// Opens a session.
    ///
    /// - Parameter language: BCP 47, or empty.
    public init(_ instance: ProviderInstance, language: String) throws(ProviderFailure) {
        var request = SessionRequest()
        request.call = "bench"
        request.language = language
        request.epoch = 1
        request.configuration = try instance.sessionConfiguration()
        link.session = try PluginSession.open(instance, request, delegate: self)
        link.ops = try link.session.kindTable(vc_llm_ops.self, "vc_llm_ops") { [("request", $0.request != nil)] }
    }

    /// Asks and waits for the end of the answer. Messages, tools and options in the shape of OpenAI's chat.
    public func ask(
        messages: JSONValue, tools: JSONValue = [], options: JSONValue = [:], timeoutMs: Int
    ) -> TimedAnswer {
        let asked = hostClockNs()
        let request = state.withLock { state in
            state.request += 1
            state.answer = TimedAnswer(askedNs: asked)
            state.isOver = false
            if let loss = state.loss { end(&state, .failed(loss)) }
            return state.request
        }
        // An epoch for each question: what is still on its way when one has taken too long is void.
        link.session.cancel(olderThan: request)
        let (messages, tools, options) = (messages.text, tools.text, options.text)
        let isTaken = link.session.ask("request", epoch: request) { [self] theirs in
            let status = withStr(messages) { messages in
                withStr(tools) { tools in
                    withStr(options) { options in
                        var question = vc_llm_request(
                            size: sizeOnTheLine(vc_llm_request.self), flags: 0, request: request, epoch: request,
                            messages: messages, tools: tools, options: options)
                        return link.ops.request!(theirs, &question)
                    }
                }
            }
            if status != VC_OK { finish(request, .failed(ProviderFailure(status: status, during: "request"))) }
        }
        if !isTaken { finish(request, .failed(ProviderFailure(status: vc_status(VC_E_CLOSED), during: "request"))) }
        let until = asked + UInt64(timeoutMs) * 1_000_000
        _ = state.wait(until: { _ in until }) { $0.isOver ? true : nil }
        finish(
            request,
            .failed(
                ProviderFailure(
                    code: .timeout, retryable: true,
                    message: "\(link.session.instance.name) did not end its answer within \(timeoutMs) ms")))
        return state.withLock { $0.answer }
    }

    /// Ends the session; the provider may be destroyed when it has none.
    public func close() { link.session.close() }

    private func finish(_ request: UInt64, _ how: TimedAnswer.End) {
        state.change { state in if state.request == request { end(&state, how) } }
    }

    private func end(_ state: inout State, _ how: TimedAnswer.End) {
        guard !state.isOver else { return }
        state.isOver = true
        state.answer.end = how
        state.answer.endNs = hostClockNs()
    }

    // MARK: PluginSessionDelegate

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        let now = hostClockNs()
        let raw = UnsafeRawPointer(event)
        let request = event.pointee.request
        switch type {
        case VC_EVENT_DELTA:
            let text = String(raw.load(as: vc_event_delta.self).text) ?? ""
            note(request, at: now) { answer in
                answer.text += text
                answer.pieces += 1
            }
        case VC_EVENT_TOOL_CALL:
            let name = String(raw.load(as: vc_event_tool_call.self).name) ?? ""
            note(request, at: now) { $0.toolCalls.append(name) }
        case VC_EVENT_USAGE:
            let usage = raw.load(as: vc_event_usage.self)
            state.withLock { state in
                guard state.request == request, !state.isOver else { return }
                state.answer.inputTokens = Int(clamping: usage.input_tokens)
                state.answer.cachedTokens = Int(clamping: usage.cached_tokens)
                state.answer.outputTokens = Int(clamping: usage.output_tokens)
            }
        case VC_EVENT_LLM_DONE:
            switch Int(raw.load(as: vc_event_llm_done.self).reason) {
            case VC_LLM_LENGTH: finish(request, .length)
            case VC_LLM_DECLINED: finish(request, .declined)
            default: finish(request, .complete)
            }
        default: return vc_status(VC_E_ARGUMENT)
        }
        return vc_status(VC_OK)
    }

    private func note(_ request: UInt64, at now: UInt64, _ change: (inout TimedAnswer) -> Void) {
        state.withLock { state in
            guard state.request == request, !state.isOver else { return }
            if state.answer.firstNs == nil { state.answer.firstNs = now }
            state.answer.lastNs = now
            change(&state.answer)
        }
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {
        finish(request, .failed(failure))
    }

    func lost(_ failure: ProviderFailure) {
        state.change { state in
            state.loss = failure
            end(&state, .failed(failure))
        }
    }
}
