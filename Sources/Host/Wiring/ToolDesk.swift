// What the language models of a call may do: the tools of its profile, offered and run.
//
// Those that are built in act on the call itself; the conversation carries them out once what the agent is saying has
// been heard, so a model may say goodbye and call `end_call` in one breath. Those of the configuration are requests to
// somebody's server. The conversation has decided before that a tool may run, and waits no longer than it said; here it
// is only done.

import Calls
import Control
import HostServices
import JSON

final class ToolDesk: CallTools {
    private struct Remote {
        let declaration: ToolDeclaration
        let requests: HostRequests
    }

    private let remote: [String: Remote]
    private let targets: [String: String]
    private let offers: [String: JSONValue]
    private let takesDigits: @Sendable (CallIdentity) -> Bool

    /// - Parameter takesDigits: whether there is a way for digits to the far end of a call.
    init(
        _ profiles: [CallProfile], _ configuration: Configuration,
        takesDigits: @escaping @Sendable (CallIdentity) -> Bool
    ) {
        self.takesDigits = takesDigits
        var remote: [String: Remote] = [:]
        for section in configuration.sections(of: "tool") {
            let declaration = ToolDeclaration(section, in: configuration)
            remote[declaration.name] = Remote(
                declaration: declaration, requests: HostRequests(name: section.name, secrets: declaration.secrets))
        }
        self.remote = remote
        targets = Dictionary(profiles.map { ($0.name, $0.transferTarget) }, uniquingKeysWith: { first, _ in first })
        offers = Dictionary(
            profiles.map { profile in
                let offers = profile.tools.compactMap { name in
                    name.hasPrefix("tool.")
                        ? remote[String(name.dropFirst(5))]?.declaration.offer
                        : BuiltInTools.offer(of: name, transferTarget: profile.transferTarget)
                }
                return (profile.name, .array(offers))
            }, uniquingKeysWith: { first, _ in first })
    }

    /// The tools of a profile, as a language model is told of them.
    func offer(to profile: String) -> JSONValue { offers[profile] ?? [] }

    func run(_ call: ToolCall, ticket: Ticket, for identity: CallIdentity, mailbox: CallMailbox) {
        guard let tool = remote[call.name] else {
            var result = BuiltInTools.result(of: call, transferTarget: targets[identity.profile] ?? "")
            if case .control(.sendDTMF) = result, !takesDigits(identity) { result = BuiltInTools.noWayForDigits }
            mailbox.post(.toolResult(ticket, call: call.id, result))
            return
        }
        let request: ToolDeclaration.Request
        do throws(ToolFailure) {
            request = try tool.declaration.request(call, for: identity)
        } catch {
            mailbox.post(.toolResult(ticket, call: call.id, .failed(error)))
            return
        }
        let declaration = tool.declaration
        tool.requests.send(
            HostRequests.Request(
                request.method, request.url, headers: request.headers, plainHeaders: request.context,
                body: request.body, deadlineMs: declaration.timeoutMs, answerBytesMax: declaration.resultBytesMax)
        ) { outcome in
            mailbox.post(.toolResult(ticket, call: call.id, declaration.result(of: outcome)))
        }
    }
}

extension ToolDeclaration {
    /// What the model is given for what came of a request.
    fileprivate func result(of outcome: Result<HostRequests.Answer, HostRequests.Failure>) -> ToolResult {
        switch outcome {
        case .success(let answer): result(status: answer.status, body: answer.body)
        case .failure(.refused(let reason)): .failed(ToolFailure(.configuration, reason))
        case .failure(.busy): .failed(ToolFailure(.busy, "too many calls of \(name) are under way; try again"))
        case .failure(.timeout(let reason)): .failed(ToolFailure(.timeout, reason))
        case .failure(.unreachable(let reason)): .failed(ToolFailure(.unreachable, reason))
        case .failure(.tooLarge):
            .failed(ToolFailure(.tooLarge, "the result has more than \(resultBytesMax) bytes"))
        }
    }
}
