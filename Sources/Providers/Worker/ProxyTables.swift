// The C tables behind which a worker stands: global functions that find their object in `self` and forward.
//
// A plugin may leave slots out, and the adapters act on that. Which ones is known when a session has been opened, so
// there is a table for each combination that occurs, made once and kept for ever, as the contract asks.

import PluginABI
import Synchronization

enum ProxyTables {
    private struct Key: Hashable {
        let mask: SlotMask
        let kind: PluginKind
    }

    struct Tables: @unchecked Sendable {
        let ops: UnsafePointer<vc_session_ops>
        let kindOps: UnsafeRawPointer?
    }

    private static let made = Mutex<[Key: Tables]>([:])

    static func session(_ mask: SlotMask, _ kind: PluginKind) -> Tables {
        made.withLock { made in
            let key = Key(mask: mask, kind: kind)
            if let known = made[key] { return known }
            let ops = kept(
                vc_session_ops(
                    size: size(vc_session_ops.self), reserved: 0, cancel: mask.has(.cancel) ? proxyCancel : nil,
                    // Always there: the credit of the line goes on where the plugin has no slot for it.
                    credit: proxyCredit, close: mask.has(.close) ? proxyClose : nil,
                    destroy: mask.has(.destroy) ? proxyDestroy : nil))
            let tables = Tables(ops: ops, kindOps: kindOps(mask, kind))
            made[key] = tables
            return tables
        }
    }

    private static func kindOps(_ mask: SlotMask, _ kind: PluginKind) -> UnsafeRawPointer? {
        switch kind {
        case .voiceActivity: return nil
        case .speechToText:
            return raw(
                vc_stt_ops(
                    size: size(vc_stt_ops.self), reserved: 0, begin: mask.has(.begin) ? proxyBegin : nil,
                    push: mask.has(.push) ? proxyPush : nil, finalize: mask.has(.finalize) ? proxyFinalize : nil))
        case .turn:
            return raw(
                vc_turn_ops(
                    size: size(vc_turn_ops.self), reserved: 0, push: mask.has(.turnPush) ? proxyTurnPush : nil,
                    transcript: mask.has(.transcript) ? proxyTranscript : nil,
                    decide: mask.has(.decide) ? proxyDecide : nil))
        case .languageModel:
            return raw(
                vc_llm_ops(
                    size: size(vc_llm_ops.self), reserved: 0, request: mask.has(.request) ? proxyRequest : nil,
                    tool_result: mask.has(.toolResult) ? proxyToolResult : nil))
        case .textToSpeech:
            return raw(
                vc_tts_ops(size: size(vc_tts_ops.self), reserved: 0, speak: mask.has(.speak) ? proxySpeak : nil))
        case .telephony:
            var frames: UnsafePointer<vc_telephony_frames_ops>?
            if mask.has(.play) || mask.has(.mark) || mask.has(.flush) {
                frames = kept(
                    vc_telephony_frames_ops(
                        size: size(vc_telephony_frames_ops.self), reserved: 0,
                        play: mask.has(.play) ? proxyPlay : nil, mark: mask.has(.mark) ? proxyMark : nil,
                        flush: mask.has(.flush) ? proxyFlush : nil))
            }
            return raw(
                vc_telephony_ops(
                    size: size(vc_telephony_ops.self), reserved: 0, ringing: mask.has(.ringing) ? proxyRinging : nil,
                    answer: mask.has(.answer) ? proxyAnswer : nil, hangup: mask.has(.hangup) ? proxyHangup : nil,
                    transfer: mask.has(.transfer) ? proxyTransfer : nil, hold: mask.has(.hold) ? proxyHold : nil,
                    dtmf: mask.has(.dtmf) ? proxyDTMF : nil, frames: frames))
        }
    }

    /// A provider's table. Its strings and its kind's table live as long as the process.
    static func provider(_ description: ModuleDescription.Provider) -> vc_provider {
        var table = vc_provider()
        table.size = size(vc_provider.self)
        table.create = proxyCreate
        table.start = description.hasStart ? proxyStart : nil
        table.drain = description.hasDrain ? proxyDrain : nil
        table.destroy = proxyProviderDestroy
        table.open = proxyOpen
        switch PluginKind(rawValue: description.kind) {
        case .voiceActivity where description.hasKindOps:
            table.kind_ops = raw(
                vc_vad_provider_ops(
                    size: size(vc_vad_provider_ops.self), window_8k: description.window8k,
                    window_16k: description.window16k, reserved: 0, process: proxyProcess))
        case .telephony where description.hasKindOps:
            table.kind_ops = raw(
                vc_telephony_provider_ops(
                    size: size(vc_telephony_provider_ops.self), reserved: 0, decline: proxyDecline))
        default: break
        }
        return table
    }

    private static func size<Table>(_: Table.Type) -> UInt32 { UInt32(MemoryLayout<Table>.size) }

    private static func kept<Table>(_ table: Table) -> UnsafePointer<Table> {
        let memory = UnsafeMutablePointer<Table>.allocate(capacity: 1)
        memory.initialize(to: table)
        return UnsafePointer(memory)
    }

    private static func raw<Table>(_ table: Table) -> UnsafeRawPointer { UnsafeRawPointer(kept(table)) }
}

private func provider(_ theirs: vc_self?) -> ProxyProvider {
    Unmanaged<ProxyProvider>.fromOpaque(theirs!).takeUnretainedValue()
}

private func session(_ theirs: vc_self?) -> ProxySession {
    Unmanaged<ProxySession>.fromOpaque(theirs!).takeUnretainedValue()
}

// MARK: A provider's slots

