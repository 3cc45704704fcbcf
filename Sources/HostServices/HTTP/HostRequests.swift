// Requests that the host makes for itself, through the same pool, with the same bounds and on the same I/O thread as
// those of plugins: one owner for each purpose, with the secrets that its configuration names.
//
// An own client of curl beside it was refused: it would be a second pool, a second place where credentials are put in,
// and a second meaning of "deadline".

import Glibc
import PluginABI
import Providers
import Synchronization

public final class HostRequests: Sendable {
    public struct Request: Sendable {
        public var method: String
        public var url: String
        /// `${secret:NAME}` in a value is replaced.
        public var headers: [String: String]
        /// Header fields in which nothing is replaced: they may be words of callers.
        public var plainHeaders: [String: String]
        public var body: [UInt8]
        public var deadlineMs: Int
        /// A larger answer is not read to its end.
        public var answerBytesMax: Int

        public init(
            _ method: String, _ url: String, headers: [String: String] = [:], plainHeaders: [String: String] = [:],
            body: [UInt8] = [], deadlineMs: Int, answerBytesMax: Int
        ) {
            self.method = method
            self.url = url
            self.headers = headers
            self.plainHeaders = plainHeaders
            self.body = body
            self.deadlineMs = deadlineMs
            self.answerBytesMax = answerBytesMax
        }
    }

    public struct Answer: Sendable, Equatable {
        public var status: Int
        public var body: [UInt8]
    }

    public enum Failure: Error, Sendable, Equatable {
        /// The request itself cannot be sent: its address, its header fields, a secret.
        case refused(String)
        /// 32 requests of this owner are under way.
        case busy
        case timeout(String)
        case unreachable(String)
        case tooLarge(Int)
    }

    private let owner: PluginObject

    /// - Parameters:
    ///   - name: who asks, in logs and errors: "tool.weather".
    ///   - secrets: names that its header fields may contain.
    public init(name: String, secrets: [String]) {
        owner = PluginObject(level: .provider, plugin: "vchost", name: name, secrets: secrets) { _ in
            vc_status(VC_E_UNSUPPORTED)
        }
        _ = HandleTable.shared.insert(owner)
    }

    deinit {
        owner.end()
        HandleTable.shared.remove(owner.handle)
    }

    /// Sends, and calls `answered` once, on another thread or at once. An answer is complete whatever its status.
    public func send(_ request: Request, answered: @escaping @Sendable (Result<Answer, Failure>) -> Void) {
        guard let services = HostServices.current else { return answered(.failure(.refused("the host is stopping"))) }
        guard let origin = Origin(of: request.url, schemes: ["http", "https"]) else {
            return answered(.failure(.refused("the address is no absolute URL of http or https")))
        }
        let headers: [(name: String, value: String)]
        do throws(Failure) {
            headers = try fields(request, services)
        } catch {
            return answered(.failure(error))
        }
        let exchange = HostExchange(answerBytesMax: request.answerBytesMax, answered: answered)
        let context = Unmanaged.passRetained(exchange).toOpaque()
        let outbound = HTTPRequest.Outbound(
            method: request.method, url: request.url, origin: origin, headers: headers, body: request.body,
            deadlineMs: UInt32(clamping: request.deadlineMs))
        let events = vc_http_events(
            size: UInt32(MemoryLayout<vc_http_events>.size), reserved: 0, response: hostRequestResponse,
            data: hostRequestData, done: hostRequestDone)
        let started = services.http.start(owner: owner, epoch: .max, outbound, events: events, context: context)
        guard started.status != .ok else { return }
        Unmanaged<HostExchange>.fromOpaque(context).release()
        exchange.finish(.failure(started.status == .again ? .busy : .refused("the host is stopping")))
    }

    private func fields(
        _ request: Request, _ services: HostServices
    ) throws(Failure) -> [(name: String, value: String)] {
        var fields: [(name: String, value: String)] = []
        for (name, value) in request.headers.sorted(by: { $0.key < $1.key }) {
            do throws(SecretFailure) {
                fields.append(
                    (name, try services.secrets.substitute(value, section: owner.name, listed: owner.secrets)))
            } catch {
                throw .refused(error.description)
            }
        }
        fields += request.plainHeaders.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        for field in fields {
            let isValue = field.value.utf8.count <= HTTPHeaders.valueBytesMax
                && field.value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }
            guard HTTPHeaders.isToken(field.name), isValue else {
                throw .refused("the header field \(field.name) is not one that HTTP can carry")
            }
        }
        return fields
    }
}

/// An answer while it comes. Its callbacks run on the owner's lane, one at a time.
private final class HostExchange: @unchecked Sendable {
    private let answerBytesMax: Int
    private let answered: Mutex<(@Sendable (Result<HostRequests.Answer, HostRequests.Failure>) -> Void)?>
    var answer = HostRequests.Answer(status: 0, body: [])

    init(
        answerBytesMax: Int, answered: @escaping @Sendable (Result<HostRequests.Answer, HostRequests.Failure>) -> Void
    ) {
        self.answerBytesMax = answerBytesMax
        self.answered = Mutex(answered)
    }

    /// False when the answer has become too large.
    func take(_ bytes: vc_str) -> Bool {
        answer.body += bytes.bytes
        return answer.body.count <= answerBytesMax
    }

    func finish(_ result: Result<HostRequests.Answer, HostRequests.Failure>) {
        let tell = answered.withLock { answered in
            defer { answered = nil }
            return answered
        }
        tell?(result)
    }
}

private func exchange(_ context: UnsafeMutableRawPointer?) -> HostExchange {
    Unmanaged<HostExchange>.fromOpaque(context!).takeUnretainedValue()
}

private func hostRequestResponse(
    _ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ status: UInt32, _ fields: UnsafePointer<vc_field>?,
    _ count: UInt32
) {
    exchange(context).answer.status = Int(status)
}

private func hostRequestData(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ bytes: vc_str) {
    let exchange = exchange(context)
    guard !exchange.take(bytes) else { return }
    // Nothing is called after a cancel, so this is its end.
    _ = HostServices.current?.http.cancel(request)
    exchange.finish(.failure(.tooLarge(exchange.answer.body.count)))
    Unmanaged<HostExchange>.fromOpaque(context!).release()
}

private func hostRequestDone(
    _ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ error: UnsafePointer<vc_error>?
) {
    let exchange = Unmanaged<HostExchange>.fromOpaque(context!).takeRetainedValue()
    guard let error = error?.pointee else { return exchange.finish(.success(exchange.answer)) }
    let message = error.message.text(limit: 1_024)
    exchange.finish(.failure(error.code == vc_status(VC_E_TIMEOUT) ? .timeout(message) : .unreachable(message)))
}
