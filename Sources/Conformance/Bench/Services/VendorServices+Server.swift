// "vc.server/1" of the bench: the door without a network. A vendor that calls is in the script (`server`); its requests
// come to the paths that the plugin serves, as VC_CONTROL of their provider, on the bench's clock, and its WebSockets
// are those of "vc.ws/1" from their upgrade on.

import JSON
import PluginABI

let serverTable = PermanentTable(
    vc_server(
        size: UInt32(MemoryLayout<vc_server>.size), reserved: 0, route: vendorRoute, respond: vendorRespond,
        upgrade: vendorUpgrade))

/// A path that is served.
struct ServedRoute {
    let path: String
    let owner: vc_handle
    let handle: vc_server_request_fn
    let context: UnsafeMutableRawPointer?
}

/// A request that waits for its answer.
struct ServedExchange {
    let run: Int
    let path: String
    let isUpgrade: Bool
    let deadline: Int
}

extension VendorServices {
    /// The bounds of `service/server.h` and of the host.
    static let routesPerOwnerMax = 64
    static let answerMs: UInt64 = 10_000
    static let answerBytesMax: UInt64 = 1 << 20
    static let handleKindExchange: UInt64 = 0xb4

    func route(
        _ owner: vc_handle, _ path: String, _ handle: @escaping vc_server_request_fn,
        _ context: UnsafeMutableRawPointer?
    ) -> vc_status {
        func refuse(_ reason: String) -> vc_status {
            breach("server.route: \(reason)")
            return vc_status(VC_E_ARGUMENT)
        }
        if case .failure(let answer) = admit(owner, "server.route") { return answer.status }
        guard path.hasPrefix("/"), path.utf8.count <= 512, !path.contains("?"), !path.contains("/../") else {
            return refuse("\"\(path)\" is no path")
        }
        if let status = count("server.route") { return status }
        return locked { state in
            guard !state.routes.contains(where: { $0.path == path }),
                state.routes.filter({ $0.owner == owner }).count < Self.routesPerOwnerMax
            else { return vc_status(VC_E_ARGUMENT) }
            state.routes.append(ServedRoute(path: path, owner: owner, handle: handle, context: context))
            return vc_status(VC_OK)
        }
    }

    /// Fetches what the vendor sends, and puts it where its time is.
    func takeServedCalls(_ state: inout State) {
        for call in ask(["ask": "served"])["calls"]?.array ?? [] {
            let atNs = clock.nowNs + state.latencyNs + UInt64(clamping: call["afterMs"]?.integer ?? 0) * 1_000_000
            // Whose call it is shows when it comes: a route may be there by then.
            let owner = state.routes.first?.owner ?? 0
            _ = clock.schedule(atNs: atNs, owner: owner) { [weak self] in self?.comeIn(call) }
        }
    }

    private func comeIn(_ call: JSONValue) {
        let target = call["path"]?.string ?? "/"
        let mark = target.firstIndex(of: "?") ?? target.endIndex
        let (path, query) = (String(target[..<mark]), String(target[mark...].dropFirst()))
        let run = Int(call["run"]?.integer ?? 0)
        let found = locked { state -> (ServedRoute, vc_handle)? in
            let fitting = state.routes.filter { $0.path == path || $0.path.hasSuffix("/") && path.hasPrefix($0.path) }
            guard let route = fitting.max(by: { $0.path.utf8.count < $1.path.utf8.count }) else { return nil }
            let exchange = nextHandle(&state, kind: Self.handleKindExchange)
            let atNs = clock.nowNs + Self.answerMs * 1_000_000
            let deadline = clock.schedule(atNs: atNs, owner: route.owner) { [weak self] in self?.late(exchange) }
            state.exchanges[exchange] = ServedExchange(
                run: run, path: path, isUpgrade: call["upgrade"]?.bool ?? false, deadline: deadline)
            return (route, exchange)
        }
        guard let (route, exchange) = found, let owner = owners.owner(route.owner), !owner.isGone else {
            return tellAnswer(run, 404, Array("nobody serves \(path)".utf8))
        }
        let body = Base64.bytes(of: call["body"]?.string ?? "") ?? []
        let headers = (call["headers"]?.array ?? []).map { field in
            (field.array?.first?.string ?? "", field.array?.last?.string ?? "")
        }
        lend(method: call["method"]?.string ?? "GET", path, query, headers, body, exchange) { request in
            owners.call("server.request") { route.handle(route.context, request) }
        }
    }

    private func lend(
        method: String, _ path: String, _ query: String, _ headers: [(String, String)], _ body: [UInt8],
        _ exchange: vc_handle, _ use: (UnsafePointer<vc_server_request>) -> Void
    ) {
        // One block for all texts, so that nothing is nested by their number.
        var block: [UInt8] = []
        func place(_ bytes: some Sequence<UInt8>) -> (start: Int, count: Int) {
            let start = block.count
            block += bytes
            return (start, block.count - start)
        }
        let places = [method, path, query, "192.0.2.1"].map { place($0.utf8) } + [place(body)]
        let fields = headers.map { (place($0.0.utf8), place($0.1.utf8)) }
        block.append(0)
        block.withUnsafeBytes { bytes in
            func text(_ place: (start: Int, count: Int)) -> vc_str {
                vc_str(
                    data: bytes.baseAddress!.assumingMemoryBound(to: CChar.self) + place.start,
                    length: UInt64(place.count))
            }
            let lent = fields.map { vc_field(name: text($0.0), value: text($0.1)) }
            lent.withUnsafeBufferPointer { lent in
                var request = vc_server_request(
                    size: UInt32(MemoryLayout<vc_server_request>.size), header_count: UInt32(lent.count),
                    exchange: exchange, method: text(places[0]), path: text(places[1]), query: text(places[2]),
                    peer: text(places[3]), headers: lent.baseAddress, body: text(places[4]))
                use(&request)
            }
        }
    }