private func proxyCreate(
    _ request: UnsafePointer<vc_create>, _ theirs: UnsafeMutablePointer<vc_self?>,
    _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    let handle = request.pointee.provider
    guard let plan = WorkerPlan.waiting.withLock({ $0.removeValue(forKey: handle) }) else {
        preconditionFailure("a worker was to be created without a plan")
    }
    let (status, proxy) = ProxyProvider.create(plan, handle, error)
    if let proxy { theirs.pointee = Unmanaged.passRetained(proxy).toOpaque() }
    return status
}

private func proxyStart(_ theirs: vc_self?, _ error: UnsafeMutablePointer<vc_error>) -> vc_status {
    provider(theirs).start(error)
}

private func proxyDrain(_ theirs: vc_self?) { provider(theirs).drain() }

private func proxyProviderDestroy(_ theirs: vc_self?) {
    let proxy = Unmanaged<ProxyProvider>.fromOpaque(theirs!).takeRetainedValue()
    proxy.destroy()
}

private func proxyOpen(
    _ theirs: vc_self?, _ request: UnsafePointer<vc_open>, _ session: UnsafeMutablePointer<vc_session>,
    _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    provider(theirs).open(request, session, error)
}

private func proxyProcess(_ theirs: vc_self?, _ batch: UnsafePointer<vc_vad_batch>) -> vc_status {
    provider(theirs).process(batch)
}

private func proxyDecline(_ theirs: vc_self?, _ key: vc_str, _ code: UInt32, _ retryAfterS: UInt32) -> vc_status {
    provider(theirs).decline(key, code, retryAfterS)
}

// MARK: A session's slots

private func proxyCancel(_ theirs: vc_self?, _ epoch: UInt64) { session(theirs).cancel(epoch) }

private func proxyCredit(_ theirs: vc_self?, _ events: UInt32, _ bytes: UInt64) { session(theirs).credit() }

private func proxyClose(_ theirs: vc_self?) { session(theirs).close() }

private func proxyDestroy(_ theirs: vc_self?) {
    Unmanaged<ProxySession>.fromOpaque(theirs!).takeRetainedValue().destroy()
}

private func proxyBegin(_ theirs: vc_self?, _ utterance: UInt64, _ position: UInt64) -> vc_status {
    session(theirs).post(.begin) { writer in
        writer.put(utterance)
        writer.put(position)
    }
}

private func proxyPush(_ theirs: vc_self?, _ frame: UnsafePointer<vc_frame>) -> vc_status {
    session(theirs).post(.push) { $0.put(frame.pointee) }
}

private func proxyFinalize(_ theirs: vc_self?, _ request: UInt64, _ position: UInt64, _ flags: UInt32) -> vc_status {
    session(theirs).post(.finalize) { writer in
        writer.put(request)
        writer.put(position)
        writer.put(flags)
    }
}

private func proxyTurnPush(_ theirs: vc_self?, _ frame: UnsafePointer<vc_frame>) -> vc_status {
    session(theirs).post(.turnPush) { $0.put(frame.pointee) }
}

private func proxyTranscript(_ theirs: vc_self?, _ text: vc_str, _ final: UInt32) -> vc_status {
    session(theirs).post(.transcript) { writer in
        writer.put(text)
        writer.put(final)
    }
}

private func proxyDecide(_ theirs: vc_self?, _ request: UInt64, _ position: UInt64) -> vc_status {
    session(theirs).post(.decide) { writer in
        writer.put(request)
        writer.put(position)
    }
}

private func proxyRequest(_ theirs: vc_self?, _ request: UnsafePointer<vc_llm_request>) -> vc_status {
    let request = request.pointee
    return session(theirs).post(.request) { writer in
        writer.put(request.request)
        writer.put(request.epoch)
        writer.put(request.flags)
        writer.put(request.messages)
        writer.put(request.tools)
        writer.put(request.options)
    }
}

private func proxyToolResult(_ theirs: vc_self?, _ request: UInt64, _ call: vc_str, _ result: vc_str) -> vc_status {
    session(theirs).post(.toolResult) { writer in
        writer.put(request)
        writer.put(call)
        writer.put(result)
    }
}

private func proxySpeak(
    _ theirs: vc_self?, _ request: UInt64, _ epoch: UInt64, _ text: vc_str, _ flags: UInt32
) -> vc_status {
    session(theirs).post(.speak) { writer in
        writer.put(request)
        writer.put(epoch)
        writer.put(text)
        writer.put(flags)
    }
}

private func proxyRinging(_ theirs: vc_self?) -> vc_status { session(theirs).ask(.ringing) { _ in } }

private func proxyAnswer(_ theirs: vc_self?) -> vc_status { session(theirs).ask(.answer) { _ in } }

private func proxyHangup(_ theirs: vc_self?, _ code: UInt32, _ reason: vc_str) -> vc_status {
    session(theirs).ask(.hangup) { writer in
        writer.put(code)
        writer.put(reason)
    }
}

private func proxyTransfer(_ theirs: vc_self?, _ target: vc_str) -> vc_status {
    session(theirs).ask(.transfer) { $0.put(target) }
}

private func proxyHold(_ theirs: vc_self?, _ on: UInt32) -> vc_status { session(theirs).ask(.hold) { $0.put(on) } }

private func proxyDTMF(_ theirs: vc_self?, _ digits: vc_str) -> vc_status {
    session(theirs).ask(.dtmf) { $0.put(digits) }
}

private func proxyPlay(_ theirs: vc_self?, _ frame: UnsafePointer<vc_frame>) -> vc_status {
    session(theirs).post(.play) { $0.put(frame.pointee) }
}

private func proxyMark(_ theirs: vc_self?, _ mark: UInt64) -> vc_status { session(theirs).post(.mark) { $0.put(mark) } }

private func proxyFlush(_ theirs: vc_self?) -> vc_status { session(theirs).post(.flush) { _ in } }
