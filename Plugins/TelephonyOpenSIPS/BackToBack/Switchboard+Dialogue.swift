// What happens within a call: requests of the peer, which wait for our answer, and requests of ours, one at a time.
//
// Every request of the peer but BYE, CANCEL and ACK is answered: OpenSIPS absorbs the repetitions of one that is not,
// and refuses whatever else the peer sends meanwhile.

import PluginKit

extension Switchboard {
    /// An event of a call that is known.
    mutating func take(_ event: SessionEvent, _ number: Int, _ nowNs: UInt64) {
        switch event.kind {
        case .new: break
        case .terminated where event.method == "CANCEL": canceled(number, nowNs)
        case .terminated:
            // OpenSIPS answered the BYE and forgot the session: nothing that we could say would arrive.
            if calls[number]!.phase == .answering { confirmed(number) }
            client.dropQueue(of: number)
            over(number, .caller, 0, "")
        case .updated: updated(event, number, nowNs)
        case .early:
            guard let call = calls[number], call.phase == .calling, event.status > 100, !call.hasRung else { return }
            calls[number]!.hasRung = true
            emit(.ringing, call.session)
        case .answered, .rejected:
            if calls[number]!.phase == .calling, event.method == "INVITE" {
                calledBack(event, number, nowNs)
            } else {
                requestAnswered(event, number, nowNs)
            }
        }
    }

    private mutating func updated(_ event: SessionEvent, _ number: Int, _ nowNs: UInt64) {
        if event.method == "ACK" {
            calls[number]!.sawACK = true
            calls[number]!.confirmedByNs = nil
            guard calls[number]!.awaitsAnswer else { return confirmed(number) }
            calls[number]!.awaitsAnswer = false
            calls[number]!.offer = event.body ?? ""
            return describe(.accept(calls[number]!.offer), for: .lateAnswer, number)
        }
        // Whoever sends a request in the dialogue has our answer; events may be faster than the answer to a command.
        confirmed(number)
        guard let call = calls[number] else { return }
        switch event.method {
        case "INVITE", "UPDATE":
            guard let body = event.body, call.phase == .up, call.description == nil else {
                return reply(event.method, 488, number, nowNs)
            }
            if !body.isEmpty {
                calls[number]!.offer = body
                describe(.answer(body), for: .change(method: event.method), number)
            } else if event.method == "UPDATE" {
                // A refresh of the session timer (RFC 4028).
                reply(event.method, 200, number, nowNs)
            } else {
                calls[number]!.offer = ""
                describe(.offer, for: .change(method: event.method), number)
            }
        case "INFO": pressed(event, number, nowNs)
        case "NOTIFY":
            reply(event.method, 200, number, nowNs)
            notified(event, number, nowNs)
        case "OPTIONS", "PRACK": reply(event.method, 200, number, nowNs)
        // REFER from a peer is how toll fraud is done; MESSAGE and SUBSCRIBE have nobody here who reads them.
        default: reply(event.method, 405, number, nowNs)
        }
    }

    mutating func reply(_ method: String, _ code: Int, _ number: Int, body: String? = nil, _ nowNs: UInt64) {
        guard let key = calls[number]?.key else { return }
        submit(.reply(key, method, code, body: body), .reply(method: method, code: code), line: number, nowNs)
    }

    /// The media service answered a new description of the peer. When it refuses, the call goes on as it was
    /// (RFC 3261, 14.2).
    mutating func changed(_ answer: MediaAnswer, _ method: String, _ number: Int, _ nowNs: UInt64) {
        let call = calls[number]!
        guard case .text(let ours) = answer else {
            count(.mediaRefusals)
            return reply(method, answer == .nonsense ? 400 : 488, number, nowNs)
        }
        reply(method, 200, number, body: ours, nowNs)
        guard !call.offer.isEmpty else {
            calls[number]!.awaitsAnswer = settings.reportsACK
            return
        }
        tellHold(number)
    }

    /// The ACK had the answer to our offer, or nothing that is one.
    mutating func lateAnswer(_ answer: MediaAnswer, _ number: Int, _ nowNs: UInt64) {
        guard case .text = answer else {
            count(.mediaRefusals)
            submit(.terminate(calls[number]!.key), .terminate, line: number, nowNs)
            return over(number, .failed, 488, "No usable answer to our offer")
        }
        confirmed(number)
        tellHold(number)
    }

    private mutating func tellHold(_ number: Int) {
        let call = calls[number]!
        let isHeld = Description.isHold(call.offer)
        guard isHeld != call.isHeldByPeer else { return }
        calls[number]!.isHeldByPeer = isHeld
        emit(.held(isHeld), call.session)
    }

