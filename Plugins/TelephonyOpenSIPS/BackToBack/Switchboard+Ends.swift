// How a call ends, and what ends it when OpenSIPS says nothing. The end has one door, `over`: the media stops, the host
// is told once, and the tables forget the call.

import JSON
import PluginKit

extension Switchboard {
    /// Whoever ended it.
    mutating func over(_ number: Int, _ cause: HangupCause, _ code: Int, _ reason: String) {
        guard let call = calls[number] else { return }
        if let session = call.session {
            // A callee who was sent elsewhere often says BYE instead of the last NOTIFY.
            if call.isTransferring {
                emit(
                    .transferred(
                        succeeded: call.transferIsAccepted && cause == .caller, code: code, reason: reason), session)
            }
            actions.append(.closeMedia(session: session))
            emit(.hangup(cause, code: code, reason: String(reason.prefix(120))), session)
        } else if call.phase == .offered {
            actions.append(.withdrawn(key: call.key))
        }
        forget(number)
    }

    mutating func forget(_ number: Int) {
        guard let call = calls.removeValue(forKey: number) else { return }
        if byKey[call.key] == number { byKey[call.key] = nil }
        if let session = call.session { bySession[session] = nil }
    }

    /// Ends the call in whatever state it is: refuses, or says BYE, which is CANCEL for a call of ours that rings.
    mutating func hangUp(_ number: Int, _ code: Int, _ reason: String, _ nowNs: UInt64) {
        guard let call = calls[number] else { return }
        switch call.phase {
        case .offered, .waiting:
            let code = code == 0 ? 486 : code
            refuse(call.key, code, number, retryAfterS: code == 503 ? 5 : 0, nowNs)
            over(number, .agent, code, reason.isEmpty ? ManagementCommand.phrase(of: code) : reason)
        case .starting:
            // `started` ends it as soon as there is a key.
            over(number, .agent, code, reason)
        case .answering, .calling, .up:
            submit(.terminate(call.key), .terminate, line: number, nowNs)
            over(number, .agent, code, reason.isEmpty ? "Normal call clearing" : reason)
        }
    }

