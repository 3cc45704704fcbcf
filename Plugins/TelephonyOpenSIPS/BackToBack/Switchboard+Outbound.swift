// A call that goes out: `ua_session_client_start`, whose answer is the key, and then events.

import JSON
import PluginKit

extension Switchboard {
    mutating func openOutbound(_ wanted: OutboundCall, _ session: UInt64, _ nowNs: UInt64) {
        emit(.ready, session)
        guard !isDraining, calls.count < settings.callsMax else {
            return emit(
                .hangup(.failed, code: 503, reason: isDraining ? "Draining" : "calls_max is reached"), session)
        }
        guard let to = address(of: wanted.to) else {
            return emit(
                .hangup(.failed, code: 404, reason: "A number needs outbound_domain, and an address no comma"), session)
        }
        latest += 1
        var call = Call(
            number: latest, key: "", session: session, isInbound: false, phase: .starting,
            checkNs: nowNs + UInt64(settings.checkS) * 1_000_000_000)
        call.remote = MessageAddress(parsing: "<\(to)>")
        let from = wanted.from.isEmpty ? settings.outboundUser : wanted.from
        let own = address(of: from) ?? "sip:\(settings.outboundUser)@\(call.remote.host)"
        call.local = MessageAddress(parsing: "<\(own)>")
        call.deadlineNs =
            nowNs + (wanted.ringTimeoutMs > 0 ? UInt64(wanted.ringTimeoutMs) * 1_000_000 : Self.ringDeadlineNs)
        // Kept until the description is there.
        call.offer = wanted.headers.map { "\($0.name): \($0.value)\r\n" }.joined()
        calls[latest] = call
        bySession[session] = latest
        describe(.offer, for: .call, latest)
    }

    /// "sip:alice@example.com" stays, a number becomes one of `outbound_domain`. OpenSIPS takes what stands before a
    /// comma for a name, so an address has none.
    private func address(of text: String) -> String? {
        guard !text.contains(",") else { return nil }
        let lower = text.lowercased()
        if lower.hasPrefix("sip:") || lower.hasPrefix("sips:") { return text }
        guard !settings.outboundDomain.isEmpty else { return nil }
        return "sip:\(lower.hasPrefix("tel:") ? String(text.dropFirst(4)) : text)@\(settings.outboundDomain)"
    }

    mutating func place(_ answer: MediaAnswer, _ number: Int, _ nowNs: UInt64) {
        let call = calls[number]!
        guard case .text(let ours) = answer else {
            return over(
                number, .failed, answer == .noPort ? 503 : 500,
                answer == .noPort ? "No media port is free" : "The media service made no offer")
        }
        count(.outboundCalls)
        starting += 1
        submit(
            .start(
                to: call.remote.uri, from: call.local.uri, description: ours, headers: call.offer,
                proxy: settings.outboundProxy, socket: settings.outboundSocket),
            .start, line: number, nowNs)
    }

    /// OpenSIPS said the key, or why there is none.
    mutating func started(_ number: Int, _ ending: ManagementClient.Ending, _ nowNs: UInt64) {
        starting -= 1
        defer { if starting == 0 { earlyEvents = [] } }
        switch ending {
        case .done(let result):
            guard let key = result.string, !key.isEmpty else {
                if calls[number] != nil { over(number, .failed, 500, "OpenSIPS gave no key") }
                return
            }
            guard calls[number] != nil else {
                // Hung up meanwhile.
                return submit(.terminate(key), .terminate, line: number, nowNs)
            }
            calls[number]!.key = key
            calls[number]!.phase = .calling
            byKey[key] = number
            let early = earlyEvents.filter { $0.event.key == key }
            earlyEvents.removeAll { $0.event.key == key }
            for (event, _) in early where byKey[key] != nil { take(event, number, nowNs) }
        case .refused(let code, let message):
            if calls[number] != nil { over(number, .failed, code, message) }
        case .timeout:
            if calls[number] != nil { over(number, .failed, 408, "OpenSIPS did not answer") }
        }
    }

    /// The callee answered or refused.
    mutating func calledBack(_ event: SessionEvent, _ number: Int, _ nowNs: UInt64) {
        guard event.kind == .answered else {
            let isSilence = [408, 480, 487].contains(event.status)
            let isRefusal = event.status < 500 || event.status >= 600
            return over(
                number, isSilence ? .noAnswer : isRefusal ? .refused : .failed, event.status, event.reason)
        }
        calls[number]!.deadlineNs = nil
        guard let body = event.body, !body.isEmpty else { return callAnswered(.nonsense, number, nowNs) }
        describe(.accept(body), for: .callAnswered, number)
    }

    mutating func callAnswered(_ answer: MediaAnswer, _ number: Int, _ nowNs: UInt64) {
        let call = calls[number]!
        guard case .text = answer else {
            count(.mediaRefusals)
            submit(.terminate(call.key), .terminate, line: number, nowNs)
            return over(number, .failed, 488, "The callee's description was refused")
        }
        calls[number]!.phase = .up
        emit(.answered, call.session)
    }
}
