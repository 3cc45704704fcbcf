/// The agent's side: from the caller's words to what he hears.
extension Conversation {
    // MARK: Beginning a turn

    /// Answers what the caller has said, once that is certain.
    mutating func reply(to words: String, at now: Instant) {
        let words = String(words.prefix(CallLimits.callerTurnBytesMax))
        beginReply(to: words, isSpeculative: false, at: now)
        take(words, at: now)
        requestModel(at: now)
        watchSilence(at: now)
    }

    mutating func beginReply(to words: String, isSpeculative: Bool, at now: Instant) {
        beginAgentTurn(.reply, isProtected: false, at: now)
        agent?.callerText = words
        agent?.isSpeculative = isSpeculative
        ledger.change { $0.speculative = isSpeculative }
        if isSpeculative { requestModel(at: now) }
    }

    /// The held answer is the answer: let it out.
    mutating func release(_ words: String, endOfSpeech: Instant, at now: Instant) {
        guard let held = agent else { return }
        agent?.isSpeculative = false
        agent?.lastSoundAt = now
        agent?.nextBridgeAt = now.advanced(byMs: policy.failover.bridgeMs)
        note(.speculation(turn: turns + 1, kept: true))
        take(words, at: now)
        agent?.heldTools = []
        for call in held.heldTools { run(call, at: now) }
        for clause in held.heldClauses { speak(clause, at: now) }
        agent?.heldClauses = []
        if agent?.isModelDone == true { sayLast(at: now) }
        watchSilence(at: now)
    }

    /// The caller's turn goes into the history.
    private mutating func take(_ words: String, at now: Instant) {
        withdrawnWords = ""
        keptWords = ""
        cutOff = ""
        turns += 1
        record.callerTurns += 1
        dialogue.caller(words)
        remember(.caller, words, interrupted: false, at: now)
        note(.caller(turn: turns, text: words))
        if let endOfSpeech { note(ledger.stamp(.endOfSpeech, at: endOfSpeech)) }
        note(ledger.stamp(.finalText, at: lastWordsAt ?? now))
        let wasted = wastedThisTurn
        ledger.change { $0.wastedRequests = wasted }
        lastWordsAt = nil
        wastedThisTurn = 0
        note(ledger.stamp(.endOfTurn, at: now))
    }

    /// Says fixed words with the voice of the call.
    mutating func say(_ text: String, kind: AgentTurn.Kind, isProtected: Bool, at now: Instant) {
        cutOff = ""
        beginAgentTurn(kind, isProtected: isProtected, at: now)
        agent?.isModelDone = true
        let pieces = (agent?.chunker.append(text) ?? []) + [agent?.chunker.finish() ?? ""]
        for piece in pieces { speak(piece, at: now) }
        sayLast(at: now)
        watchSilence(at: now)
    }

    /// Plays a clip as a turn of its own.
    mutating func play(_ clip: Clip, kind: AgentTurn.Kind, at now: Instant) {
        beginAgentTurn(kind, isProtected: kind == .farewell, at: now)
        agent?.isModelDone = true
        agent?.hasSaidLast = true
        playClip(clip)
        watchSilence(at: now)
    }

    private mutating func beginAgentTurn(_ kind: AgentTurn.Kind, isProtected: Bool, at now: Instant) {
        disarm(Timers.noInput)
        if agent != nil { endAgentTurn(interrupted: true, isWithdrawn: false, at: now) }
        if let pendingChains {
            chains = pendingChains
            self.pendingChains = nil
            models.probe(chains.probing)
            voices.probe(chains.probing)
        }
        models.beginTurn(names: chains.languageModel, at: now)
        voices.beginTurn(names: chains.textToSpeech, at: now)
        startEpoch()
        var turn = AgentTurn(
            kind: kind, epoch: epoch, chunker: ClauseChunker(policy: policy.chunking, language: policy.language),
            heard: HeardText(rateHz: policy.outboundRateHz, earDelayMs: policy.earDelayMs), lastSoundAt: now,
            nextBridgeAt: now.advanced(byMs: policy.failover.bridgeMs))
        turn.isProtected = isProtected
        turn.voice = voices.current
        agent = turn
        note(ledger.begin(turn: turns + 1).map(LedgerEntry.turn))
        ledger.change {
            $0.recogniser = recognisers.current?.name ?? ""
            $0.voice = turn.voice?.name ?? ""
        }
    }

    mutating func startEpoch() {
        epoch += 1
        emit(.startEpoch(epoch))
        if isOnHold { emit(.pausePlayout) }
    }

    // MARK: The language model

