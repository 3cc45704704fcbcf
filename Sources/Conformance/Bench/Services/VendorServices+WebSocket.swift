// "vc.ws/1" of the bench.

import JSON
import PluginABI

let socketTable = PermanentTable(
    vc_ws(
        size: UInt32(MemoryLayout<vc_ws>.size), reserved: 0, connect: vendorConnect, send: vendorSend,
        close: vendorClose))

/// A connection, or one that is being made.
struct PendingSocket {
    enum Part {
        case opened(readsBytesPerS: Int?, answersPings: Bool)
        case message([UInt8], isBinary: Bool)
        case writable
        case closed(code: UInt32, reason: String, VendorFailure?)
    }

    struct Outgoing {
        var bytes: [UInt8]
        var isBinary: Bool
    }

    let owner: vc_handle
    let id: Int
    let url: String
    let connectMs: UInt32
    let pingMs: UInt32
    let events: vc_ws_events
    let context: UnsafeMutableRawPointer?
    /// What is to come, by time and then by order of arrival.
    var parts: [(atNs: UInt64, part: Part)] = []
    var isOpen = false
    /// The plugin asked for the close.
    var isClosing = false
    /// What the vendor did not read yet.
    var outgoing: [Outgoing] = []
    var outgoingBytes = 0
    var owesWritable = false
    /// How fast the vendor reads; nil: at once; 0: not at all.
    var readsBytesPerS: Int?
    var answersPings = true
    var lastHeardNs: UInt64 = 0
    /// The entry in the clock for the first of `parts`.
    var next: (id: Int, atNs: UInt64)?
    /// Deadlines: of the connection, of the close, of the pings; and what reads.
    var timers: [String: Int] = [:]
}

extension VendorServices {
    /// The bounds of `service/ws.h` and of the host.
    static let socketsPerOwnerMax = 8
    static let messageBytesMax: UInt64 = 1 << 20
    static let outboundBytesMax = 256 << 10
    /// What a message costs besides its bytes, as in the host: empty ones must not pile up either.
    static let messageOverhead = 64
    static let connectMsDefault: UInt32 = 5_000
    static let pingMsDefault: UInt32 = 20_000
    static let closeMs: UInt64 = 2_000
    static let handleKindSocket: UInt64 = 0xb3

    func connect(
        _ owner: vc_handle, _ request: vc_ws_connect, _ events: vc_ws_events, _ context: UnsafeMutableRawPointer?
    ) -> (status: vc_status, handle: vc_handle) {
        func refuse(_ reason: String) -> (vc_status, vc_handle) {
            breach("ws.connect: \(reason)")
            return (vc_status(VC_E_ARGUMENT), 0)
        }
        if case .failure(let answer) = admit(owner, "ws.connect") { return (answer.status, 0) }
        guard OutboundHeaders.isWhole(request.url), OutboundHeaders.isWhole(request.protocols) else {
            return refuse("a length without text")
        }
        let (url, protocols) = (benchString(request.url), benchString(request.protocols))
        guard Self.isAddress(url, schemes: ["ws", "wss"]) else {
            return refuse("\"\(url)\" is no absolute URL of ws or wss")
        }
        let names = protocols.split(separator: ",").map { String($0.drop { $0 == " " }) }
        guard names.allSatisfy(OutboundHeaders.isToken) else {
            return refuse("the subprotocols \"\(protocols)\" are no tokens")
        }
        var headers: OutboundHeaders
        switch OutboundHeaders.copy(request.headers, request.header_count, "ws.connect", self) {
        case .success(let copies): headers = copies
        case .failure(let answer): return (answer.status, 0)
        }
        if let status = count("ws.connect") { return (status, 0) }
        if !protocols.isEmpty { headers.fields.append(("Sec-WebSocket-Protocol", protocols)) }

        return locked { state in
            guard state.sockets.values.filter({ $0.owner == owner }).count < Self.socketsPerOwnerMax else {
                return (vc_status(VC_E_AGAIN), 0)
            }
            let handle = nextHandle(&state, kind: Self.handleKindSocket)
            let nowNs = clock.nowNs
            state.sockets[handle] = PendingSocket(
                owner: owner, id: Int(state.latest), url: url,
                connectMs: request.connect_ms == 0 ? Self.connectMsDefault : request.connect_ms,
                pingMs: request.ping_ms == 0 ? Self.pingMsDefault : request.ping_ms, events: events, context: context)
            let connectMs = state.sockets[handle]!.connectMs
            setTimer("connect", handle, &state, atNs: nowNs + UInt64(connectMs) * 1_000_000) { services in
                services.fail(
                    handle,
                    VendorFailure(
                        code: Int32(VC_E_TIMEOUT),
                        message: "no WebSocket to \(VendorFailure.origin(of: url)) within \(connectMs) ms: "
                            + "check the address, the route and the firewall"))
            }
            let answer = ask([
                "ask": "ws-open", "id": .integer(Int64(state.latest)), "atNs": .integer(Int64(nowNs)),
                "url": .string(url), "headers": .array(headers.fields.map { [.string($0.name), .string($0.value)] }),
            ])
            take(answer, handle, &state)
            return (vc_status(VC_OK), handle)
        }
    }

