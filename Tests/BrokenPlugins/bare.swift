// The voice of tts.c once more, in Swift on the bare headers, with the faults of whoever does without PluginKit.
// SPDX-License-Identifier: Apache-2.0
//
// What the kit would do is by hand here: a retain in `open` and its release in `destroy`, memory that is lent and not
// kept, numbers of the other side that need not be in an enumeration, and tasks, which know of no `destroy`.

import PluginABI
import Synchronization

nonisolated(unsafe) private var host: UnsafePointer<vc_host>!

@c(vc_plugin_entry_v1)
public func entry(
    _ from: UnsafePointer<vc_host>, _ module: UnsafeMutablePointer<UnsafePointer<vc_module>?>
) -> vc_status {
    host = from
    #if BREAK_VC_ENT_03
        module.pointee = makeModule()
    #else
        module.pointee = theModule.pointer
    #endif
    return vc_status(VC_OK)
}

/// Tables live as long as the process.
private struct Table<Value>: @unchecked Sendable {
    let pointer: UnsafePointer<Value>
    init(_ value: Value) {
        let memory = UnsafeMutablePointer<Value>.allocate(capacity: 1)
        memory.initialize(to: value)
        pointer = UnsafePointer(memory)
    }
}

private func size<Value>(_ type: Value.Type) -> UInt32 { UInt32(MemoryLayout<Value>.size) }

private func literal(_ text: StaticString) -> vc_str {
    vc_str(
        data: UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self),
        length: UInt64(text.utf8CodeUnitCount))
}

private let theModule = Table(makeModule().pointee)
private let sessionOps = Table(
    vc_session_ops(
        size: size(vc_session_ops.self), reserved: 0, cancel: cancelSession, credit: creditSession,
        close: closeSession, destroy: destroySession))
private let voiceOps = Table(vc_tts_ops(size: size(vc_tts_ops.self), reserved: 0, speak: speak))

private func makeModule() -> UnsafePointer<vc_module> {
    let provider = Table(
        vc_provider(
            size: size(vc_provider.self), reserved: 0, kind: literal("vc.tts/1"), id: literal("org.vchost.good"),
            create: createProvider, start: nil, drain: drainProvider, destroy: destroyProvider, open: openSession,
            kind_ops: nil))
    let list = Table<UnsafePointer<vc_provider>?>(provider.pointer)
    return Table(
        vc_module(
            size: size(vc_module.self), minor: UInt32(VC_ABI_MINOR), host_minor_min: 0, provider_count: 1,
            providers: list.pointer)
    ).pointer
}

private func head<Event>(_ type: Int, _ event: Event.Type, epoch: UInt64 = 0, request: UInt64 = 0) -> vc_event {
    vc_event(size: size(event), type: UInt32(type), flags: 0, reserved: 0, epoch: epoch, request: request)
}

private func emit<Event>(_ object: vc_handle, _ event: Event) -> vc_status {
    withUnsafePointer(to: event) { event in
        event.withMemoryRebound(to: vc_event.self, capacity: 1) { host.pointee.emit(object, $0) }
    }
}

private func tell(_ object: vc_handle, _ type: Int, epoch: UInt64 = 0) {
    _ = emit(object, head(type, vc_event.self, epoch: epoch))
}

// MARK: The voice

private final class Provider {
    let handle: vc_handle
    var wordMs: Int64 = 200
    var sessionCount = 0
    var isDraining = false

    init(handle: vc_handle) { self.handle = handle }

    func sayWhenDrained() {
        if isDraining, sessionCount == 0 { tell(handle, VC_EVENT_DRAINED) }
    }
}

private final class Session {
    static let requestsMax = 64

    struct Request {
        let number: UInt64
        let epoch: UInt64
        var samplesLeft = 0
        var position = 0
        var isComplete = false
    }

