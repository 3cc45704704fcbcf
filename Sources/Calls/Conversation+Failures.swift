/// How a failure is kept from becoming silence.
///
/// Two things run side by side. The chain (`Failover`) looks for somebody who can do the work. Independently of it, one
/// timer watches what the caller hears: if it is the agent's turn and nothing has been heard for `bridgeMs`, a clip is
/// played, whatever the reason. So a failure nobody has thought of is still not dead air.
extension Conversation {
    mutating func failed(_ provider: Provider, _ ticket: Ticket?, _ failure: ProviderFailure, at now: Instant) {
        if ticket == nil, isOpen.remove(provider) != nil { emit(.close(provider)) }
        let code = failure.vendorCode.isEmpty ? "" : " (\(failure.vendorCode))"
        log(.warning, "\(provider.name) failed: \(failure.message)\(code)")
        switch provider.kind {
        case .speechToText:
            if provider == recognisers.current { recogniserFailed(failure, at: now) }
        case .languageModel:
            if let turn = agent, provider == turn.languageModel, !turn.isModelDone,
                ticket == nil || ticket?.request == turn.modelRequest
            {
                modelFailed(failure, at: now)
            }
        case .textToSpeech:
            if let turn = agent, provider == turn.voice, !turn.speaking.isEmpty,
                ticket.map({ ticket in turn.speaking.contains { $0.request == ticket.request } }) ?? true
            {
                voiceFailed(failure, at: now)
            }
        case .turn:
            guard provider == turnDetectors.current else { return }
            outcome(provider, ProviderOutcome(failure))
            if case .next(let next) = turnDetectors.failed(failure, at: now) { open(next) }
        }
    }

    // MARK: Language model

    mutating func modelFailed(_ failure: ProviderFailure, at now: Instant) {
        guard let turn = agent, let failing = turn.languageModel else { return }
        let step = models.failed(failure, at: now)
        outcome(failing, ProviderOutcome(failure, hasBegun: turn.hasToken))
        ledger.change { $0.retries += 1 }
        record.failovers += 1
        disarm(Timers.token)
        if turn.isSpeculative {
            note(.failover(turn: turns + 1, from: failing, to: nil, failure))
            return dropSpeculation(at: now)
        }
        // The goodbye, or the transfer, that the model asked for needs no more words of it.
        if !turn.controls.isEmpty { return modelDone(at: now) }
        // A clause that was begun is begun anew by the next model.
        agent?.chunker = ClauseChunker(policy: policy.chunking, language: policy.language)
        abandonTools()
        bridgeSoon(at: now)
        switch step {
        case .retry(let provider), .next(let provider):
            note(.failover(turn: turns, from: failing, to: provider, failure))
            requestModel(at: now)
        case .exhausted:
            note(.failover(turn: turns, from: failing, to: nil, failure))
            giveUp("no language model is left", at: now)
        }
    }

    mutating func modelDeclined(at now: Instant) {
        guard let turn = agent, let provider = turn.languageModel else { return }
        record.declines += 1
        note(.declined(turn: turns, provider))
        disarm(Timers.token)
        if case .next = models.declined() { return requestModel(at: now) }
        if turn.isSpeculative { return dropSpeculation(at: now) }
        declinedTurns += 1
        if declinedTurns >= policy.failover.declinedTurnsMax {
            return giveUp("\(declinedTurns) turns in a row were declined by every language model", at: now)
        }
        endAgentTurn(interrupted: false, isWithdrawn: true, at: now)
        play(.notUnderstood, kind: .prompt, at: now)
    }

    // MARK: Voice

