// What the vendor's messages do to the contexts: whose audio it is, which words are in it, how a context ends.
//
// Whatever ends a context goes through `giveUp`, so that one place decides what is said once more and what has failed.

import PluginKit

extension CartesiaLine {
    // MARK: Audio

    /// The context of a message, and that the vendor is alive.
    mutating func heard(_ id: String, _ nowMs: UInt64) -> Int? {
        guard let index = contexts.firstIndex(where: { $0.id == id }) else { return nil }
        if !contexts[index].isIdle { contexts[index].deadlineMs = nowMs + limits.stallMs }
        return index
    }

    mutating func audio(_ bytes: [UInt8], in index: Int) -> [LineAction] {
        let samples = request.format.samples(of: bytes, rest: &contexts[index].rest)
        guard !samples.isEmpty else { return [] }
        contexts[index].clauses[0].samples += samples.count
        return [.audio(clause: contexts[index].clauses[0].id, samples)] + dueMarks(in: index)
    }

    mutating func take(_ words: [CartesiaMessage.Word], in index: Int) -> [LineAction] {
        let (rateHz, said) = (Double(request.format.rateHz), contexts[index].saidSamples)
        // A clause is minutes at most; what lies outside of a day is no time.
        func sample(_ seconds: Double) -> Int { max(0, Int(min(max(seconds, 0), 86400) * rateHz) - said) }
        for word in words {
            let samples = sample(word.startS)..<max(sample(word.startS), sample(word.endS))
            _ = contexts[index].clauses[0].marks.add(word.text, samples: samples)
        }
        return dueMarks(in: index)
    }

    private mutating func dueMarks(in index: Int, isWhole: Bool = false) -> [LineAction] {
        let (id, samples) = (contexts[index].clauses[0].id, contexts[index].clauses[0].samples)
        return contexts[index].clauses[0].marks.due(samples: samples, isWhole: isWhole).map {
            .mark(clause: id, text: $0.text, samples: $0.samples)
        }
    }

    mutating func endClause(in index: Int, _ nowMs: UInt64) -> [LineAction] {
        let marks = dueMarks(in: index, isWhole: true)
        let clause = contexts[index].clauses.removeFirst()
        contexts[index].saidSamples += clause.samples
        contexts[index].hasSpoken = true
        contexts[index].rest = nil
        let isWaiting = contexts[index].clauses.first?.isSent == true
        contexts[index].deadlineMs = nowMs + (isWaiting ? limits.stallMs : limits.idleMs)
        return marks + [.finish(clause: clause.id)]
    }

    // MARK: Ends

    /// The vendor has ended a context: as it was told to, or because it was idle for a second while text was under way.
    mutating func ended(_ index: Int, _ nowMs: UInt64) -> [LineAction] {
        var actions: [LineAction] = []
        while let head = contexts[index].clauses.first, head.isSent, limits.isClausewise || head.samples > 0 {
            actions += endClause(in: index, nowMs)
        }
        let context = contexts.remove(at: index)
        let failure = PluginError(
            .vendor, "Cartesia ended the context before its text was said", isRetryable: true, vendor: "cartesia")
        return actions + giveUp(context, failure) + sendWhatIsDue(nowMs)
    }

    mutating func refused(_ id: String?, _ error: PluginError, _ nowMs: UInt64) -> [LineAction] {
        // Without a context it is the only one that the vendor works on, or the oldest of them.
        let found = contexts.firstIndex { context in
            id.map { $0 == context.id } ?? context.clauses.contains(where: \.isSent)
        }
        // Of a context that was canceled or has expired, nobody waits for an answer.
        guard let found else { return id == nil ? [.warn(error)] : [] }
        let context = contexts.remove(at: found)
        return giveUp(context, error) + sendWhatIsDue(nowMs)
    }

    mutating func nonsense(_ nowMs: UInt64) -> [LineAction] {
        let error = PluginError(
            .vendor, "Cartesia sent what is no message of its protocol; is `url` that of its WebSocket?",
            isRetryable: true, vendor: "cartesia")
        return [.disconnect] + closed(error, nowMs: nowMs)
    }

    /// The clauses of a context that is gone: those that were begun have failed, the others are said in a new one,
    /// where that can help. A lost connection is an attempt for all, or a peer that is not there would be called for
    /// ever.
    mutating func giveUp(
        _ context: CartesiaContext, _ error: PluginError, isConnectionLost: Bool = false
    ) -> [LineAction] {
        let isHopeless = error.code == .authentication || error.code == .quota
        // A context that had grown too old is refused in words that nobody wrote down.
        let mayHelp = error.code == .network || error.isRetryable || context.hasSpoken
        var actions: [LineAction] = []
        for clause in context.clauses {
            let isAttempt = clause.isSent || isConnectionLost
            let mayTry = !isAttempt || (mayHelp && clause.samples == 0 && clause.attempts < limits.retries)
            if mayTry && !isHopeless {
                place(clause.anew(attempts: clause.attempts + (isAttempt ? 1 : 0)), epoch: context.epoch)
            } else {
                actions.append(.fail(clause: clause.id, error))
            }
        }
        return actions
    }
}