    func send(_ handle: vc_handle, _ bytes: [UInt8], isBinary: Bool) -> vc_status {
        if let status = count("ws.send") { return status }
        let status = locked { state -> vc_status? in
            guard var socket = state.sockets[handle] else { return nil }
            guard !socket.isClosing else {
                note("ws.send: after ws.close of the same socket", in: &state)
                return vc_status(VC_E_CLOSED)
            }
            guard socket.outgoingBytes < Self.outboundBytesMax else {
                state.sockets[handle]!.owesWritable = true
                return vc_status(VC_E_AGAIN)
            }
            socket.outgoing.append(.init(bytes: bytes, isBinary: isBinary))
            socket.outgoingBytes += bytes.count + Self.messageOverhead
            state.sockets[handle] = socket
            drain(handle, &state)
            return vc_status(VC_OK)
        }
        return status ?? stale(handle, "ws.send")
    }

    func close(_ handle: vc_handle, code: UInt32, reason: String) -> vc_status {
        let status = locked { state -> vc_status? in
            guard let socket = state.sockets[handle] else { return nil }
            guard !socket.isClosing else {
                note("ws.close: a second time for the same socket", in: &state)
                return vc_status(VC_E_CLOSED)
            }
            state.sockets[handle]!.isClosing = true
            let nowNs = clock.nowNs
            setTimer("close", handle, &state, atNs: nowNs + Self.closeMs * 1_000_000) { services in
                services.fail(
                    handle,
                    VendorFailure(
                        code: Int32(VC_E_TIMEOUT),
                        message: "\(VendorFailure.origin(of: socket.url)) did not answer the close frame within 2 s"))
            }
            let answer = ask([
                "ask": "ws-close", "id": .integer(Int64(socket.id)), "atNs": .integer(Int64(nowNs)),
                "code": .integer(Int64(code)), "reason": .string(reason),
            ])
            take(answer, handle, &state)
            return vc_status(VC_OK)
        }
        return status ?? stale(handle, "ws.close")
    }

    // MARK: To the vendor

    /// Hands over what the vendor reads now, and asks again later for the rest.
    private func drain(_ handle: vc_handle, _ state: inout State) {
        while let socket = state.sockets[handle], socket.isOpen, let message = socket.outgoing.first {
            if let rate = socket.readsBytesPerS {
                guard rate > 0 else { return }
                guard socket.timers["read"] == nil else { return }
                let ns = UInt64(message.bytes.count + 1) * 1_000_000_000 / UInt64(rate)
                setTimer("read", handle, &state, atNs: clock.nowNs + ns) { services in
                    services.locked { state in
                        services.handOver(handle, &state)
                        services.drain(handle, &state)
                    }
                }
                return
            }
            handOver(handle, &state)
        }
    }

    private func handOver(_ handle: vc_handle, _ state: inout State) {
        guard var socket = state.sockets[handle], !socket.outgoing.isEmpty else { return }
        let message = socket.outgoing.removeFirst()
        socket.outgoingBytes -= message.bytes.count + Self.messageOverhead
        // Half empty, so that the plugin gets room for more than one message.
        let mustWake = socket.owesWritable && socket.outgoingBytes <= Self.outboundBytesMax / 2
        if mustWake { socket.owesWritable = false }
        state.sockets[handle] = socket
        if mustWake { insert(.writable, atNs: clock.nowNs, handle, &state) }
        let question: JSONValue = [
            "ask": "ws-send", "id": .integer(Int64(socket.id)), "atNs": .integer(Int64(clamping: clock.nowNs)),
            "binary": .bool(message.isBinary),
        ]
        let answer = ask(question, "data", message.bytes)
        take(answer, handle, &state)
    }

    // MARK: From the vendor

    /// Has the vendor begin a dialogue on a connection that has one of that name. Nil: none has.
    func beginOnSocket(_ name: String) -> Int? {
        locked { state in
            let answer = ask(["ask": "ws-run", "dialogue": .string(name)])
            // No connection: the vendor calls, and makes its own.
            if let run = answer["run"]?.integer, answer["id"]?.integer == 0 {
                takeServedCalls(&state)
                return Int(run)
            }
            guard let run = answer["run"]?.integer, let id = answer["id"]?.integer,
                let handle = state.sockets.first(where: { $0.value.id == Int(id) })?.key
            else { return nil }
            take(answer, handle, &state)
            return Int(run)
        }
    }

