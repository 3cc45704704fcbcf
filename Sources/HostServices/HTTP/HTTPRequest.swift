// One request: what is sent, what has come back and waits for the plugin.
//
// Two threads meet here. The I/O thread puts parts of the answer in, the plugin's lane takes them out and calls the
// plugin. Between them is a bounded queue: when 256 KiB wait, curl is told to stop reading, so a slow plugin slows its
// own vendor down and costs no memory. Everything that ends the request (cancel, its epoch, its owner) empties the
// queue under its lock, and the lane looks at it under the owner's lock before each single call: nothing is called
// afterwards.

import Ccurl
import Glibc
import PluginABI
import Providers
import Synchronization

/// Bounds for what a peer may send.
public struct HTTPLimits: Sendable {
    /// The most generous servers send some 8 KiB.
    public var headerBytesMax = 64 << 10
    public var headersMax = 128
    /// Ten minutes of speech as 48 kHz PCM are 58 MB; no answer in a call is larger.
    public var bodyBytesMax = 64 << 20
    /// What waits for a slow plugin, for each request.
    public var bufferedBytesMax = 256 << 10
    /// A minute of speech in WAV is 2 to 6 MB.
    public var requestBytesMax = 32 << 20
    /// A file with the certificates of trusted authorities, in place of the machine's.
    public var authoritiesPath: String?

    public init() {}
}

final class HTTPRequest: Delivery, @unchecked Sendable {
    /// What is sent. All of it is copied from the plugin's memory.
    struct Outbound: Sendable {
        var method: String
        var url: String
        var origin: Origin
        var headers: [(name: String, value: String)] = []
        var body: [UInt8] = []
        var deadlineMs: UInt32
        var firstByteMs: UInt32 = 0
    }

    private enum Part {
        case response(status: UInt32, headers: [(name: String, value: String)])
        case data([UInt8])
        case done(ServiceFailure?)
    }

    private struct Inbound {
        var parts: [Part] = []
        var bufferedBytes = 0
        var isPaused = false
        /// True while the request stands in the mailbox.
        var isPosted = false
        var isOver = false
    }

    /// Calls between two other deliveries of the same owner.
    private static let partsPerTurn = 16

    let handle: vc_handle
    let epoch: UInt64
    let outbound: Outbound
    let limits: HTTPLimits
    private let owner: PluginObject
    private let mailbox: Mailbox
    private let events: vc_http_events
    private let context: UnsafeMutableRawPointer?
    private unowned let service: HTTPService
    private let inbound = Mutex(Inbound())

    // The I/O thread's own.
    var transfer = HTTPTransfer()

    init(
        handle: vc_handle, epoch: UInt64, outbound: Outbound, owner: PluginObject, mailbox: Mailbox,
        events: vc_http_events, context: UnsafeMutableRawPointer?, service: HTTPService
    ) {
        self.handle = handle
        self.epoch = epoch
        self.outbound = outbound
        self.owner = owner
        self.mailbox = mailbox
        self.events = events
        self.context = context
        self.service = service
        limits = service.limits
    }

    /// True when the owner's epoch has passed that of the request.
    var isOutdated: Bool { epoch < owner.epoch.load(ordering: .acquiring) }

    var isOver: Bool { inbound.withLock { $0.isOver } }

    /// Ends it for the plugin. False when it had ended before.
    func close() -> Bool {
        inbound.withLock { inbound in
            defer {
                inbound.isOver = true
                inbound.parts = []
                inbound.bufferedBytes = 0
            }
            return !inbound.isOver
        }
    }

    // MARK: The I/O thread

    func received(status: UInt32, headers: [(name: String, value: String)]) {
        put(.response(status: status, headers: headers))
    }

    /// False when the plugin is behind: curl keeps the bytes and asks again after `resume`.
    func received(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let (isTaken, mustPost): (Bool, Bool) = inbound.withLock { inbound in
            guard !inbound.isOver else { return (true, false) }
            if inbound.bufferedBytes > 0, inbound.bufferedBytes + bytes.count > limits.bufferedBytesMax {
                inbound.isPaused = true
                return (false, false)
            }
            inbound.bufferedBytes += bytes.count
            inbound.parts.append(.data([UInt8](bytes)))
            defer { inbound.isPosted = true }
            return (true, !inbound.isPosted)
        }
        if mustPost { mailbox.post(self) }
        return isTaken
    }

    func finished(_ failure: ServiceFailure?) { put(.done(failure)) }

    private func put(_ part: Part) {
        let mustPost = inbound.withLock { inbound in
            guard !inbound.isOver else { return false }
            inbound.parts.append(part)
            defer { inbound.isPosted = true }
            return !inbound.isPosted
        }
        if mustPost { mailbox.post(self) }
    }

    // MARK: The plugin's lane

    func deliver() -> Bool {
        for _ in 0..<Self.partsPerTurn {
            if isOutdated {
                service.cancel(self)
                return false
            }
            let (part, mustResume): (Part?, Bool) = inbound.withLock { inbound in
                guard !inbound.isOver, !inbound.parts.isEmpty else {
                    inbound.isPosted = false
                    return (nil, false)
                }
                let part = inbound.parts.removeFirst()
                if case .data(let bytes) = part { inbound.bufferedBytes -= bytes.count }
                // Half empty, so that it does not stop and go for each chunk.
                let mustResume = inbound.isPaused && inbound.bufferedBytes <= limits.bufferedBytesMax / 2
                if mustResume { inbound.isPaused = false }
                return (part, mustResume)
            }
            if mustResume { service.resume(self) }
            guard let part else { return false }
            call(part)
        }
        return true
    }

    private func call(_ part: Part) {
        switch part {
        case .response(let status, let headers):
            lend(headers) { fields, count in events.response?(context, handle, status, fields, count) }
        case .data(let bytes):
            lend(bytes) { events.data?(context, handle, $0) }
        case .done(let failure):
            // Gone before the plugin hears of it, so that it may start the next one from within.
            service.forget(self)
            if let failure {
                failure.withError { events.done?(context, handle, $0) }
            } else {
                events.done?(context, handle, nil)
            }
        }
    }
}