    /// CANCEL. OpenSIPS answered it and leaves the INVITE to us; where our 200 crossed it the call is up, and only BYE
    /// ends it.
    mutating func canceled(_ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number] else { return }
        if call.isUnanswered {
            client.dropQueue(of: number)
            refuse(call.key, 487, number, nowNs)
        } else {
            submit(.terminate(call.key), .terminate, line: number, nowNs)
        }
        over(number, .canceled, 487, "Cancelled by the caller")
    }

    /// A command of a call that still is there has ended.
    mutating func completed(
        _ purpose: ManagementClient.Purpose, _ ending: ManagementClient.Ending, _ number: Int, _ nowNs: UInt64
    ) {
        switch purpose {
        case .reply("INVITE", 200) where calls[number]!.phase == .answering: answerSent(ending, number, nowNs)
        case .request(let request): requestSent(request, ending, number, nowNs)
        case .check, .confirmation: checked(ending, isConfirmation: purpose == .confirmation, number, nowNs)
        default: break
        }
    }

    // MARK: Time

    mutating func tick(_ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number] else { return }
        if let deadlineNs = call.deadlineNs, nowNs >= deadlineNs { return late(call, nowNs) }
        if let deadlineNs = call.transferDeadlineNs, nowNs >= deadlineNs {
            transferred(number, false, 408, "No result of the transfer in time", nowNs)
        }
        if let deadlineNs = call.requestDeadlineNs, nowNs >= deadlineNs, let request = call.request {
            requestSent(request, .timeout, number, nowNs)
        }
        guard let call = calls[number], !call.key.isEmpty else { return }
        if call.phase == .answering, let confirmedByNs = call.confirmedByNs, nowNs >= confirmedByNs {
            return unconfirmed(number, nowNs)
        }
        let isConfirmationDue = call.confirmedByNs.map { nowNs >= $0 } ?? false
        guard call.phase != .offered, nowNs >= call.checkNs || isConfirmationDue else { return }
        calls[number]!.checkNs = nowNs + UInt64(settings.checkS) * 1_000_000_000
        if isConfirmationDue { calls[number]!.confirmedByNs = nil }
        submit(.list(call.key), isConfirmationDue ? .confirmation : .check, line: number, nowNs)
    }

    private mutating func late(_ call: Call, _ nowNs: UInt64) {
        switch call.phase {
        case .offered:
            count(.openTimeouts)
            log(.warning, "the host neither opened a session nor declined the call \(call.key) within 4 s")
            refuse(call.key, 503, call.number, retryAfterS: 5, nowNs)
            over(call.number, .failed, 503, "No session")
        case .waiting:
            refuse(call.key, 480, call.number, nowNs)
            over(call.number, .noAnswer, 480, "Not answered in time")
        case .starting: over(call.number, .noAnswer, 408, "No answer within the ring timeout")
        case .calling:
            submit(.terminate(call.key), .terminate, line: call.number, nowNs)
            over(call.number, .noAnswer, 408, "No answer within the ring timeout")
        case .answering, .up: calls[call.number]!.deadlineNs = nil
        }
    }

    /// OpenSIPS repeats a 200 for some seconds and then says nothing (no event), so this is ours to end.
    private mutating func unconfirmed(_ number: Int, _ nowNs: UInt64) {
        count(.unconfirmed)
        submit(.terminate(calls[number]!.key), .terminate, line: number, nowNs)
        over(number, .failed, 408, "The caller never confirmed the answer")
    }

    /// The answer to `ua_session_list`.
    private mutating func checked(
        _ ending: ManagementClient.Ending, isConfirmation: Bool, _ number: Int, _ nowNs: UInt64
    ) {
        switch ending {
        case .refused(let code, _) where code == 404 || code == 400:
            count(.lostSessions)
            client.dropQueue(of: number)
            over(number, .failed, 481, "OpenSIPS does not know the call any more")
        case .done(let session) where isConfirmation && session["state"]?.integer == Self.unconfirmedState:
            // Once more after a while: between the 200 and the ACK of a re-INVITE the state is the same.
            if calls[number]!.looksUnconfirmed { return unconfirmed(number, nowNs) }
            calls[number]!.looksUnconfirmed = true
            calls[number]!.confirmedByNs = nowNs + Self.secondLookNs
        case .done, .refused, .timeout: break
        }
    }

    // MARK: Transfer (RFC 5589, 6): REFER, and NOTIFY requests that tell how the peer fares.

    mutating func transfer(_ number: Int?, _ target: String, _ session: UInt64, _ nowNs: UInt64) {
        guard let number, let call = calls[number], call.phase == .up else {
            // After its HANGUP nothing is said of a call.
            if number != nil { emit(.transferred(succeeded: false, code: 0, reason: "The call is not up"), session) }
            return
        }
        guard !call.isTransferring else {
            return emit(.refused(PluginError(.state, "a transfer is under way already")), session)
        }
        let lower = target.lowercased()
        // A number alone is one of the peer's: it knows its own dial plan.
        let isAddress = ["sip:", "sips:", "tel:"].contains { lower.hasPrefix($0) }
        let uri = isAddress ? target : "sip:\(target)@\(call.remote.host)"
        calls[number]!.isTransferring = true
        calls[number]!.transferIsAccepted = false
        calls[number]!.transferDeadlineNs = nowNs + Self.transferDeadlineNs
        ask(.refer(uri), number, nowNs)
    }

    /// RFC 3515, 2.4.5: the body is a fragment that begins with a status line.
    mutating func notified(_ event: SessionEvent, _ number: Int, _ nowNs: UInt64) {
        guard calls[number]?.isTransferring == true else { return }
        let line = (event.body ?? "").prefix { !$0.isNewline }.split(separator: " ", maxSplits: 2)
        let state = (event.headers?["Subscription-State"] ?? "").lowercased()
        if line.count >= 2, line[0] == "SIP/2.0", let code = Int(line[1]), code >= 200 {
            transferred(number, code < 300, code, line.count > 2 ? String(line[2]).withoutControls : "", nowNs)
        } else if state.hasPrefix("terminated") {
            transferred(number, false, 0, "The peer ended the subscription without a result", nowNs)
        }
    }

    mutating func transferred(_ number: Int, _ succeeded: Bool, _ code: Int, _ reason: String, _ nowNs: UInt64) {
        guard let call = calls[number], call.isTransferring else { return }
        calls[number]!.isTransferring = false
        calls[number]!.transferIsAccepted = false
        calls[number]!.transferDeadlineNs = nil
        emit(.transferred(succeeded: succeeded, code: code, reason: reason), call.session)
        if succeeded { hangUp(number, 0, "Transferred", nowNs) }
    }
}