    func take(_ answer: JSONValue, _ handle: vc_handle, _ state: inout State) {
        if !state.routes.isEmpty { takeServedCalls(&state) }
        let nowNs = clock.nowNs + state.latencyNs
        for action in answer["actions"]?.array ?? [] {
            let atNs = nowNs + UInt64(clamping: action["afterMs"]?.integer ?? 0) * 1_000_000
            if let opened = action["opened"] {
                insert(
                    .opened(
                        readsBytesPerS: opened["readsBytesPerS"]?.integer.map { Int($0) },
                        answersPings: opened["answersPings"]?.bool ?? true), atNs: atNs, handle, &state)
            } else if let message = action["message"]?.string {
                let bytes = Base64.bytes(of: message) ?? []
                insert(.message(bytes, isBinary: action["binary"]?.bool ?? false), atNs: atNs, handle, &state)
            } else if let closed = action["closed"] {
                insert(
                    .closed(
                        code: UInt32(clamping: closed["code"]?.integer ?? 0), reason: closed["reason"]?.string ?? "",
                        VendorFailure(closed["error"])), atNs: atNs, handle, &state)
            }
        }
    }

    /// Puts a part where its time is; what comes at the same time stays in order, and nothing overtakes within a
    /// connection but what is due earlier.
    private func insert(_ part: PendingSocket.Part, atNs: UInt64, _ handle: vc_handle, _ state: inout State) {
        guard var socket = state.sockets[handle] else { return }
        let index = socket.parts.lastIndex { $0.atNs <= atNs }.map { $0 + 1 } ?? 0
        socket.parts.insert((atNs, part), at: index)
        state.sockets[handle] = socket
        scheduleNext(handle, &state)
    }

    private func scheduleNext(_ handle: vc_handle, _ state: inout State) {
        guard let socket = state.sockets[handle], let first = socket.parts.first else { return }
        if let next = socket.next {
            guard next.atNs > first.atNs else { return }
            clock.cancel(next.id)
        }
        let id = clock.schedule(atNs: max(first.atNs, clock.nowNs), owner: socket.owner) { [weak self] in
            self?.deliver(handle)
        }
        state.sockets[handle]?.next = (id, first.atNs)
    }

    private func deliver(_ handle: vc_handle) {
        let due = locked { state -> (PendingSocket, PendingSocket.Part)? in
            guard var socket = state.sockets[handle], !socket.parts.isEmpty else { return nil }
            let part = socket.parts.removeFirst().part
            socket.next = nil
            socket.lastHeardNs = clock.nowNs
            switch part {
            case .opened(let rate, let answersPings):
                socket.isOpen = true
                socket.readsBytesPerS = rate
                socket.answersPings = answersPings
                if let timer = socket.timers.removeValue(forKey: "connect") { clock.cancel(timer) }
            case .closed:
                drop(handle, socket, .known("its `closed` was called"), &state)
                return (socket, part)
            case .message(let bytes, _) where bytes.count > Int(Self.messageBytesMax):
                drop(handle, socket, .known("its `closed` was called"), &state)
                tell(gone(socket))
                let failure = VendorFailure(
                    code: Int32(VC_E_VENDOR),
                    message: "\(VendorFailure.origin(of: socket.url)) sent a message larger than "
                        + "\(Self.messageBytesMax) bytes", isRetryable: false)
                return (socket, .closed(code: 1009, reason: "", failure))
            case .message, .writable: break
            }
            state.sockets[handle] = socket
            if !socket.answersPings { watch(handle, &state) }
            return (socket, part)
        }
        guard let (socket, part) = due, let owner = owners.owner(socket.owner), !owner.isGone else { return }
        call(handle, socket, part)
        locked { state in
            drain(handle, &state)
            scheduleNext(handle, &state)
        }
    }

    /// A ping after `ping_ms` of silence, and an end after as much again without an answer.
    private func watch(_ handle: vc_handle, _ state: inout State) {
        guard let socket = state.sockets[handle] else { return }
        if let timer = socket.timers["ping"] { clock.cancel(timer) }
        let atNs = socket.lastHeardNs + 2 * UInt64(socket.pingMs) * 1_000_000
        setTimer("ping", handle, &state, atNs: atNs) { services in
            services.fail(
                handle,
                VendorFailure(
                    code: Int32(VC_E_NETWORK),
                    message: "\(VendorFailure.origin(of: socket.url)) does not answer pings any more: connect again"))
        }
    }

