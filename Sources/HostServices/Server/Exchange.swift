// A request on its way to the plugin that serves its path, and the answer on its way back.
//
// Its connection is suspended meanwhile: libmicrohttpd neither reads from it nor waits for it, so a plugin that asks a
// database first costs the listener nothing.

import Cmicrohttpd
import Glibc
import PluginABI
import Providers
import Synchronization

/// A request as it came, copied from libmicrohttpd's memory.
struct ReceivedRequest: Sendable {
    var method: String
    var target: RequestTarget
    /// The client's address in digits, without the port.
    var peer: String
    /// Names as they were sent. What is not UTF-8 in a value is repaired.
    var headers: [(name: String, value: String)]
    var body: [UInt8]
    /// When it asks for a WebSocket.
    var upgrade: UpgradeRequest?
}

struct ExchangeResponse: Sendable {
    var status: UInt32
    var headers: [(name: String, value: String)]
    var body: [UInt8]
}

final class Exchange: Delivery, @unchecked Sendable {
    enum Answer: Sendable {
        case response(ExchangeResponse)
        case refusal(HostAnswer)
        case upgrade(WebSocket, protocol: String)
    }

    let handle: vc_handle
    let request: ReceivedRequest
    let route: Route
    let deadlineNs: UInt64
    private let connection: OpaquePointer
    private let mailbox: Mailbox
    private let state = Mutex(ExchangeState<Answer>())

    init(
        handle: vc_handle, request: ReceivedRequest, route: Route, deadlineNs: UInt64, connection: OpaquePointer,
        mailbox: Mailbox
    ) {
        self.handle = handle
        self.request = request
        self.route = route
        self.deadlineNs = deadlineNs
        self.connection = connection
        self.mailbox = mailbox
    }

    // MARK: Any thread

    /// False when it was answered before.
    func answer(_ answer: Answer) -> Bool {
        switch state.withLock({ $0.give(answer) }) {
        case .tooLate: return false
        case .kept: return true
        case .resume:
            MHD_resume_connection(connection)
            return true
        }
    }

    var isOpen: Bool { state.withLock { $0.isOpen } }

    // MARK: The listener's thread

    /// The connection rests: the plugin may be asked.
    func suspended() {
        if state.withLock({ $0.suspended() }) {
            mailbox.post(self)
        } else {
            MHD_resume_connection(connection)
        }
    }

    func takeAnswer() -> Answer? { state.withLock { $0.take() } }

    func abandon() -> Answer? { state.withLock { $0.abandon() } }

    // MARK: The plugin's lane

    func deliver() -> Bool {
        // Answered meanwhile, because the plugin was too slow to take it.
        guard isOpen else { return false }
        lend(request.method) { method in
            lend(request.target.path) { path in
                lend(request.target.query) { query in
                    lend(request.peer) { peer in
                        lend(request.headers) { fields, count in
                            lend(request.body) { body in
                                var lent = vc_server_request(
                                    size: sizeOnTheLine(vc_server_request.self), header_count: count, exchange: handle,
                                    method: method, path: path, query: query, peer: peer, headers: fields, body: body)
                                route.handle(route.context, &lent)
                            }
                        }
                    }
                }
            }
        }
        return false
    }
}