    private func late(_ handle: vc_handle) {
        guard let exchange = locked({ $0.exchanges.removeValue(forKey: handle) }) else { return }
        breach("server: a request was not answered within \(Self.answerMs / 1_000) s")
        locked { end(handle, .byHost, in: &$0) }
        tellAnswer(exchange.run, 504, [])
    }

    private func tellAnswer(_ run: Int, _ status: UInt32, _ body: [UInt8]) {
        locked { state in
            _ = ask(
                ["ask": "served-answer", "run": .integer(Int64(run)), "status": .integer(Int64(status))], "body", body)
            takeServedCalls(&state)
        }
    }

    func respond(_ handle: vc_handle, _ status: UInt32, _ body: [UInt8]) -> vc_status {
        if let refusal = count("server.respond") { return refusal }
        guard let exchange = locked({ $0.exchanges.removeValue(forKey: handle) }) else {
            return stale(handle, "server.respond")
        }
        clock.cancel(exchange.deadline)
        locked { end(handle, .known("it was answered"), in: &$0) }
        tellAnswer(exchange.run, status, body)
        return vc_status(VC_OK)
    }

    func upgrade(
        _ handle: vc_handle, _ owner: vc_handle, _ events: vc_ws_events, _ context: UnsafeMutableRawPointer?
    ) -> (status: vc_status, socket: vc_handle) {
        if let refusal = count("server.upgrade") { return (refusal, 0) }
        guard let exchange = locked({ $0.exchanges[handle] }) else { return (stale(handle, "server.upgrade"), 0) }
        if case .failure(let answer) = admit(owner, "server.upgrade") { return (answer.status, 0) }
        guard exchange.isUpgrade else { return (vc_status(VC_E_STATE), 0) }
        return locked { state in
            state.exchanges[handle] = nil
            clock.cancel(exchange.deadline)
            end(handle, .known("it was upgraded"), in: &state)
            let socket = nextHandle(&state, kind: Self.handleKindSocket)
            let id = Int(state.latest)
            state.sockets[socket] = PendingSocket(
                owner: owner, id: id, url: "served:\(exchange.path)", connectMs: 0, pingMs: Self.pingMsDefault,
                events: events, context: context)
            let answer = ask([
                "ask": "served-socket", "run": .integer(Int64(exchange.run)), "id": .integer(Int64(id)),
                "path": .string(exchange.path), "atNs": .integer(Int64(clamping: clock.nowNs)),
            ])
            take(answer, socket, &state)
            return (vc_status(VC_OK), socket)
        }
    }
}

private func vendorRoute(
    _ owner: vc_handle, _ path: UnsafePointer<CChar>, _ handle: @escaping vc_server_request_fn,
    _ context: UnsafeMutableRawPointer?
) -> vc_status {
    guard let services = VendorServices.current else { return vc_status(VC_E_CLOSED) }
    guard !isNullPointer(path) else {
        services.breach("server.route: a NULL pointer")
        return vc_status(VC_E_ARGUMENT)
    }
    return services.route(owner, String(cString: path), handle, context)
}

private func vendorRespond(
    _ exchange: vc_handle, _ status: UInt32, _ fields: UnsafePointer<vc_field>?, _ count: UInt32, _ body: vc_str
) -> vc_status {
    guard let services = VendorServices.current else { return vc_status(VC_E_CLOSED) }
    func refuse(_ reason: String) -> vc_status {
        services.breach("server.respond: \(reason)")
        return vc_status(VC_E_ARGUMENT)
    }
    guard (200...599).contains(status) else { return refuse("a status of \(status); it is from 200 to 599") }
    guard OutboundHeaders.isWhole(body), body.length <= VendorServices.answerBytesMax else {
        return refuse("a body of \(body.length) bytes, or a length without bytes")
    }
    guard body.length == 0 || status != 204 && status != 304 else {
        return refuse("an answer with \(status) has no body")
    }
    if case .failure(let answer) = OutboundHeaders.copy(fields, count, "server.respond", services) {
        return answer.status
    }
    let bytes = body.data.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: Int(body.length))) } ?? []
    return services.respond(exchange, status, bytes)
}

private func vendorUpgrade(
    _ exchange: vc_handle, _ owner: vc_handle, _ subprotocol: UnsafePointer<CChar>,
    _ events: UnsafePointer<vc_ws_events>, _ context: UnsafeMutableRawPointer?,
    _ socket: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = VendorServices.current else { return vc_status(VC_E_CLOSED) }
    guard !isNullPointer(socket), let events = copyGrowable(events) else {
        services.breach("server.upgrade: a NULL pointer, or a struct without its size")
        return vc_status(VC_E_ARGUMENT)
    }
    socket.pointee = 0
    let result = services.upgrade(exchange, owner, events, context)
    socket.pointee = result.socket
    return result.status
}
