/// The caller's side: what he does, and when it becomes a turn.
extension Conversation {
    mutating func voice(_ event: VoiceEvent, at now: Instant) {
        guard phase == .talking else { return }
        let outputs = endpointing.voice(event, at: now)
        switch event {
        case .started:
            disarm(Timers.noInput)
            if let agent, !agent.isProtected, !agent.isSpeculative, !isOnHold {
                bargedIn(bargeIn.voiceStarted(at: now), at: now)
            }
        case .stopped(let speechEnd, let examined):
            let silence = examined > speechEnd ? Int((examined - speechEnd) * 1000 / UInt64(policy.inboundRateHz)) : 0
            bargedIn(bargeIn.voiceStopped(endOfSpeech: now.advanced(byMs: -min(silence, 5_000))), at: now)
        case .probability: break
        }
        heard(outputs, at: now)
        awaitCaller(at: now)
    }

    mutating func transcript(_ transcript: Transcript, at now: Instant) {
        guard phase == .talking else { return }
        note(.transcript(transcript))
        heard(endpointing.transcript(transcript, at: now), at: now)
    }

    /// Carries out what endpointing has found.
    mutating func heard(_ outputs: [Endpointing.Output], at now: Instant) {
        guard phase == .talking else { return }
        for output in outputs where phase == .talking {
            switch output {
            case .begin(let position): emit(.beginSpeech(at: position))
            case .finalize(let tentative): finalizeRecogniser(tentative: tentative)
            case .askTurn(let text, let position):
                if let provider = turnDetectors.current, isOpen.contains(provider) {
                    emit(.decideTurn(provider, text: text, position: position))
                }
            case .fellSilent:
                let silentSince = now.advanced(byMs: -policy.endpointing.tentativeMs)
                bargedIn(bargeIn.voiceStopped(endOfSpeech: silentSince), at: now)
            case .wentOn:
                if bargeIn.isPaused { bargedIn(bargeIn.voiceStarted(at: now), at: now) }
            case .arm(let at): arm(Timers.endpointing, at)
            case .disarm: disarm(Timers.endpointing)
            case .eager(let words): startEarly(words, at: now)
            case .resumed: dropSpeculation(at: now)
            case .words(let words):
                disarm(Timers.noInput)
                noInput.heard()
                lastWordsAt = now
                if let agent, !agent.isProtected, !agent.isSpeculative {
                    bargedIn(bargeIn.words(words, agentAsked: agent.heard.endsInQuestion, at: now), at: now)
                }
            case .ended(let words, let endOfSpeech):
                emit(.endSpeech)
                callerTurn(words, endOfSpeech: endOfSpeech, at: now)
            case .discarded(let answered):
                emit(.endSpeech)
                if !answered { recogniserWasSilent(at: now) }
                nothingWasSaid(wasAnswered: answered, at: now)
            }
        }
    }

    private mutating func finalizeRecogniser(tentative: Bool) {
        guard let provider = recognisers.current else { return }
        recogniserRequest = nextRequest()
        emit(.finalize(provider, request: recogniserRequest, tentative: tentative))
    }

    /// The caller's turn is complete.
    mutating func callerTurn(_ words: String, endOfSpeech: Instant, at now: Instant) {
        guard phase == .talking else { return }
        disarm(Timers.noInput)
        noInput.heard()
        if let agent, !agent.isSpeculative {
            if agent.isProtected {
                keptWords = join(keptWords, words)
                return
            }
            guard bargeIn.takesTheFloor(words, agentAsked: agent.heard.endsInQuestion) else {
                bargedIn(bargeIn.dismissed(at: now), at: now)
                return
            }
            commit(at: now)
        }
        self.endOfSpeech = endOfSpeech
        if agent?.isSpeculative == true {
            if speculation.confirms(words) {
                release(words, endOfSpeech: endOfSpeech, at: now)
                return
            }
            wasteSpeculation(at: now)
        } else {
            _ = speculation.confirms(words)
        }
        let merged = join(join(withdrawnWords, keptWords), words)
        reply(to: merged, at: now)
    }

    /// A sound without words. If it has cost the agent the floor, the agent gets it back. Where nobody has said that
    /// there were none, the caller has perhaps asked something: silence would be the wrong answer.
    private mutating func nothingWasSaid(wasAnswered: Bool, at now: Instant) {
        dropSpeculation(at: now)
        if agent != nil {
            bargedIn(bargeIn.dismissed(at: now), at: now)
        } else if !withdrawnWords.isEmpty {
            reply(to: withdrawnWords, at: now)
        } else if !cutOff.isEmpty {
            say(cutOff, kind: .fixed, isProtected: false, at: now)
        } else if !wasAnswered, phase == .talking {
            play(.notUnderstood, kind: .prompt, at: now)
        } else {
            awaitCaller(at: now)
        }
    }

    // MARK: Barge-in

