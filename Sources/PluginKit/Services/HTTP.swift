// "vc.http/1": requests to a vendor, over the host's connections.
//
// Answers come as one closure with an event, and not as a delegate with three methods: a session often has several
// exchanges under way at once, and a closure knows which it belongs to.

import PluginABI
import Synchronization

/// A request.
public struct HTTPRequest {
    public enum Body {
        case empty
        case text(String)
        case bytes([UInt8])
        /// Signed 16 bit samples, little-endian, as they lie in memory.
        case samples([Int16])
    }

    public var method: String
    /// http or https, absolute.
    public var url: String
    /// A value may contain `${secret:NAME}`, which the host fills in.
    public var headers: [(name: String, value: String)]
    public var body: Body
    /// For the whole exchange; 0: the host's 30 s.
    public var deadlineMs: Int
    /// Give up when no byte of the answer came in this time; 0: no such limit.
    public var firstByteMs: Int
    /// The request outlives a `cancel` of its session.
    public var survivesCancel = false

    public init(
        _ method: String, _ url: String, headers: [(name: String, value: String)] = [], body: Body = .empty,
        deadlineMs: Int = 0, firstByteMs: Int = 0
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.deadlineMs = deadlineMs
        self.firstByteMs = firstByteMs
    }
}

/// How an answer arrives: `response` once, `data` as it comes, then `done` or `failed` once and last.
///
/// After a `cancel`, by the plugin or by a new epoch, nothing more arrives.
public enum HTTPEvent {
    case response(HTTPResponse)
    case data([UInt8])
    case done
    case failed(PluginError)
}

/// The head of an answer.
public struct HTTPResponse: Sendable {
    public let status: Int
    public let headers: [(name: String, value: String)]

    public init(status: Int, headers: [(name: String, value: String)]) {
        self.status = status
        self.headers = headers
    }

    /// The first header of this name, whatever its case.
    public subscript(name: String) -> String? {
        let name = name.lowercased()
        return headers.first { $0.name.lowercased() == name }?.value
    }
}

/// The requests of a session.
public struct HTTP {
    let owner: HostObject

    /// Starts a request; `onEvent` is called as a call of the session.
    ///
    /// Throws `.again` when 32 requests of the session are under way already.
    @discardableResult
    public func start(
        _ request: HTTPRequest, _ onEvent: @escaping (HTTPEvent) -> Void
    ) throws(PluginError) -> HTTPExchange {
        guard let table = HostLine.shared.http else { throw Self.missing }
        let epoch = request.survivesCancel ? UInt64.max : owner.newestEpoch.load(ordering: .acquiring)
        let exchange = HTTPExchange(owner: owner, epoch: epoch, onEvent: onEvent)
        let context = CallbackTable.insert(exchange)
        let status = Self.lend(request, epoch: epoch) { cRequest in
            table.pointee.start(owner.handle, cRequest, exchangeEvents.pointer, context, &exchange.exchange)
        }
        guard status == vc_status(VC_OK) else {
            CallbackTable.remove(exchange)
            throw PluginError(status: status, "\(request.method) \(request.url)")
        }
        return exchange
    }

    /// Opens a connection to the origin of `url` ahead of the request that will need it. Best effort.
    public func prewarm(_ url: String) {
        withString(url) { HostLine.shared.http?.pointee.prewarm(owner.handle, $0) }
    }

    static let missing = PluginError(.unsupported, "this host offers no \(VC_SERVICE_HTTP), which the plugin needs")

    private static func lend<Result>(
        _ request: HTTPRequest, epoch: UInt64, _ body: (UnsafePointer<vc_http_request>) -> Result
    ) -> Result {
        func withBytes(_ use: (UnsafeRawBufferPointer) -> Result) -> Result {
            switch request.body {
            case .empty: use(UnsafeRawBufferPointer(start: nil, count: 0))
            case .text(var text): text.withUTF8 { use(UnsafeRawBufferPointer($0)) }
            case .bytes(let bytes): bytes.withUnsafeBytes(use)
            case .samples(let samples): samples.withUnsafeBytes(use)
            }
        }
        return withBytes { bytes in
            withStrings([request.method, request.url]) { texts in
                withFields(request.headers) { headers, count in
                    var cRequest = vc_http_request()
                    cRequest.size = UInt32(MemoryLayout<vc_http_request>.size)
                    cRequest.deadline_ms = UInt32(clamping: request.deadlineMs)
                    cRequest.epoch = epoch
                    cRequest.method = texts[0]
                    cRequest.url = texts[1]
                    cRequest.headers = headers
                    cRequest.header_count = count
                    cRequest.first_byte_ms = UInt32(clamping: request.firstByteMs)
                    cRequest.body = vc_str(
                        data: bytes.baseAddress?.assumingMemoryBound(to: CChar.self), length: UInt64(bytes.count))
                    return body(&cRequest)
                }
            }
        }
    }
}

/// A request that is under way.
public final class HTTPExchange: PendingCallback, Stoppable {
    /// The epoch with which the host ends it.
    let epoch: UInt64
    fileprivate var exchange: vc_handle = 0
    private var onEvent: ((HTTPEvent) -> Void)?

    fileprivate init(owner: HostObject, epoch: UInt64, onEvent: @escaping (HTTPEvent) -> Void) {
        self.epoch = epoch
        self.onEvent = onEvent
        super.init(owner: owner)
    }

    /// True until `done`, `failed` or `cancel`.
    public var isUnderWay: Bool { onEvent != nil }

    /// Stops it and closes its connection, which is what tells a vendor to stop working. Nothing more arrives.
    public func cancel() {
        guard onEvent != nil else { return }
        onEvent = nil
        CallbackTable.remove(self)
        _ = HostLine.shared.http?.pointee.cancel(exchange)
    }

    func stop() { cancel() }

    fileprivate func arrived(_ event: @autoclosure () -> HTTPEvent, isLast: Bool = false) {
        owner.settle()
        // A cancel that was waiting to be carried out may have ended this very exchange.
        guard let onEvent else { return }
        if isLast {
            self.onEvent = nil
            CallbackTable.remove(self)
        }
        onEvent(event())
    }
}

private struct Events: @unchecked Sendable { let pointer: UnsafePointer<vc_http_events> }
private let exchangeEvents = Events(
    pointer: permanentPointer(
        vc_http_events(
            size: UInt32(MemoryLayout<vc_http_events>.size), reserved: 0, response: exchangeResponse,
            data: exchangeData,
            done: exchangeDone)))

private func exchangeResponse(
    _ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ status: UInt32, _ headers: UnsafePointer<vc_field>?,
    _ count: UInt32
) {
    CallbackTable.find(context, as: HTTPExchange.self)?.arrived(
        .response(
            HTTPResponse(
                status: Int(status),
                headers: UnsafeBufferPointer(start: headers, count: Int(count)).map {
                    (String($0.name), String($0.value))
                })))
}

private func exchangeData(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ bytes: vc_str) {
    CallbackTable.find(context, as: HTTPExchange.self)?.arrived(.data([UInt8](bytes)))
}

private func exchangeDone(
    _ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ error: UnsafePointer<vc_error>?
) {
    CallbackTable.find(context, as: HTTPExchange.self)?.arrived(
        error.map { .failed(PluginError($0.pointee)) } ?? .done, isLast: true)
}