    let owner: Provider
    let handle: vc_handle
    let rateHz: Int
    let epoch: Atomic<UInt64>
    let isClosed = Atomic(false)
    private var requests: [Request] = []
    private var sequence: UInt64 = 0
    /// 100 ms of the tone, a whole number of its periods.
    private let tone: [Int16]
    private var latest: UnsafeBufferPointer<CChar>?
    let everything = Mutex(0)

    init(_ owner: Provider, _ request: vc_open) {
        self.owner = owner
        handle = request.session
        rateHz = Int(request.rate_hz)
        epoch = Atomic(request.epoch)
        tone = (0..<rateHz / 10).map { $0 % 20 < 10 ? 4_000 : -4_000 }
        owner.sessionCount += 1
    }

    func speak(_ number: UInt64, _ at: UInt64, _ text: UnsafeBufferPointer<CChar>, isLast: Bool) -> vc_status {
        guard !isClosed.load(ordering: .acquiring) else { return vc_status(VC_E_CLOSED) }
        #if BREAK_VC_MEM_04
            if let latest, !latest.isEmpty { precondition(latest[0] != 0x7f) }
            if text.count < 64 { latest = text }
        #endif
        if requests.last?.number != number || requests.last?.isComplete == true {
            guard requests.count < Self.requestsMax else { return vc_status(VC_E_AGAIN) }
            requests.append(Request(number: number, epoch: at))
        }
        requests[requests.count - 1].samplesLeft += text.split(separator: 0x20).count * rateHz / 1_000 * Int(owner.wordMs)
        requests[requests.count - 1].isComplete = isLast
        advance()
        return vc_status(VC_OK)
    }

    func advance() {
        while let request = requests.first {
            var status = vc_status(request.epoch < epoch.load(ordering: .acquiring) ? VC_E_CANCELED : VC_OK)
            while status == vc_status(VC_OK), requests[0].samplesLeft > 0 { status = say() }
            if status == vc_status(VC_E_AGAIN) || (status == vc_status(VC_OK) && !request.isComplete) { return }
            _ = emit(
                handle,
                vc_event_tts_done(
                    head: head(
                        VC_EVENT_TTS_DONE, vc_event_tts_done.self, epoch: request.epoch, request: request.number),
                    reason: UInt32(status == vc_status(VC_OK) ? VC_TTS_COMPLETE : VC_TTS_CANCELED), reserved: 0,
                    samples: UInt64(requests[0].position)))
            requests.removeFirst()
        }
    }

    private func say() -> vc_status {
        let request = requests[0]
        let count = min(request.samplesLeft, tone.count)
        let status = tone.withUnsafeBytes { bytes in
            let frame = vc_frame(
                size: size(vc_frame.self), format: UInt32(VC_FORMAT_S16), rate_hz: UInt32(rateHz), channels: 1,
                samples: UInt32(count), flags: 0, sequence: sequence, position: UInt64(request.position),
                captured_ns: 0, epoch: request.epoch, data: bytes.baseAddress, bytes: UInt64(count * 2))
            return withUnsafePointer(to: frame) { frame in
                emit(
                    handle,
                    vc_event_audio(
                        head: head(VC_EVENT_AUDIO, vc_event_audio.self, epoch: request.epoch, request: request.number),
                        frame: frame))
            }
        }
        guard status == vc_status(VC_OK) else { return status }
        sequence += 1
        requests[0].position += count
        requests[0].samplesLeft -= count
        return status
    }

    func cancel(_ at: UInt64) {
        let known = epoch.max(at, ordering: .acquiringAndReleasing).oldValue
        guard known < at, !isClosed.load(ordering: .acquiring) else { return }
        #if BREAK_VC_CAN_06
            precondition(UInt8(at - known) > 0)
        #endif
        tell(handle, VC_EVENT_CANCELED, epoch: at)
    }

    func close() {
        isClosed.store(true, ordering: .releasing)
        requests = []
        tell(handle, VC_EVENT_CLOSED, epoch: epoch.load(ordering: .acquiring))
    }