    private mutating func pressed(_ event: SessionEvent, _ number: Int, _ nowNs: UInt64) {
        let body = event.body ?? ""
        guard !body.isEmpty else { return reply("INFO", 200, number, nowNs) }
        let type = (event.headers?["Content-Type"] ?? "").prefix { $0 != ";" && $0 != " " }.lowercased()
        // Without the flag `h` nothing says what it is but itself.
        let isRelay = type == "application/dtmf-relay" || (type.isEmpty && body.contains("="))
        guard isRelay || type == "application/dtmf" || type.isEmpty else { return reply("INFO", 415, number, nowNs) }
        guard let (digit, durationMs) = PressedKey.read(body, isRelay: isRelay) else {
            return reply("INFO", 400, number, nowNs)
        }
        reply("INFO", 200, number, nowNs)
        count(.digits)
        emit(.dtmf(digit, durationMs: durationMs), calls[number]?.session)
    }

    // MARK: Requests of ours

    mutating func ask(_ request: DialogueRequest, _ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number], call.phase == .up else { return }
        guard call.requests.count < Call.requestsMax else {
            return refused(request, "too many requests wait for the peer", number)
        }
        calls[number]!.requests.append(request)
        nextRequest(number, nowNs)
    }

    private mutating func nextRequest(_ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number], call.phase == .up, call.request == nil, let next = call.requests.first else {
            return
        }
        calls[number]!.requests.removeFirst()
        calls[number]!.request = next
        calls[number]!.requestDeadlineNs = nowNs + Self.requestDeadlineNs
        switch next {
        case .hold(let isOn):
            guard isOn != call.isHeldByUs else { return requestOver(number, nowNs) }
            describe(.offer, for: .hold(isOn), number)
        case .digit(let digit):
            let body = "Signal=\(digit)\r\nDuration=160\r\n"
            submit(
                .request(call.key, "INFO", body: body, contentType: "application/dtmf-relay"), .request(next),
                line: number, nowNs)
        case .refer(let target):
            count(.transfers)
            let headers = "Refer-To: <\(target)>\r\nReferred-By: <\(call.local.uri)>\r\n"
            submit(.request(call.key, "REFER", headers: headers), .request(next), line: number, nowNs)
        }
    }

    mutating func sendHold(_ answer: MediaAnswer, _ isOn: Bool, _ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number] else { return }
        guard case .text(let ours) = answer else {
            refused(.hold(isOn), "the media service made no offer", number)
            return requestOver(number, nowNs)
        }
        calls[number]!.isHeldByUs = isOn
        submit(
            .request(call.key, "INVITE", body: isOn ? Description.held(ours) : ours), .request(.hold(isOn)),
            line: number, nowNs)
    }

    private mutating func requestAnswered(_ event: SessionEvent, _ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number], let request = call.request, request.method == event.method else { return }
        let isDone = event.kind == .answered
        if case .hold(let isOn) = request {
            if isDone {
                if settings.leavesACK, call.isInbound {
                    submit(.request(call.key, "ACK"), .acknowledge, line: number, nowNs)
                }
                if let body = event.body, !body.isEmpty { describe(.accept(body), for: .holdAnswered, number) }
            } else {
                calls[number]!.isHeldByUs = !isOn
            }
        }
        if case .refer = request, call.isTransferring {
            if isDone { calls[number]!.transferIsAccepted = true } else {
                transferred(number, false, event.status, event.reason, nowNs)
            }
        } else if !isDone {
            refused(request, "the peer refused \(event.method): \(event.status) \(event.reason)", number)
        }
        requestOver(number, nowNs)
    }

    /// OpenSIPS took a request of ours, or did not.
    mutating func requestSent(
        _ request: DialogueRequest, _ ending: ManagementClient.Ending, _ number: Int, _ nowNs: UInt64
    ) {
        if case .done = ending { return }
        var words = "OpenSIPS did not answer"
        var code = 408
        if case .refused(let number, let message) = ending { (code, words) = (number, message) }
        if case .refer = request { transferred(number, false, code, words, nowNs) } else {
            if case .hold(let isOn) = request { calls[number]?.isHeldByUs = !isOn }
            refused(request, words, number)
        }
        if calls[number]?.request == request { requestOver(number, nowNs) }
    }

    mutating func requestOver(_ number: Int, _ nowNs: UInt64) {
        guard calls[number] != nil else { return }
        calls[number]!.request = nil
        calls[number]!.requestDeadlineNs = nil
        nextRequest(number, nowNs)
    }

    private mutating func refused(_ request: DialogueRequest, _ words: String, _ number: Int) {
        let what = switch request {
        case .hold(let isOn): isOn ? "the hold" : "the end of the hold"
        case .digit(let digit): "the digit \(digit)"
        case .refer(let target): "the transfer to \(target)"
        }
        let error = PluginError(.vendor, "\(what) was not done: \(words)", vendor: "OpenSIPS")
        emit(.refused(error), calls[number]?.session)
    }
}