    private func call(_ handle: vc_handle, _ socket: PendingSocket, _ part: PendingSocket.Part) {
        let (events, context) = (socket.events, socket.context)
        switch part {
        case .opened: owners.call("ws.opened") { events.opened?(context, handle) }
        case .message(let bytes, let isBinary):
            lendBytes(arrived(bytes, isText: !isBinary)) { bytes in
                owners.call("ws.message") { events.message?(context, handle, bytes, isBinary ? 1 : 0) }
            }
        case .writable: owners.call("ws.writable") { events.writable?(context, handle) }
        case .closed(let code, let reason, let failure):
            lendBytes(Array(reason.utf8)) { reason in
                guard let failure else {
                    return owners.call("ws.closed") { events.closed?(context, handle, code, reason, nil) }
                }
                failure.lend { error in
                    owners.call("ws.closed") { events.closed?(context, handle, code, reason, error) }
                }
            }
        }
    }

    // MARK: Ends

    /// The connection failed on our side: a deadline.
    private func fail(_ handle: vc_handle, _ failure: VendorFailure) {
        let due = locked { state -> PendingSocket? in
            guard let socket = state.sockets[handle] else { return nil }
            drop(handle, socket, .known("its `closed` was called"), &state)
            return socket
        }
        guard let due else { return }
        tell(gone(due))
        guard let owner = owners.owner(due.owner), !owner.isGone else { return }
        call(handle, due, .closed(code: 0, reason: "", failure))
    }

    private func gone(_ socket: PendingSocket) -> JSONValue {
        ["ask": "ws-gone", "id": .integer(Int64(socket.id)), "atNs": .integer(Int64(clamping: clock.nowNs))]
    }

    private func drop(_ handle: vc_handle, _ socket: PendingSocket, _ ending: Ending, _ state: inout State) {
        if let next = socket.next { clock.cancel(next.id) }
        for timer in socket.timers.values { clock.cancel(timer) }
        state.sockets[handle] = nil
        end(handle, ending, in: &state)
    }

    func dropSockets(_ state: inout State, of owner: vc_handle) -> [JSONValue] {
        state.sockets.filter { $0.value.owner == owner }.sorted { $0.key < $1.key }.map { handle, socket in
            drop(handle, socket, .byHost, &state)
            return gone(socket)
        }
    }

    private func setTimer(
        _ name: String, _ handle: vc_handle, _ state: inout State, atNs: UInt64,
        _ body: @escaping (VendorServices) -> Void
    ) {
        guard let owner = state.sockets[handle]?.owner else { return }
        let id = clock.schedule(atNs: atNs, owner: owner) { [weak self] in
            guard let self else { return }
            locked { state in _ = state.sockets[handle]?.timers.removeValue(forKey: name) }
            body(self)
        }
        state.sockets[handle]?.timers[name] = id
    }
}

private func vendorConnect(
    _ owner: vc_handle, _ request: UnsafePointer<vc_ws_connect>, _ events: UnsafePointer<vc_ws_events>,
    _ context: UnsafeMutableRawPointer?, _ handle: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = VendorServices.current else { return vc_status(VC_E_CLOSED) }
    guard !isNullPointer(handle), let request = copyGrowable(request), let events = copyGrowable(events) else {
        services.breach("ws.connect: a NULL pointer, or a struct without its size")
        return vc_status(VC_E_ARGUMENT)
    }
    handle.pointee = 0
    let result = services.connect(owner, request, events, context)
    handle.pointee = result.handle
    return result.status
}

private func vendorSend(_ handle: vc_handle, _ bytes: vc_str, _ isBinary: UInt32) -> vc_status {
    guard let services = VendorServices.current else { return vc_status(VC_E_CLOSED) }
    func refuse(_ reason: String) -> vc_status {
        services.breach("ws.send: \(reason)")
        return vc_status(VC_E_ARGUMENT)
    }
    guard OutboundHeaders.isWhole(bytes) else { return refuse("a length without bytes") }
    guard bytes.length <= VendorServices.messageBytesMax else {
        return refuse("a message of \(bytes.length) bytes; \(VendorServices.messageBytesMax) are the most")
    }
    guard isBinary <= 1 else { return refuse("`binary` is \(isBinary); it is 1 or 0") }
    let copy = bytes.data.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: Int(bytes.length))) } ?? []
    if isBinary == 0, String(validating: copy, as: UTF8.self) == nil { return refuse("a text that is no UTF-8") }
    return services.send(handle, copy, isBinary: isBinary == 1)
}

private func vendorClose(_ handle: vc_handle, _ code: UInt32, _ reason: vc_str) -> vc_status {
    guard let services = VendorServices.current else { return vc_status(VC_E_CLOSED) }
    // What an application may send (RFC 6455, 7.4), and what fits into a control frame (5.5).
    let isSendable = (1000...1003).contains(code) || (1007...1011).contains(code) || (3000...4999).contains(code)
    guard isSendable, OutboundHeaders.isWhole(reason), reason.length <= 123 else {
        services.breach("ws.close: code \(code), or a reason of \(reason.length) bytes, cannot be sent")
        return vc_status(VC_E_ARGUMENT)
    }
    return services.close(handle, code: code, reason: benchString(reason))
}
