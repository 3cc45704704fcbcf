// One request on the listener's thread: its head, its body, the rest while its plugin thinks, and the answer or the
// WebSocket at its end.

import Cmicrohttpd
import Glibc
import Synchronization

extension Listener {
    func begins(_ connection: OpaquePointer, rawTarget: String) -> IncomingRequest {
        moved(connection, to: .receiving)
        return IncomingRequest(rawTarget: rawTarget)
    }

    /// A head, a part of a body, the end of it, and once more after a rest. False cuts the connection off.
    func arrived(
        _ connection: OpaquePointer, _ incoming: IncomingRequest, method: String, version: String,
        body: UnsafeRawBufferPointer
    ) -> Bool {
        if !incoming.isHeadRead {
            let address = table.withLock { $0.address(of: key(of: connection)) }
            incoming.readHead(connection, method: method, version: version, peer: address, limits: limits)
            guard incoming.mustAnswerAtOnce, let refusal = incoming.refusal else { return true }
            return send(refusal, on: connection)
        }
        if !body.isEmpty {
            if incoming.take(body, limits: limits) { return true }
            counters.request(.bodyTooLarge)
            counters.connection("cut_body")
            return false
        }
        if let exchange = incoming.exchange { return resumed(connection, incoming, exchange) }
        if let refusal = incoming.refusal { return send(refusal, on: connection) }
        guard let request = incoming.request else { return false }
        guard !isStopping.load(ordering: .sequentiallyConsistent) else { return send(.stopping, on: connection) }
        switch desk.begin(request, connection) {
        case .failure(let refusal):
            return send(refusal, on: connection)
        case .success(let exchange):
            moved(connection, to: .serving)
            incoming.exchange = exchange
            incoming.isSuspended = true
            suspended.wrappingAdd(1, ordering: .sequentiallyConsistent)
            MHD_suspend_connection(connection)
            exchange.suspended()
            return true
        }
    }

    private func resumed(_ connection: OpaquePointer, _ incoming: IncomingRequest, _ exchange: Exchange) -> Bool {
        rested(incoming)
        switch exchange.takeAnswer() {
        case .response(let response):
            counters.request("answered")
            return send(response, on: connection)
        case .refusal(let refusal):
            return send(refusal, on: connection)
        case .upgrade(let socket, let subprotocol):
            incoming.socket = socket
            guard let upgrade = exchange.request.upgrade else { return false }
            return accept(upgrade, subprotocol, on: connection)
        case nil:
            return false
        }
    }

    private func rested(_ incoming: IncomingRequest) {
        guard incoming.isSuspended else { return }
        incoming.isSuspended = false
        suspended.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }

    private func send(_ refusal: HostAnswer, on connection: OpaquePointer) -> Bool {
        counters.request(refusal)
        return send(
            ExchangeResponse(
                status: refusal.status, headers: refusal.headers, body: Array((refusal.sentence + "\n").utf8)),
            on: connection)
    }

    private func send(_ answer: ExchangeResponse, on connection: OpaquePointer) -> Bool {
        moved(connection, to: .sending)
        var body = answer.body
        guard let response = MHD_create_response_from_buffer(body.count, &body, .RESPMEM_MUST_COPY) else {
            return false
        }
        defer { MHD_destroy_response(response) }
        for header in answer.headers { MHD_add_response_header(response, header.name, header.value) }
        return MHD_queue_response(connection, answer.status, response) == MHD_Result.YES
    }

    private func accept(_ upgrade: UpgradeRequest, _ subprotocol: String, on connection: OpaquePointer) -> Bool {
        moved(connection, to: .sending)
        let context = Unmanaged.passUnretained(self).toOpaque()
        guard let response = MHD_create_response_for_upgrade(connectionUpgraded, context) else { return false }
        defer { MHD_destroy_response(response) }
        MHD_add_response_header(response, "Upgrade", "websocket")
        MHD_add_response_header(response, "Sec-WebSocket-Accept", upgrade.accept)
        if !subprotocol.isEmpty { MHD_add_response_header(response, "Sec-WebSocket-Protocol", subprotocol) }
        return MHD_queue_response(connection, 101, response) == MHD_Result.YES
    }

    func upgraded(
        _ connection: OpaquePointer, _ incoming: IncomingRequest, _ upgraded: ServedSocketLoop.Upgraded
    ) {
        guard let socket = incoming.socket else { return vc_mhd_close_upgraded(upgraded.response) }
        counters.request("upgraded")
        moved(connection, to: .serving)
        incoming.upgraded()
        var yes: Int32 = 1
        // A frame of 20 ms must not wait for the next one.
        setsockopt(
            vc_mhd_descriptor(connection), Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        desk.upgraded(socket, upgraded)
    }

    /// The end of a request, in whatever way. libmicrohttpd may hold its lock.
    func completed(_ connection: OpaquePointer, _ incoming: IncomingRequest) {
        rested(incoming)
        if let exchange = incoming.exchange {
            var socket = incoming.socket
            if case .upgrade(let unseen, _) = exchange.abandon() { socket = unseen }
            desk.forget(exchange)
            if let socket, !incoming.isUpgraded {
                socket.closed(
                    code: 0, reason: "",
                    ServiceFailure(
                        code: .network, message: "\(exchange.request.peer) hung up before the WebSocket was open",
                        isRetryable: false))
            }
        }
        if !incoming.isUpgraded { moved(connection, to: .idle) }
    }
}