    /// What the failing voice has not said is said by the next, from where the marks prove it stopped.
    mutating func voiceFailed(_ failure: ProviderFailure, at now: Instant) {
        guard let turn = agent, let failing = turn.voice, let first = turn.speaking.first else { return }
        let step = voices.failed(failure, at: now)
        outcome(failing, ProviderOutcome(failure, hasBegun: turn.heard.samples(of: first.request) > 0))
        record.failovers += 1
        ledger.change { $0.retries += 1 }
        disarm(Timers.audio)
        emit(.abandonSpeech(failing, fromRequest: first.request))
        // Closed even for a second attempt: a session in an unknown state may still deliver its old work.
        if isOpen.remove(failing) != nil { emit(.close(failing)) }
        bridgeSoon(at: now)
        guard let next = step.provider else {
            note(.failover(turn: turns, from: failing, to: nil, failure))
            return giveUp("no voice is left", at: now)
        }
        note(.failover(turn: turns, from: failing, to: next, failure))
        agent?.voice = next
        agent?.speaking = []
        for spoken in turn.speaking {
            speak(agent?.heard.abandon(spoken.request) ?? "", at: now)
        }
        if turn.hasSaidLast {
            agent?.hasSaidLast = false
            sayLast(at: now)
        }
    }

    // MARK: Recogniser

    /// It did not answer in time. Once may be chance.
    mutating func recogniserWasSilent(at now: Instant) {
        guard endpointing.unanswered >= policy.failover.recogniserSilencesMax else { return }
        endpointing.forgiveSilence()
        guard let provider = recognisers.current else { return }
        if isOpen.remove(provider) != nil { emit(.close(provider)) }
        recogniserFailed(
            ProviderFailure(code: .timeout, retryable: false, message: "\(provider.name) gave no answer"), at: now)
    }

    private mutating func recogniserFailed(_ failure: ProviderFailure, at now: Instant) {
        guard let failing = recognisers.current else { return }
        let step = recognisers.failed(failure, at: now)
        outcome(failing, ProviderOutcome(failure))
        record.failovers += 1
        note(.failover(turn: turns, from: failing, to: step.provider, failure))
        guard let next = step.provider else { return giveUp("no recogniser is left", at: now) }
        open(next)
        heard(endpointing.recogniserLost(at: now), at: now)
    }

    // MARK: Silence

    /// Starts, or keeps, the watch over what the caller hears while it is the agent's turn.
    mutating func watchSilence(at now: Instant) {
        guard let turn = agent, !turn.isSpeculative, agentHasFloor, !armed.contains(Timers.silence) else { return }
        arm(Timers.silence, max(turn.nextBridgeAt, now.advanced(byMs: 1)))
    }

    /// After a failure the caller has waited long enough already.
    private mutating func bridgeSoon(at now: Instant) {
        guard let turn = agent, !turn.isSpeculative else { return }
        agent?.nextBridgeAt = min(turn.nextBridgeAt, now.advanced(byMs: policy.failover.bridgeMs))
        disarm(Timers.silence)
        watchSilence(at: now)
    }

    mutating func waitedTooLong(_ timer: TimerID, at now: Instant) {
        guard let turn = agent else { return }
        switch timer {
        case Timers.silence:
            guard agentHasFloor, !turn.isSpeculative else { return }
            if now >= turn.nextBridgeAt, turn.isQuiet, !turn.isSaid {
                guard turn.bridges < policy.failover.bridgesMax else {
                    return phase == .ending
                        ? end(turn.hangUpReason ?? .providersFailed, at: now)
                        : giveUp("the caller has waited too long", at: now)
                }
                agent?.bridges += 1
                agent?.nextBridgeAt = now.advanced(byMs: policy.failover.bridgeAgainMs)
                playClip(.oneMoment)
            } else if now >= turn.nextBridgeAt {
                // There is audio that does not get played: the media engine's business, looked at again later.
                agent?.nextBridgeAt = now.advanced(byMs: policy.failover.bridgeMs)
            }
            watchSilence(at: now)
        case Timers.token:
            modelFailed(ProviderFailure(code: .timeout, retryable: false, message: "no token in time"), at: now)
        case Timers.audio:
            guard !turn.speaking.isEmpty else { return }
            // A voice without credit, because the caller has not heard the last two seconds yet, is not late.
            if !turn.isQuiet || !agentHasFloor {
                return arm(Timers.audio, now.advanced(byMs: policy.failover.audioStallMs))
            }
            voiceFailed(ProviderFailure(code: .timeout, retryable: false, message: "no audio in time"), at: now)
        case Timers.tools: toolsWaitedTooLong(at: now)
        default: break
        }
    }
}

extension Failover.Step {
    var provider: Provider? {
        switch self {
        case .retry(let provider), .next(let provider): provider
        case .exhausted: nil
        }
    }
}
