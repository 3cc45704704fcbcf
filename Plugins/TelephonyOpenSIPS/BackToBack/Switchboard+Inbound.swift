// A call that comes in: NEW → INCOMING → (the host opens a session) → 180, 200, or a refusal.

import PluginKit

extension Switchboard {
    /// An event of some session.
    mutating func take(_ event: SessionEvent, _ peer: String, _ nowNs: UInt64) {
        if event.kind == .new {
            invited(event, peer, nowNs)
        } else if let number = byKey[event.key] {
            take(event, number, nowNs)
        } else if event.isOutbound, starting > 0 {
            // The answer with the key is on its way behind it.
            if earlyEvents.count < Self.earlyEventsMax { earlyEvents.append((event, peer)) }
        } else {
            count(.unknownKeys)
            if event.kind == .updated, event.method != "ACK" {
                let refusal = ManagementCommand.reply(event.key, event.method, 481)
                submit(refusal, .reply(method: event.method, code: 481), line: 0, nowNs)
            } else if event.kind == .terminated, event.method == "CANCEL" {
                goneKeys.append(event.key)
                if goneKeys.count > Self.goneKeysMax { goneKeys.removeFirst() }
            }
        }
    }

    private mutating func invited(_ event: SessionEvent, _ peer: String, _ nowNs: UInt64) {
        // A datagram may come twice, and a subscription made under two names brings all of them twice.
        guard byKey[event.key] == nil else { return count(.unknownKeys) }
        if let gone = goneKeys.firstIndex(of: event.key) {
            goneKeys.remove(at: gone)
            return refuse(event.key, 487, 0, nowNs)
        }
        guard let headers = event.headers, let body = event.body else {
            if !hasWarnedOfFlags {
                hasWarnedOfFlags = true
                log(
                    .warning,
                    "a call came without headers or body and is refused: give ua_session_server_init the flags h and "
                        + "b, \"drbh\"")
            }
            return refuse(event.key, 500, 0, nowNs)
        }
        guard !isDraining, calls.count < settings.callsMax else {
            count(.limited)
            return refuse(event.key, 503, 0, retryAfterS: isDraining ? 30 : 5, nowNs)
        }
        // An INVITE without a description has its answer in the ACK, which is not reported without the flag `a`.
        guard !body.isEmpty || settings.reportsACK else { return refuse(event.key, 415, 0, nowNs) }
        latest += 1
        var call = Call(
            number: latest, key: event.key, isInbound: true, phase: .offered,
            checkNs: nowNs + UInt64(settings.checkS) * 1_000_000_000)
        call.offer = body
        call.deadlineNs = nowNs + Self.openDeadlineNs
        call.remote = MessageAddress(parsing: headers["From"] ?? "")
        call.local = MessageAddress(parsing: headers["To"] ?? "")
        calls[latest] = call
        byKey[event.key] = latest
        count(.calls)
        actions.append(.incoming(announcement(event, headers, call, peer)))
    }

    private func announcement(
        _ event: SessionEvent, _ headers: MessageHeaders, _ call: Call, _ peer: String
    ) -> IncomingCall {
        let callee = MessageAddress(parsing: headers[settings.calleeHeader] ?? "").uri
        var others = headers.informative.filter { isToken($0.name) }.map {
            OutboundCall.Header(name: $0.name, value: $0.value)
        }
        if !event.extraParams.isEmpty {
            others.append(.init(name: "X-OpenSIPS-Extra-Params", value: String(event.extraParams.prefix(1024))))
        }
        return IncomingCall(
            key: event.key, from: call.remote.uri, display: call.remote.display,
            to: callee.isEmpty ? call.local.uri : callee, peer: peer, protocolCall: headers["Call-ID"] ?? "",
            headers: others)
    }

