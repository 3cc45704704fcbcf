/// The tools that a language model calls: run once the turn is certain, waited for with a bound, and answered always.
///
///   called ─► held while the turn is speculated ─► open ─► its result, or a failure in its place ─► the model goes on
///
/// What a tool does cannot be taken back, so none runs for words that the caller may still change. A call that cannot
/// be run (no such tool, one too many) gets its answer here and never reaches the driver: whatever happens, the model
/// is told in the place of a result, because a model that waits for one is a caller who waits for both.
extension Conversation {
    mutating func run(_ call: ToolCall, at now: Instant) {
        guard let turn = agent else { return }
        // Told twice that it may not, a model that still calls is going in a circle.
        guard turn.toolCalls < policy.tools.callsPerTurn + 2 else {
            log(.warning, "the model went on calling tools after \(turn.toolCalls) calls in a turn and was stopped")
            return modelDone(at: now)
        }
        let timeoutMs = policy.tools.timeoutsMs.map { $0[call.name] } ?? policy.failover.toolMs
        agent?.toolCalls += 1
        agent?.openTools.append(
            AgentTurn.OpenTool(
                call: call.id, name: call.name, startedAt: now, deadline: now.advanced(byMs: timeoutMs ?? 0)))
        dialogue.called(call)
        disarm(Timers.token)
        let ticket = Ticket(epoch: turn.epoch, request: turn.modelRequest ?? 0)
        guard timeoutMs != nil else {
            return tool(call.id, .failed(ToolFailure(.unknown, "there is no tool \(call.name)")), ticket, at: now)
        }
        guard turn.toolCalls < policy.tools.callsPerTurn else {
            let failure = ToolFailure(
                .tooMany, "no more than \(policy.tools.callsPerTurn) calls in one answer; answer with what you have")
            return tool(call.id, .failed(failure), ticket, at: now)
        }
        // What a tool has done cannot be withdrawn.
        agent?.isRepairable = false
        armTools()
        emit(.runTool(call, ticket))
    }

    mutating func tool(_ call: String, _ result: ToolResult, _ ticket: Ticket, at now: Instant) {
        guard let turn = agent, ticket.epoch == turn.epoch,
            let index = turn.openTools.firstIndex(where: { $0.call == call }), let provider = turn.languageModel,
            let request = turn.modelRequest
        else { return }
        let open = turn.openTools[index]
        agent?.openTools.remove(at: index)
        var json = #"{"ok":true}"#
        var failure: ToolFailure?
        switch result {
        case .json(let text) where text.utf8.count > policy.tools.resultBytesMax:
            failure = ToolFailure(
                .tooLarge, "the result has \(text.utf8.count) bytes, more than \(policy.tools.resultBytesMax)")
        case .json(let text): json = text
        case .control(let control): agent?.controls.append(control)
        case .failed(let told): failure = told
        }
        if let failure {
            json = failure.json
            log(.warning, "the tool \(open.name) failed: \(failure.message)")
        }
        note(
            .tool(
                turn: turns, name: open.name, failure: failure?.code, tookMs: now.milliseconds(since: open.startedAt)))
        dialogue.answered(call, json)
        if !turn.isModelDone {
            emit(.toolResult(provider, Ticket(epoch: turn.epoch, request: request), call: call, json: json))
        }
        armTools()
        guard agent?.openTools.isEmpty == true else { return }
        if !turn.isModelDone { arm(Timers.token, now.advanced(byMs: policy.failover.firstTokenMs)) }
        finishAgentTurnIfHeard(at: now)
    }

    /// A result that comes later finds its call closed.
    mutating func toolsWaitedTooLong(at now: Instant) {
        guard let turn = agent else { return }
        let ticket = Ticket(epoch: turn.epoch, request: turn.modelRequest ?? 0)
        for open in turn.openTools where open.deadline <= now {
            let waitedMs = now.milliseconds(since: open.startedAt)
            tool(open.call, .failed(ToolFailure(.timeout, "no answer within \(waitedMs) ms")), ticket, at: now)
        }
        armTools()
    }

    /// Tools that will not be heard any more. Every call keeps a result in the history: models refuse one without.
    mutating func abandonTools() {
        for open in agent?.openTools ?? [] {
            dialogue.answered(open.call, ToolFailure(.interrupted, "nobody waited for the result").json)
            note(.tool(turn: turns, name: open.name, failure: .interrupted, tookMs: 0))
        }
        agent?.openTools = []
        disarm(Timers.tools)
    }

    private mutating func armTools() { arm(Timers.tools, agent?.openTools.map(\.deadline).min()) }
}
