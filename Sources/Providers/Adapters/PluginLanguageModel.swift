// A language model behind the C line, as a conversation knows it.
//
// Messages and tools go over the line in the shape of OpenAI's chat, because every vendor speaks it. A model without
// `tool_result` is asked anew with the results among the messages, under the same request, so that a conversation need
// not know the difference.

import Calls
import JSON
import PluginABI
import Synchronization

final class PluginLanguageModel: LanguageModelSession, PluginSessionDelegate, @unchecked Sendable {
    private let provider: Provider
    private let mailbox: CallMailbox
    private let tools: String
    private let options: String
    private var session: PluginSession!
    private var ops = vc_llm_ops()

    /// A request that is not done.
    private struct Open {
        var ticket: Ticket
        var messages: [Message]
        var isSpeculative: Bool
        var hasDelta = false
        var text = ""
        var calls: [ToolCall] = []
        var results: [String: String] = [:]
        /// It has said that it waits for results: there are no more calls to come.
        var waits = false
    }
    /// As many as a turn may make; the oldest cannot be wanted any more.
    private static let openMax = 64
    private let open = Mutex<[UInt64: Open]>([:])

    static func open(
        _ instance: ProviderInstance, as provider: Provider, _ request: SessionRequest, tools: JSONValue,
        options: JSONValue,
        mailbox: CallMailbox
    ) throws(ProviderFailure) -> PluginLanguageModel {
        let adapter = PluginLanguageModel(provider, mailbox, tools, options)
        adapter.session = try PluginSession.open(instance, request, delegate: adapter)
        adapter.ops = try adapter.session.kindTable(vc_llm_ops.self, "vc_llm_ops") { [("request", $0.request != nil)] }
        return adapter
    }

    private init(_ provider: Provider, _ mailbox: CallMailbox, _ tools: JSONValue, _ options: JSONValue) {
        self.provider = provider
        self.mailbox = mailbox
        self.tools = tools.text
        self.options = options.text
    }

    // MARK: LanguageModelSession

    func request(_ request: LanguageModelRequest) {
        // Told already, unless the epoch began while the session was being opened.
        session.cancel(olderThan: request.ticket.epoch)
        open.withLock { open in
            open = open.filter { $0.value.ticket.epoch >= request.ticket.epoch }
            if open.count >= Self.openMax, let oldest = open.keys.min() { open[oldest] = nil }
            open[request.ticket.request] = Open(
                ticket: request.ticket, messages: request.messages, isSpeculative: request.speculative)
        }
        ask(request.ticket, request.messages, request.speculative)
    }

    func toolResult(_ ticket: Ticket, call: String, json: String) {
        if let toolResult = ops.tool_result {
            session.ask("tool_result", epoch: ticket.epoch) { [self] theirs in
                let status = withStr(call) { call in withStr(json) { toolResult(theirs, ticket.request, call, $0) } }
                if status != VC_OK { fail(ticket, status, "tool_result") }
            }
            return
        }
        open.withLock { $0[ticket.request]?.results[call] = json }
        askAgain(ticket)
    }

    /// Once the model waits and every call has its result, in whichever order the two came to be: a tool may answer
    /// before the model has made its second call.
    private func askAgain(_ ticket: Ticket) {
        let again: Open? = open.withLock { open in
            guard var asked = open[ticket.request], asked.waits,
                asked.calls.allSatisfy({ asked.results[$0.id] != nil })
            else { return nil }
            asked.messages.append(Message(.agent, asked.text, toolCalls: asked.calls))
            asked.messages += asked.calls.map { Message(.tool, asked.results[$0.id] ?? "", toolCallID: $0.id) }
            asked.text = ""
            asked.calls = []
            asked.results = [:]
            asked.waits = false
            open[ticket.request] = asked
            return asked
        }
        if let again { ask(ticket, again.messages, again.isSpeculative) }
    }

    func cancel(olderThan epoch: UInt64) { session.cancel(olderThan: epoch) }

    func close() { session.close() }

    private func ask(_ ticket: Ticket, _ messages: [Message], _ speculative: Bool) {
        let json = JSONValue.array(messages.map(\.json)).text
        let slot = ops.request!
        let asked = session.ask("request", epoch: ticket.epoch) { [self] theirs in
            let status = withStr(json) { messages in
                withStr(tools) { tools in
                    withStr(options) { options in
                        var request = vc_llm_request(
                            size: sizeOnTheLine(vc_llm_request.self),
                            flags: speculative ? UInt32(VC_LLM_SPECULATIVE) : 0,
                            request: ticket.request, epoch: ticket.epoch, messages: messages, tools: tools,
                            options: options)
                        return slot(theirs, &request)
                    }
                }
            }
            if status != VC_OK { fail(ticket, status, "request") }
        }
        if !asked { fail(ticket, vc_status(VC_E_AGAIN), "request") }
    }

    /// Reported from the deadlines' thread, because a session never calls the mailbox from within its own methods.
    private func fail(_ ticket: Ticket, _ status: vc_status, _ what: String) {
        open.withLock { $0[ticket.request] = nil }
        let failure = ProviderFailure(status: status, during: what)
        SessionDeadlines.shared.schedule { [mailbox, provider] in mailbox.failed(provider, ticket, failure) }
    }