    private func isToken(_ name: String) -> Bool {
        name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "-.!%*_+`'~".utf8.contains(byte)
            }
        }
    }

    mutating func openInbound(_ key: String, _ session: UInt64, _ nowNs: UInt64) {
        emit(.ready, session)
        guard let number = byKey[key], calls[number]!.phase == .offered else {
            // Withdrawn while the host opened the session.
            return emit(.hangup(.canceled, code: 487, reason: "Gone before the session was open"), session)
        }
        calls[number]!.session = session
        calls[number]!.phase = .waiting
        calls[number]!.deadlineNs = nowNs + Self.ringDeadlineNs
        bySession[session] = number
    }

    mutating func ring(_ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number], call.phase == .waiting, !call.hasRung else { return }
        calls[number]!.hasRung = true
        submit(.reply(call.key, "INVITE", 180), .reply(method: "INVITE", code: 180), line: number, nowNs)
    }

    mutating func answer(_ number: Int) {
        guard let call = calls[number], call.phase == .waiting, call.description == nil else { return }
        describe(call.offer.isEmpty ? .offer : .answer(call.offer), for: .firstAnswer, number)
    }

    /// The media service answered the first offer of the caller.
    mutating func firstAnswer(_ answer: MediaAnswer, _ number: Int, _ nowNs: UInt64) {
        let call = calls[number]!
        switch answer {
        case .text(let ours):
            calls[number]!.phase = .answering
            calls[number]!.deadlineNs = nil
            calls[number]!.awaitsAnswer = call.offer.isEmpty
            submit(
                .reply(call.key, "INVITE", 200, body: ours), .reply(method: "INVITE", code: 200), line: number, nowNs)
        case .noPort:
            refuse(call.key, 503, number, retryAfterS: 5, nowNs)
            over(number, .failed, 503, "No media port is free")
        case .mismatch, .nonsense, .failed:
            let code = answer == .mismatch ? 488 : answer == .nonsense ? 400 : 500
            count(.mediaRefusals)
            refuse(call.key, code, number, nowNs)
            over(number, .failed, code, "The description was refused")
        }
    }

    /// OpenSIPS answered the command that sent 200.
    mutating func answerSent(_ ending: ManagementClient.Ending, _ number: Int, _ nowNs: UInt64) {
        guard let call = calls[number], call.phase == .answering else { return }
        switch ending {
        case .done:
            calls[number]!.confirmedByNs = nowNs + Self.confirmationNs
            if !settings.reportsACK || call.sawACK { confirmed(number) }
        case .refused(let code, let message):
            // The transaction is gone: the caller gave up, and the CANCEL was lost on its way here.
            over(number, .failed, code, message)
        case .timeout:
            submit(.terminate(call.key), .terminate, line: number, nowNs)
            over(number, .failed, 408, "OpenSIPS did not answer")
        }
    }

    /// The caller confirmed the answer, or does what only a caller does who heard it.
    mutating func confirmed(_ number: Int) {
        guard let call = calls[number], call.phase == .answering else { return }
        calls[number]!.phase = .up
        if settings.reportsACK { calls[number]!.confirmedByNs = nil }
        emit(.answered, call.session)
    }

    /// Refuses an INVITE. `Retry-After` needs an empty body, which is the work-around of `ManagementCommand`.
    mutating func refuse(_ key: String, _ code: Int, _ line: Int, retryAfterS: Int = 0, _ nowNs: UInt64) {
        let headers = retryAfterS > 0 ? "Retry-After: \(retryAfterS)\r\n" : ""
        submit(.reply(key, "INVITE", code, headers: headers), .reply(method: "INVITE", code: code), line: line, nowNs)
    }

    mutating func refuse(_ key: String, _ code: Int, retryAfterS: Int, _ line: Int, _ nowNs: UInt64) {
        refuse(key, code, line, retryAfterS: retryAfterS, nowNs)
    }

    mutating func describe(_ question: MediaQuestion, for purpose: Call.Description, _ number: Int) {
        guard let session = calls[number]?.session else { return }
        calls[number]!.description = purpose
        actions.append(.describe(question, session: session))
    }

    mutating func described(_ answer: MediaAnswer, _ number: Int, _ nowNs: UInt64) {
        guard let purpose = calls[number]?.description else { return }
        calls[number]!.description = nil
        switch purpose {
        case .firstAnswer: firstAnswer(answer, number, nowNs)
        case .change(let method): changed(answer, method, number, nowNs)
        case .call: place(answer, number, nowNs)
        case .callAnswered: callAnswered(answer, number, nowNs)
        case .hold(let isOn): sendHold(answer, isOn, number, nowNs)
        case .holdAnswered: if case .text = answer {} else { count(.mediaRefusals) }
        case .lateAnswer: lateAnswer(answer, number, nowNs)
        }
    }
}