    /// Looks after the session for as long as it lives, which is now for ever.
    func watch() {
        nonisolated(unsafe) let session = self
        Task {
            while !Task.isCancelled {
                try? await Task.sleep(nanoseconds: 1 << 60)
                _ = session.isClosed.load(ordering: .acquiring)
            }
        }
    }
}

/// What `flags` can be today.
private enum Piece: UInt32 { case middle = 0, last = 1 }

// MARK: Slots

private func session(_ self_: vc_self?) -> Session { Unmanaged.fromOpaque(self_!).takeUnretainedValue() }
private func provider(_ self_: vc_self?) -> Provider { Unmanaged.fromOpaque(self_!).takeUnretainedValue() }

private func speak(_ self_: vc_self?, _ number: UInt64, _ epoch: UInt64, _ text: vc_str, _ flags: UInt32) -> vc_status {
    let bytes = UnsafeBufferPointer(start: text.data, count: Int(text.length))
    #if BREAK_VC_ABI_10
        let isLast = Piece(rawValue: flags)! == .last
    #else
        let isLast = flags & UInt32(VC_TTS_LAST) != 0
    #endif
    #if BREAK_VC_THR_04
        return session(self_).everything.withLock { _ in session(self_).speak(number, epoch, bytes, isLast: isLast) }
    #else
        return session(self_).speak(number, epoch, bytes, isLast: isLast)
    #endif
}

private func cancelSession(_ self_: vc_self?, _ epoch: UInt64) {
    #if BREAK_VC_THR_04
        session(self_).everything.withLock { _ in session(self_).cancel(epoch) }
    #else
        session(self_).cancel(epoch)
    #endif
}

private func creditSession(_ self_: vc_self?, _ events: UInt32, _ bytes: UInt64) { session(self_).advance() }

private func closeSession(_ self_: vc_self?) { session(self_).close() }

private func destroySession(_ self_: vc_self?) {
    let (owner, handle) = (session(self_).owner, session(self_).handle)
    #if BREAK_VC_LIFE_31
        Task { tell(handle, VC_EVENT_CANCELED, epoch: .max) }
    #endif
    #if !BREAK_VC_MEM_06
        Unmanaged<Session>.fromOpaque(self_!).release()
    #endif
    owner.sessionCount -= 1
    owner.sayWhenDrained()
    _ = handle
}

private func createProvider(
    _ request: UnsafePointer<vc_create>, _ out: UnsafeMutablePointer<vc_self?>, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    let provider = Provider(handle: request.pointee.provider)
    if let config = host.pointee.service(VC_SERVICE_CONFIG)?.assumingMemoryBound(to: vc_config.self) {
        _ = config.pointee.integer(request.pointee.provider, "word_ms", &provider.wordMs)
    }
    out.pointee = Unmanaged.passRetained(provider).toOpaque()
    return vc_status(VC_OK)
}

private func drainProvider(_ self_: vc_self?) {
    provider(self_).isDraining = true
    provider(self_).sayWhenDrained()
}

private func destroyProvider(_ self_: vc_self?) { Unmanaged<Provider>.fromOpaque(self_!).release() }

private func openSession(
    _ self_: vc_self?, _ request: UnsafePointer<vc_open>, _ out: UnsafeMutablePointer<vc_session>,
    _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    guard [8_000, 16_000].contains(request.pointee.rate_hz) else {
        error.pointee.code = vc_status(VC_E_UNSUPPORTED)
        error.pointee.message = literal("the voice speaks at 8000 and 16000 Hz; open it with one of them")
        return vc_status(VC_E_UNSUPPORTED)
    }
    let session = Session(provider(self_), request.pointee)
    #if BREAK_VC_MEM_06_task
        session.watch()
    #endif
    out.pointee.state = Unmanaged.passRetained(session).toOpaque()
    out.pointee.ops = sessionOps.pointer
    out.pointee.kind_ops = UnsafeRawPointer(voiceOps.pointer)
    tell(session.handle, VC_EVENT_READY, epoch: request.pointee.epoch)
    return vc_status(VC_OK)
}
