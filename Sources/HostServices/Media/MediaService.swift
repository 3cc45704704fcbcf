// "vc.media/1": the host's media engine, for telephony plugins that only signal.
//
// The plugin carries descriptions back and forth; the stream behind them belongs to the host, which finds it by the
// telephony session that opened it. A plugin that forgets to close its media loses nothing of ours: the stream ends
// with its session.

import Glibc
import Media
import PluginABI
import Providers
import Synchronization

public final class MediaService: Sendable {
    /// Told when a stream's first description was agreed on, on the plugin's thread: the call's rates are known then.
    public typealias Negotiated = @Sendable (_ session: vc_handle, _ stream: MediaStream) -> Void
    /// Told when a plugin opens a stream for a call, on the plugin's thread. The call has its own id here, since a
    /// plugin may be quicker than the `dial` that made its session.
    public typealias Opened = @Sendable (_ call: String, _ stream: MediaStream) -> Void

    private final class Entry: @unchecked Sendable {
        let session: vc_handle
        let stream: MediaStream
        /// What the last call gave out; the contract keeps it until the next. Touched under the session's control lock.
        var text: UnsafeMutablePointer<CChar>?
        var message: UnsafeMutablePointer<CChar>?
        var isNegotiated = false

        init(session: vc_handle, stream: MediaStream) {
            self.session = session
            self.stream = stream
        }

        deinit {
            free(text)
            free(message)
        }
    }

    private struct State {
        var entries: [vc_handle: Entry] = [:]
        /// Handles are never used twice; the low bit pattern keeps them apart from those of sessions.
        var next: vc_handle = 1
    }

    public static var current: MediaService? { running.withLock { $0 } }
    private static let running = Mutex<MediaService?>(nil)

    private let engine: MediaEngine
    private let options: @Sendable (_ call: String) -> StreamOptions
    private let opened: Opened
    private let negotiated: Negotiated
    private let state = Mutex(State())

    /// - Parameter options: how the stream of a call is opened: its wake descriptors above all.
    public init(
        engine: MediaEngine, options: @escaping @Sendable (_ call: String) -> StreamOptions,
        opened: @escaping Opened = { _, _ in }, negotiated: @escaping Negotiated
    ) {
        self.engine = engine
        self.options = options
        self.opened = opened
        self.negotiated = negotiated
    }

    /// Registers the table; before the first plugin is loaded.
    public func install() {
        Self.running.withLock { $0 = self }
        HostTable.register(service: VC_SERVICE_MEDIA, table: mediaTable.pointer)
    }

    /// The stream that a telephony session opened, if it did.
    public func stream(of session: vc_handle) -> MediaStream? {
        state.withLock { $0.entries.values.first { $0.session == session }?.stream }
    }

    // MARK: The slots

    fileprivate func open(_ session: vc_handle) -> (vc_status, vc_handle) {
        guard let owner = HandleTable.shared.resolve(session) else { return (vc_status(VC_E_STALE), 0) }
        guard owner.level == .session else { return (vc_status(VC_E_ARGUMENT), 0) }
        guard let stream = try? engine.openStream(options(owner.call)) else { return (vc_status(VC_E_AGAIN), 0) }
        let handle = state.withLock { state in
            defer { state.next += 1 }
            state.entries[state.next] = Entry(session: session, stream: stream)
            return state.next
        }
        owner.whenEnded { [weak self] in _ = self?.close(handle) }
        opened(owner.call, stream)
        return (vc_status(VC_OK), handle)
    }

    fileprivate func close(_ handle: vc_handle) -> vc_status {
        guard let entry = state.withLock({ $0.entries.removeValue(forKey: handle) }) else {
            return vc_status(VC_E_STALE)
        }
        entry.stream.close()
        return vc_status(VC_OK)
    }

    /// Runs an exchange of descriptions. On an error the stream goes on as before and `error` says why.
    fileprivate func describe(
        _ handle: vc_handle, into out: UnsafeMutablePointer<vc_str>?, _ error: UnsafeMutablePointer<vc_error>,
        _ exchange: (MediaStream) throws -> String?
    ) -> vc_status {
        guard let entry = state.withLock({ $0.entries[handle] }) else { return vc_status(VC_E_STALE) }
        do {
            if let text = try exchange(entry.stream), let out {
                free(entry.text)
                entry.text = strdup(text)
                out.pointee = vc_str(data: entry.text, length: UInt64(text.utf8.count))
            }
        } catch let failure {
            let (code, status) = Self.code(of: failure)
            free(entry.message)
            entry.message = strdup("\(failure)")
            error.pointee.code = code
            error.pointee.protocol_status = status
            error.pointee.message = vc_str(data: entry.message, length: UInt64(strlen(entry.message!)))
            return code
        }
        if !entry.isNegotiated, entry.stream.parameters != nil {
            entry.isNegotiated = true
            negotiated(entry.session, entry.stream)
        }
        return vc_status(VC_OK)
    }

    /// The contract's code for a failure, and the SIP status with which to refuse the description.
    private static func code(of failure: any Error) -> (vc_status, UInt32) {
        switch failure {
        case let failure as SDPError:
            (vc_status(failure.sipStatus == 488 ? VC_E_UNSUPPORTED : VC_E_ARGUMENT), UInt32(failure.sipStatus))
        case MediaError.notRunning: (vc_status(VC_E_CLOSED), 503)
        case is MediaError: (vc_status(VC_E_AGAIN), 503)
        default: (vc_status(VC_E_INTERNAL), 500)
        }
    }
}

// MARK: The table

private let mediaTable = ServiceTable(
    vc_media(
        size: UInt32(MemoryLayout<vc_media>.size), reserved: 0, open: mediaOpen, answer: mediaAnswer, offer: mediaOffer,
        accept: mediaAccept, close: mediaClose))

private func mediaOpen(_ session: vc_handle, _ out: UnsafeMutablePointer<vc_handle>) -> vc_status {
    guard let service = MediaService.current else { return vc_status(VC_E_CLOSED) }
    let (status, handle) = service.open(session)
    out.pointee = handle
    return status
}

private func mediaAnswer(
    _ media: vc_handle, _ offer: vc_str, _ out: UnsafeMutablePointer<vc_str>, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    guard let service = MediaService.current else { return vc_status(VC_E_CLOSED) }
    let offer = text(offer)
    return service.describe(media, into: out, error) { try $0.answer(to: offer) }
}

private func mediaOffer(
    _ media: vc_handle, _ out: UnsafeMutablePointer<vc_str>, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    guard let service = MediaService.current else { return vc_status(VC_E_CLOSED) }
    return service.describe(media, into: out, error) { try $0.offer() }
}

private func mediaAccept(_ media: vc_handle, _ answer: vc_str, _ error: UnsafeMutablePointer<vc_error>) -> vc_status {
    guard let service = MediaService.current else { return vc_status(VC_E_CLOSED) }
    let answer = text(answer)
    return service.describe(media, into: nil, error) {
        try $0.accept(answer: answer)
        return nil
    }
}

private func mediaClose(_ media: vc_handle) -> vc_status {
    MediaService.current?.close(media) ?? vc_status(VC_E_CLOSED)
}

/// SDP is ASCII but for free text, and some peers write Latin-1 there: what is no UTF-8 is replaced, not refused.
private func text(_ string: vc_str) -> String {
    String(decoding: UnsafeRawBufferPointer(start: string.data, count: Int(string.length)), as: UTF8.self)
}