    mutating func requestModel(at now: Instant) {
        guard let turn = agent else { return }
        guard let provider = models.current else { return giveUp("no language model is configured", at: now) }
        open(provider)
        let request = nextRequest()
        var messages = dialogue.request(
            systemPrompt: policy.systemPrompt, pending: turn.isSpeculative ? turn.callerText : nil)
        if !turn.emitted.isEmpty {
            messages.append(Message(.agent, turn.emitted))
            messages.append(Message(.system, policy.continuePrompt))
        }
        agent?.languageModel = provider
        agent?.modelRequest = request
        agent?.hasToken = false
        note(ledger.stamp(.request, at: now))
        ledger.change { $0.languageModel = provider.name }
        let ticket = Ticket(epoch: epoch, request: request)
        emit(
            .request(
                provider, LanguageModelRequest(ticket: ticket, messages: messages, speculative: turn.isSpeculative)))
        arm(Timers.token, now.advanced(byMs: policy.failover.firstTokenMs))
    }

    mutating func model(_ event: LanguageModelEvent, _ ticket: Ticket, at now: Instant) {
        guard let turn = agent, ticket.epoch == turn.epoch, ticket.request == turn.modelRequest, !turn.isModelDone
        else { return }
        switch event {
        case .delta(let text):
            guard !text.isEmpty else { return }
            note(ledger.stamp(.firstToken, at: now))
            agent?.hasToken = true
            agent?.receivedBytes += text.utf8.count
            declinedTurns = 0
            arm(Timers.token, now.advanced(byMs: policy.failover.tokenStallMs))
            for piece in agent?.chunker.append(text) ?? [] { clause(piece, at: now) }
            if turn.receivedBytes + text.utf8.count > CallLimits.agentTurnBytesMax {
                log(.warning, "the model went on beyond \(CallLimits.agentTurnBytesMax) bytes and was stopped there")
                modelDone(at: now)
            }
        case .toolCall(let call):
            agent?.hasToken = true
            agent?.hasCalled = true
            if turn.isSpeculative { agent?.heldTools.append(call) } else { run(call, at: now) }
            if turn.heldTools.count >= CallLimits.toolCallsPerTurn { dropSpeculation(at: now) }
        case .usage(let prompt, let completion):
            record.promptTokens += max(0, prompt)
            record.completionTokens += max(0, completion)
        case .done(let finish):
            finished(finish, turn, at: now)
        }
    }

    private mutating func finished(_ finish: LanguageModelEvent.Finish, _ turn: AgentTurn, at now: Instant) {
        switch finish {
        case .declined where !turn.hasToken:
            outcome(turn.languageModel, .answered)
            modelDeclined(at: now)
        case .toolCalls where turn.hasCalled:
            outcome(turn.languageModel, .answered)
            // It goes on under the same ticket when the results are there; they may have been there first.
            agent?.hasCalled = false
            let hasResults = turn.openTools.isEmpty && turn.heldTools.isEmpty
            arm(Timers.token, hasResults ? now.advanced(byMs: policy.failover.firstTokenMs) : nil)
        case .canceled where !turn.hasToken:
            modelFailed(ProviderFailure(code: .misbehaved, retryable: false, message: "canceled unasked"), at: now)
        default:
            if finish == .declined { log(.providerFault, "\(turn.languageModel?.name ?? "") declined after a delta") }
            if !turn.hasToken, turn.emitted.isEmpty, turn.toolCalls == 0 {
                return modelFailed(
                    ProviderFailure(code: .misbehaved, retryable: true, message: "an answer without a word"), at: now)
            }
            outcome(turn.languageModel, .answered)
            modelDone(at: now)
        }
    }

    mutating func modelDone(at now: Instant) {
        agent?.isModelDone = true
        disarm(Timers.token)
        if let rest = agent?.chunker.finish() { clause(rest, at: now) }
        if agent?.isSpeculative == false { sayLast(at: now) }
    }

    private mutating func clause(_ piece: String, at now: Instant) {
        agent?.emitted += piece
        if agent?.isSpeculative == true { agent?.heldClauses.append(piece) } else { speak(piece, at: now) }
    }

    // MARK: The voice

    mutating func speak(_ piece: String, at now: Instant) {
        let text = Speakable.text(piece)
        guard let turn = agent, Speakable.isWorthSpeaking(text) else { return }
        guard turn.speechRequests < CallLimits.speechRequestsPerTurn else {
            return log(.warning, "more than \(CallLimits.speechRequestsPerTurn) pieces in a turn: one was not spoken")
        }
        guard let voice = turn.voice ?? voices.current else { return giveUp("no voice is configured", at: now) }
        note(ledger.stamp(.firstClause, at: now))
        open(voice)
        let request = nextRequest()
        agent?.voice = voice
        agent?.speechRequests += 1
        agent?.heard.begin(request, text: text)
        agent?.speaking.append(AgentTurn.Spoken(request: request, text: text))
        emit(.speak(voice, Ticket(epoch: turn.epoch, request: request), text: text, last: false))
        if !armed.contains(Timers.audio) { arm(Timers.audio, now.advanced(byMs: policy.failover.firstAudioMs)) }
    }

    mutating func sayLast(at now: Instant) {
        guard let turn = agent, !turn.hasSaidLast else { return }
        agent?.hasSaidLast = true
        if let voice = turn.voice, turn.speechRequests > 0 {
            emit(.speak(voice, Ticket(epoch: turn.epoch, request: nextRequest()), text: "", last: true))
        }
        finishAgentTurnIfHeard(at: now)
    }

