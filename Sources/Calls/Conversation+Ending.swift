/// How a call begins to be answered, and how it ends: always, and once.
extension Conversation {
    mutating func answered(at now: Instant) {
        guard phase == .waiting else { return }
        phase = .talking
        answeredAt = now
        if policy.answerWithinMs > 0 {
            disarm(Timers.answer)
            armCallMax(at: now)
        }
        if policy.greeting.text.isEmpty {
            awaitCaller(at: now)
        } else {
            say(policy.greeting.text, kind: .fixed, isProtected: policy.greeting.isProtected, at: now)
        }
    }

    mutating func armCallMax(at now: Instant) {
        arm(Timers.callMax, policy.callMaxMs > 0 ? now.advanced(byMs: policy.callMaxMs) : nil)
    }

    /// By the far end, or by what lies between.
    mutating func hungUp(_ cause: HangUpCause, _ code: Int, at now: Instant) {
        record.code = code
        let isUnanswered = phase == .waiting && policy.answerWithinMs > 0
        finish(.farEnd(isUnanswered && cause == .network ? .unreachable : cause), at: now)
    }

    mutating func carryOut(_ control: CallControl, at now: Instant) {
        switch control {
        case .hangUp: end(.agentDone, at: now)
        case .sendDTMF(let digits): emit(.sendDTMF(digits))
        case .transfer(let target):
            isTransferring = true
            arm(Timers.transfer, now.advanced(byMs: CallLimits.transferMs))
            emit(.transfer(to: target))
        }
    }

    mutating func transferred(_ succeeded: Bool, at now: Instant) {
        guard isTransferring else { return }
        isTransferring = false
        disarm(Timers.transfer)
        if succeeded { return end(.transferred, at: now) }
        log(.warning, "the transfer failed; the conversation goes on")
        if agent == nil { play(.notUnderstood, kind: .prompt, at: now) }
    }

    /// Nothing works any more: say so, from a clip, and hang up.
    mutating func giveUp(_ why: String, at now: Instant) {
        log(.error, "the call is given up: \(why)")
        sayGoodbye(.technicalGoodbye, .providersFailed, at: now)
    }

    mutating func sayGoodbye(_ clip: Clip, _ reason: HangUpReason, at now: Instant) {
        guard phase == .talking else {
            return phase == .waiting ? end(reason, at: now) : ()
        }
        phase = .ending
        _ = speculation.drop()
        for timer in armed where timer != Timers.callMax { disarm(timer) }
        endpointing.reset()
        emit(.endSpeech)
        isOnHold = false
        play(clip, kind: .farewell, at: now)
        agent?.hangUpReason = reason
        arm(Timers.farewell, now.advanced(byMs: CallLimits.farewellMs))
    }

    mutating func outOfTime(_ timer: TimerID, at now: Instant) {
        switch timer {
        case Timers.callMax:
            phase == .talking ? sayGoodbye(.goodbye, .limit, at: now) : end(.limit, at: now)
        case Timers.answer: end(.noAnswer, at: now)
        case Timers.farewell: end(agent?.hangUpReason ?? .agentDone, at: now)
        case Timers.holdMax: end(.limit, at: now)
        case Timers.transfer: transferred(false, at: now)
        default: break
        }
    }

    mutating func end(_ reason: HangUpReason, at now: Instant) {
        guard phase != .over else { return }
        emit(.hangUp(reason))
        finish(.host(reason), at: now)
    }

    /// Everything dies with the call; the record is the last thing that is said of it.
    mutating func finish(_ end: CallRecord.End, at now: Instant) {
        guard phase != .over else { return }
        if agent != nil { endAgentTurn(interrupted: true, isWithdrawn: false, at: now) }
        phase = .over
        for timer in armed { disarm(timer) }
        startEpoch()
        for provider in isOpen.sorted(by: { $0.name < $1.name }) { emit(.close(provider)) }
        isOpen = []
        record.end = end
        record.durationMs = answeredAt.map { now.milliseconds(since: $0) } ?? 0
        emit(.finish(record))
    }
}