    mutating func bargedIn(_ outputs: [BargeIn.Output], at now: Instant) {
        for output in outputs {
            switch output {
            case .pause:
                emit(.pausePlayout)
                disarm(Timers.silence)
            case .resume(let pausedMs):
                emit(.resumePlayout)
                record.falseAlarms += 1
                note(.falseAlarm(turn: turns, pausedMs: pausedMs))
                agent?.lastSoundAt = now
                watchSilence(at: now)
                finishAgentTurnIfHeard(at: now)
            case .commit: commit(at: now)
            case .arm(let at): arm(Timers.bargeIn, at)
            case .disarm: disarm(Timers.bargeIn)
            }
        }
    }

    /// The caller takes the floor: everything of the agent's turn is thrown away but what was heard.
    mutating func commit(at now: Instant) {
        guard let interrupted = agent, !interrupted.isProtected else { return }
        for output in bargeIn.reset() where output == .disarm { disarm(Timers.bargeIn) }
        let heard = interrupted.heard.heard
        record.bargeIns += 1
        note(.bargeIn(turn: turns, heard: heard))
        let isRepair =
            interrupted.kind == .reply && interrupted.isRepairable
            && contextRepair.applies(firstHeard: interrupted.firstHeardAt, interruptedAt: now)
        endAgentTurn(interrupted: true, isWithdrawn: isRepair, at: now)
        cutOff = ""
        if isRepair, let words = dialogue.withdrawLastCallerTurn() {
            withdrawnWords = words
            record.contextRepairs += 1
            note(.repaired(turn: turns))
        } else {
            cutOff = interrupted.heard.unheard
        }
        startEpoch()
        // A sound that has ended already, and left no open turn, would leave both sides waiting.
        awaitCaller(at: now)
    }

    // MARK: Early start

    private mutating func startEarly(_ words: String, at now: Instant) {
        guard agent == nil, keptWords.isEmpty, withdrawnWords.isEmpty, !isOnHold, speculation.begins(with: words)
        else { return }
        record.speculations += 1
        beginReply(to: words, isSpeculative: true, at: now)
    }

    mutating func dropSpeculation(at now: Instant) {
        if speculation.drop() || agent?.isSpeculative == true { wasteSpeculation(at: now) }
    }

    private mutating func wasteSpeculation(at now: Instant) {
        guard agent?.isSpeculative == true else { return }
        record.speculationsWasted += 1
        wastedThisTurn += 1
        // The turn goes on, and its stages are stamped anew.
        _ = ledger.finish()
        note(.speculation(turn: turns + 1, kept: false))
        for timer in Timers.ofAgentTurn { disarm(timer) }
        agent = nil
        startEpoch()
    }

    // MARK: Digits and silence

    mutating func digit(_ digit: Character, at now: Instant) {
        guard phase == .talking else { return }
        guard "0123456789*#ABCD".contains(digit) else {
            return log(.warning, "the digit \"\(digit)\" is none of 0-9, A-D, * and #, and was ignored")
        }
        if record.digits.utf8.count < CallLimits.callerTurnBytesMax { record.digits.append(digit) }
        disarm(Timers.noInput)
        noInput.heard()
        if policy.bargeIn.digitsInterrupt, let agent, !agent.isProtected {
            if agent.isSpeculative { dropSpeculation(at: now) } else { commit(at: now) }
        }
        typed(keypad.digit(digit, at: now), at: now)
    }

    mutating func typed(_ outputs: [Keypad.Output], at now: Instant) {
        for output in outputs {
            switch output {
            case .arm(let at): arm(Timers.keypad, at)
            case .disarm: disarm(Timers.keypad)
            case .entered(let digits): callerTurn(policy.keypad.prefix + digits, endOfSpeech: now, at: now)
            }
        }
        awaitCaller(at: now)
    }

    /// Nobody has the floor: wait for the caller, but not for ever.
    mutating func awaitCaller(at now: Instant) {
        guard phase == .talking, agent == nil, !endpointing.isOpen, !isOnHold, !isTransferring,
            !armed.contains(Timers.keypad), !armed.contains(Timers.noInput)
        else { return }
        arm(Timers.noInput, noInput.due(from: now))
    }

    mutating func nobodySpoke(at now: Instant) {
        guard phase == .talking, agent == nil else { return }
        switch noInput.timer() {
        case .ask: play(.stillThere, kind: .prompt, at: now)
        case .goodbye: sayGoodbye(.goodbye, .noInput, at: now)
        }
    }

    mutating func hold(_ isHeld: Bool, at now: Instant) {
        guard phase == .talking, isHeld != isOnHold else { return }
        isOnHold = isHeld
        if isHeld {
            dropSpeculation(at: now)
            if agent != nil { emit(.pausePlayout) }
            for timer in [Timers.noInput, Timers.silence, Timers.bargeIn] { disarm(timer) }
            _ = bargeIn.reset()
            arm(Timers.holdMax, policy.holdMaxMs > 0 ? now.advanced(byMs: policy.holdMaxMs) : nil)
        } else {
            disarm(Timers.holdMax)
            agent?.lastSoundAt = now
            if agent != nil { emit(.resumePlayout) }
            watchSilence(at: now)
            finishAgentTurnIfHeard(at: now)
            awaitCaller(at: now)
        }
    }

    func join(_ first: String, _ second: String) -> String {
        first.isEmpty ? second : second.isEmpty ? first : first + " " + second
    }
}