    mutating func playClip(_ clip: Clip) {
        let request = nextRequest()
        agent?.heard.begin(request, text: policy.clipText(clip), isRemembered: clip != .oneMoment)
        agent?.clips.insert(request)
        ledger.change { $0.clips += 1 }
        note(.clip(turn: turns, clip))
        emit(.playClip(clip, Ticket(epoch: epoch, request: request)))
    }

    mutating func speech(_ event: SpeechEvent, _ ticket: Ticket, at now: Instant) {
        guard let turn = agent, ticket.epoch == turn.epoch else { return }
        let isVoice = turn.speaking.contains { $0.request == ticket.request }
        switch event {
        case .audio(let samples):
            // Counted even where the request is unknown: it lies in the playout and takes its time.
            agent?.heard.audio(ticket.request, samples: samples)
            guard isVoice else { return }
            note(ledger.stamp(.firstAudio, at: now))
            arm(Timers.audio, now.advanced(byMs: policy.failover.audioStallMs))
        case .mark(let mark):
            guard isVoice else { return }
            if agent?.heard.mark(ticket.request, mark) == false {
                log(.providerFault, "\(turn.voice?.name ?? "") marked \(mark), which is outside its text or runs back")
            }
        case .done:
            if isVoice, turn.heard.samples(of: ticket.request) == 0 {
                return voiceFailed(
                    ProviderFailure(code: .misbehaved, retryable: true, message: "a clause without audio"), at: now)
            }
            if isVoice { outcome(turn.voice, .answered) }
            agent?.heard.done(ticket.request)
            agent?.speaking.removeAll { $0.request == ticket.request }
            agent?.clips.remove(ticket.request)
            if agent?.speaking.isEmpty == true {
                disarm(Timers.audio)
            } else if isVoice {
                arm(Timers.audio, now.advanced(byMs: policy.failover.audioStallMs))
            }
            finishAgentTurnIfHeard(at: now)
        }
    }

    mutating func playout(_ progress: PlayoutProgress, at now: Instant) {
        guard let turn = agent, progress.epoch == turn.epoch else { return }
        agent?.heard.played(progress.playedSamples)
        if let heard = agent?.heard, heard.playedSamples > turn.heard.playedSamples {
            agent?.lastSoundAt = now
            agent?.nextBridgeAt = now.advanced(
                byMs: turn.bridges == 0 ? policy.failover.bridgeMs : policy.failover.bridgeAgainMs)
            if turn.firstHeardAt == nil, turn.clips.isEmpty { agent?.firstHeardAt = now }
            if ledger.current.stages[.firstAudio] != nil { note(ledger.stamp(.firstPacket, at: now)) }
        }
        finishAgentTurnIfHeard(at: now)
    }

    // MARK: The end of a turn

    mutating func finishAgentTurnIfHeard(at now: Instant) {
        guard let turn = agent, turn.isSaid, turn.isQuiet, !turn.isSpeculative, !bargeIn.isPaused, !isOnHold
        else { return }
        agent?.heard.finish()
        endAgentTurn(interrupted: false, isWithdrawn: false, at: now)
        if phase == .ending { return end(turn.hangUpReason ?? .agentDone, at: now) }
        for control in turn.controls where phase == .talking { carryOut(control, at: now) }
        guard phase == .talking, agent == nil, !isTransferring else { return }
        if !keptWords.isEmpty, !endpointing.isOpen {
            endOfSpeech = now
            reply(to: keptWords, at: now)
        }
        awaitCaller(at: now)
    }

    /// - Parameter isWithdrawn: the turn never was, as far as the history goes.
    mutating func endAgentTurn(interrupted: Bool, isWithdrawn: Bool, at now: Instant) {
        guard let turn = agent else { return }
        for timer in Timers.ofAgentTurn { disarm(timer) }
        abandonTools()
        if bargeIn.reset().contains(.disarm) { disarm(Timers.bargeIn) }
        let heard = turn.heard.heard
        if !turn.isSpeculative {
            record.agentTurns += 1
            if !isWithdrawn { dialogue.agent(heard: heard) }
            if !heard.isEmpty { remember(.agent, heard, interrupted: interrupted, at: now) }
            note(.agent(turn: turns, heard: heard, interrupted: interrupted))
        }
        ledger.change { $0.interrupted = interrupted }
        if let finished = ledger.finish() {
            if record.turns.count < CallLimits.dialogueMessagesMax { record.turns.append(finished) } else {
                record.dropped += 1
            }
            note(.turn(finished))
        }
        agent = nil
    }

    private mutating func remember(
        _ speaker: CallRecord.Line.Speaker, _ text: String, interrupted: Bool, at now: Instant
    ) {
        guard record.lines.count < 2 * CallLimits.dialogueMessagesMax else {
            record.dropped += 1
            return
        }
        let atMs = answeredAt.map { now.milliseconds(since: $0) } ?? 0
        record.lines.append(CallRecord.Line(speaker: speaker, text: text, interrupted: interrupted, atMs: atMs))
    }
}