    // MARK: PluginSessionDelegate

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        let request = event.pointee.request
        let ticket = Ticket(epoch: event.pointee.epoch, request: request)
        guard let state = open.withLock({ $0[request] }), state.ticket == ticket else {
            session.instance.faults.note(
                .eventRequest, call: session.object.call, "emitted an event for request \(request), which is not open")
            return vc_status(VC_E_ARGUMENT)
        }
        let raw = UnsafeRawPointer(event)
        switch type {
        case VC_EVENT_DELTA:
            guard let text = String(raw.load(as: vc_event_delta.self).text), !text.isEmpty else {
                return session.broken("DELTA", "a text that is empty or not UTF-8")
            }
            return post(.delta(text), ticket) { open in
                open.hasDelta = true
                open.text += text
            }
        case VC_EVENT_TOOL_CALL:
            let body = raw.load(as: vc_event_tool_call.self)
            guard let id = String(body.call), let name = String(body.name), let arguments = String(body.arguments),
                !name.isEmpty
            else {
                return session.broken("TOOL_CALL", "a text that is missing or not UTF-8")
            }
            guard (try? JSONValue(parsing: arguments))?.object != nil else {
                return session.broken("TOOL_CALL", "arguments that are no JSON object")
            }
            let call = ToolCall(id: id, name: name, arguments: arguments)
            return post(.toolCall(call), ticket) { $0.calls.append(call) }
        case VC_EVENT_USAGE:
            let body = raw.load(as: vc_event_usage.self)
            return post(
                .usage(
                    promptTokens: Int(clamping: body.input_tokens),
                    completionTokens: Int(clamping: body.output_tokens)),
                ticket)
        case VC_EVENT_LLM_DONE:
            return done(Int(raw.load(as: vc_event_llm_done.self).reason), ticket, state)
        default:
            return vc_status(VC_E_ARGUMENT)
        }
    }

    private func done(_ reason: Int, _ ticket: Ticket, _ state: Open) -> vc_status {
        let finish: LanguageModelEvent.Finish
        switch reason {
        case VC_LLM_STOP: finish = .stop
        case VC_LLM_LENGTH: finish = .length
        case VC_LLM_TOOL: finish = .toolCalls
        case VC_LLM_CANCELED: finish = .canceled
        case VC_LLM_DECLINED:
            guard !state.hasDelta else {
                session.instance.faults.note(
                    .declinedAfterDelta, call: session.object.call,
                    "declined a request after its first DELTA; only before it may be")
                // Half an answer is not a refusal: the conversation hears of a failure, and the plugin of its fault.
                open.withLock { $0[ticket.request] = nil }
                mailbox.failed(
                    provider, ticket,
                    ProviderFailure(
                        code: .misbehaved, retryable: false,
                        message: "\(provider.name) declined in the middle of its answer"))
                return vc_status(VC_E_ARGUMENT)
            }
            finish = .declined
        default: return session.broken("LLM_DONE", "reason \(reason)")
        }
        // With TOOL the model goes on under the same request once it has its results.
        let status = post(.done(finish), ticket) { $0.waits = finish == .toolCalls } onAccept: { open in
            if finish != .toolCalls { open[ticket.request] = nil }
        }
        // From the deadlines' thread: asking is a call into the plugin, which is in the middle of telling us.
        if finish == .toolCalls, status == VC_OK, ops.tool_result == nil {
            SessionDeadlines.shared.schedule { [weak self] in self?.askAgain(ticket) }
        }
        return status
    }

    private func post(
        _ event: LanguageModelEvent, _ ticket: Ticket, _ change: (inout Open) -> Void = { _ in },
        onAccept: (inout [UInt64: Open]) -> Void = { _ in }
    ) -> vc_status {
        let outcome = mailbox.post(.languageModel(ticket, event))
        switch outcome {
        case .accepted:
            open.withLock { open in
                if var state = open[ticket.request] {
                    change(&state)
                    open[ticket.request] = state
                }
                onAccept(&open)
            }
        case .full:
            // The mailbox empties in a turn of the loop, and nobody else tells a model to go on.
            let limits = session.instance.limits
            SessionDeadlines.shared.schedule(afterMs: limits.creditAfterMs) { [weak self] in
                self?.session.credit(events: 64, bytes: 0)
            }
        case .canceled, .stale: break
        }
        return outcome.status
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {
        open.withLock { $0[request] = nil }
        mailbox.failed(provider, Ticket(epoch: epoch, request: request), failure)
    }

    func lost(_ failure: ProviderFailure) { mailbox.failed(provider, nil, failure) }
}

extension Message {
    /// In the shape of OpenAI's chat.
    fileprivate var json: JSONValue {
        let name =
            switch role {
            case .system: "system"
            case .caller: "user"
            case .agent: "assistant"
            case .tool: "tool"
            }
        var members: [String: JSONValue] = ["role": .string(name), "content": .string(text)]
        if role == .tool { members["tool_call_id"] = .string(toolCallID) }
        if !toolCalls.isEmpty {
            members["tool_calls"] = .array(
                toolCalls.map { call in
                    [
                        "id": .string(call.id), "type": "function",
                        "function": ["name": .string(call.name), "arguments": .string(call.arguments)],
                    ]
                })
        }
        return .object(members)
    }
}
