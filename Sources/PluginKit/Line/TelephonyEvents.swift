// Telephony events as the contract's structs. Any thread may emit: the host copies before it returns.

import PluginABI

func emitTelephony(_ event: TelephonyEvent, from handle: vc_handle, epoch: UInt64) -> vc_status {
    switch event {
    case .ready: return emitBare(VC_EVENT_READY, from: handle, epoch: epoch)
    case .ringing: return emitBare(VC_EVENT_RINGING, from: handle, epoch: epoch)
    case .answered: return emitBare(VC_EVENT_ANSWERED, from: handle, epoch: epoch)
    case .closed: return emitBare(VC_EVENT_CLOSED, from: handle, epoch: epoch)
    case .hangup(let cause, let code, let reason):
        return withString(reason) { reason in
            var body = vc_event_hangup()
            body.cause = cause.rawValue
            body.code = UInt32(clamping: code)
            body.reason = reason
            return emit(&body, \.head, VC_EVENT_HANGUP, from: handle, epoch: epoch)
        }
    case .dtmf(let digits, let durationMs):
        return withString(digits) { digits in
            var body = vc_event_dtmf()
            body.digits = digits
            body.duration_ms = UInt32(clamping: durationMs)
            return emit(&body, \.head, VC_EVENT_DTMF, from: handle, epoch: epoch)
        }
    case .held(let isOn):
        var body = vc_event_held()
        body.on = isOn ? 1 : 0
        return emit(&body, \.head, VC_EVENT_HELD, from: handle, epoch: epoch)
    case .transferred(let succeeded, let code, let reason):
        return withString(reason) { reason in
            var body = vc_event_transferred()
            body.succeeded = succeeded ? 1 : 0
            body.code = UInt32(clamping: code)
            body.reason = reason
            return emit(&body, \.head, VC_EVENT_TRANSFERRED, from: handle, epoch: epoch)
        }
    case .refused(let error):
        return error.withCError { cError in
            var body = vc_event_error()
            body.error = cError
            return emit(&body, \.head, VC_EVENT_ERROR, from: handle, epoch: epoch)
        }
    }
}

func emitIncoming(_ call: IncomingCall, from handle: vc_handle) -> vc_status {
    let texts = [call.key, call.from, call.display, call.to, call.peer, call.protocolCall]
    return withStrings(texts) { texts in
        withFields(call.headers.map { ($0.name, $0.value) }) { fields, count in
            var body = vc_event_incoming()
            body.key = texts[0]
            body.from = texts[1]
            body.display = texts[2]
            body.to = texts[3]
            body.peer = texts[4]
            body.protocol_call = texts[5]
            body.headers = fields
            body.header_count = count
            return emit(&body, \.head, VC_EVENT_INCOMING, from: handle, epoch: 0)
        }
    }
}

func emitWithdrawn(_ key: String, from handle: vc_handle) {
    _ = withString(key) { key in
        var body = vc_event_withdrawn()
        body.key = key
        return emit(&body, \.head, VC_EVENT_WITHDRAWN, from: handle, epoch: 0)
    }
}

func emitBare<Type: BinaryInteger>(_ type: Type, from handle: vc_handle, epoch: UInt64) -> vc_status {
    var body = vc_event()
    return emit(&body, \.self, type, from: handle, epoch: epoch)
}

/// The head is the first member of every event, so a pointer to the event is a pointer to its head.
private func emit<Event, Type: BinaryInteger>(
    _ event: inout Event, _ head: WritableKeyPath<Event, vc_event>, _ type: Type, from handle: vc_handle,
    epoch: UInt64
) -> vc_status {
    event[keyPath: head] = vc_event(
        size: UInt32(MemoryLayout<Event>.size), type: UInt32(type), flags: 0, reserved: 0, epoch: epoch, request: 0)
    return withUnsafePointer(to: &event) {
        HostLine.shared.host.pointee.emit(handle, UnsafeRawPointer($0).assumingMemoryBound(to: vc_event.self))
    }
}
