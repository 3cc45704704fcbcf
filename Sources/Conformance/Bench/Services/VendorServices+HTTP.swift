// "vc.http/1" of the bench.

import JSON
import PluginABI

let httpTable = PermanentTable(
    vc_http(
        size: UInt32(MemoryLayout<vc_http>.size), reserved: 0, start: vendorStart, cancel: vendorCancel,
        prewarm: vendorPrewarm))

/// A request under way.
struct PendingRequest {
    enum Part {
        case response(status: UInt32, headers: [(name: String, value: String)])
        case data([UInt8])
        case done(VendorFailure?)
    }

    let owner: vc_handle
    let epoch: UInt64
    let id: Int
    let url: String
    let deadlineMs: UInt32
    let events: vc_http_events
    let context: UnsafeMutableRawPointer?
    /// What is still to come, the next at the end.
    var parts: [(atNs: UInt64, part: Part)]
    var hasHead = false
    /// Entries in the clock: the next part, the deadline, the first byte.
    var timers: [Int] = []
}

extension VendorServices {
    /// The bounds of `service/http.h` and of the host.
    static let requestsPerOwnerMax = 32
    static let requestBytesMax: UInt64 = 32 << 20
    static let deadlineMsDefault: UInt32 = 30_000
    static let handleKindHTTP: UInt64 = 0xb2

    func start(
        _ owner: vc_handle, _ request: vc_http_request, _ events: vc_http_events, _ context: UnsafeMutableRawPointer?
    ) -> (status: vc_status, handle: vc_handle) {
        func refuse(_ reason: String) -> (vc_status, vc_handle) {
            breach("http.start: \(reason)")
            return (vc_status(VC_E_ARGUMENT), 0)
        }
        let object: ServiceOwner
        switch admit(owner, "http.start") {
        case .success(let found): object = found
        case .failure(let answer): return (answer.status, 0)
        }
        guard OutboundHeaders.isWhole(request.method), OutboundHeaders.isWhole(request.url),
            OutboundHeaders.isWhole(request.body)
        else { return refuse("a length without text") }
        let (method, url) = (benchString(request.method), benchString(request.url))
        guard OutboundHeaders.isToken(method) else { return refuse("the method \"\(method)\" is no token") }
        guard Self.isAddress(url, schemes: ["http", "https"]) else {
            return refuse("\"\(url)\" is no absolute URL of http or https")
        }
        guard request.body.length <= Self.requestBytesMax else {
            return refuse("a body of \(request.body.length) bytes; \(Self.requestBytesMax) are the most")
        }
        guard request.epoch >= object.epoch else { return (vc_status(VC_E_CANCELED), 0) }
        let headers: OutboundHeaders
        switch OutboundHeaders.copy(request.headers, request.header_count, "http.start", self) {
        case .success(let copies): headers = copies
        case .failure(let answer): return (answer.status, 0)
        }
        if let status = count("http.start") { return (status, 0) }

        let body = request.body.data.map { data in
            [UInt8](UnsafeRawBufferPointer(start: data, count: Int(request.body.length)))
        }
        let deadlineMs = request.deadline_ms == 0 ? Self.deadlineMsDefault : request.deadline_ms
        return locked { state in
            guard state.requests.values.filter({ $0.owner == owner }).count < Self.requestsPerOwnerMax else {
                return (vc_status(VC_E_AGAIN), 0)
            }
            let handle = nextHandle(&state, kind: Self.handleKindHTTP)
            let id = Int(state.latest)
            let nowNs = clock.nowNs
            let question: JSONValue = [
                "ask": "http", "id": .integer(Int64(id)), "atNs": .integer(Int64(nowNs)), "method": .string(method),
                "url": .string(url), "headers": .array(headers.fields.map { [.string($0.name), .string($0.value)] }),
            ]
            let answer = ask(question, "body", body ?? [])
            if !state.routes.isEmpty { takeServedCalls(&state) }
            var pending = PendingRequest(
                owner: owner, epoch: request.epoch, id: id, url: url, deadlineMs: deadlineMs, events: events,
                context: context, parts: Self.parts(answer, nowNs: nowNs + state.latencyNs))
            pending.timers = [
                clock.schedule(atNs: nowNs + UInt64(deadlineMs) * 1_000_000, owner: owner) { [weak self] in
                    self?.expired(handle, needsHead: false)
                }
            ]
            if request.first_byte_ms > 0 {
                let atNs = nowNs + UInt64(request.first_byte_ms) * 1_000_000
                pending.timers.append(
                    clock.schedule(atNs: atNs, owner: owner) { [weak self] in
                        self?.expired(handle, needsHead: true)
                    })
            }
            state.requests[handle] = pending
            scheduleNext(handle, &state)
            return (vc_status(VC_OK), handle)
        }
    }

    func cancel(_ handle: vc_handle) -> vc_status {
        let tell = locked { state in drop(handle, .known("it was cancelled already"), &state) }
        guard let tell else { return stale(handle, "http.cancel") }
        self.tell(tell)
        return vc_status(VC_OK)
    }

    // MARK: Delivery

    private static func parts(_ answer: JSONValue, nowNs: UInt64) -> [(atNs: UInt64, part: PendingRequest.Part)] {
        var parts: [(atNs: UInt64, part: PendingRequest.Part)] = []
        for action in answer["actions"]?.array ?? [] {
            let atNs = nowNs + UInt64(clamping: action["afterMs"]?.integer ?? 0) * 1_000_000
            if let response = action["response"] {
                let status = UInt32(clamping: response["status"]?.integer ?? 0)
                parts.append((atNs, .response(status: status, headers: VendorSighting.headers(response["headers"]))))
            } else if let data = action["data"]?.string {
                parts.append((atNs, .data(Base64.bytes(of: data) ?? [])))
            } else if let done = action["done"] {
                parts.append((atNs, .done(VendorFailure(done))))
            }
        }
        return parts.reversed()
    }

    private func scheduleNext(_ handle: vc_handle, _ state: inout State) {
        guard let pending = state.requests[handle], let next = pending.parts.last else { return }
        let id = clock.schedule(atNs: max(next.atNs, clock.nowNs), owner: pending.owner) { [weak self] in
            self?.deliver(handle)
        }
        // The first places are those of the deadlines, which stay.
        state.requests[handle]?.timers.append(id)
    }

    /// One part to the plugin, if it is still to have it.
    private func deliver(_ handle: vc_handle) {
        let due = locked { state -> (PendingRequest, PendingRequest.Part)? in
            guard var pending = state.requests[handle], let next = pending.parts.popLast() else { return nil }
            pending.timers.removeLast()
            switch next.part {
            case .response, .data: pending.hasHead = true
            case .done:
                // Gone before the plugin hears of it, so that it may start the next one from within.
                for timer in pending.timers { clock.cancel(timer) }
                state.requests[handle] = nil
                end(handle, .known("its `done` was called"), in: &state)
                return (pending, next.part)
            }
            state.requests[handle] = pending
            return (pending, next.part)
        }
        guard let (pending, part) = due else { return }
        guard isCurrent(pending) else {
            let tell = locked { state in drop(handle, .byHost, &state) }
            if let tell { self.tell(tell) }
            return
        }
        call(handle, pending, part)
        locked { state in scheduleNext(handle, &state) }
    }

    private func isCurrent(_ pending: PendingRequest) -> Bool {
        guard let owner = owners.owner(pending.owner) else { return false }
        return !owner.isGone && pending.epoch >= owner.epoch
    }

    private func call(_ handle: vc_handle, _ pending: PendingRequest, _ part: PendingRequest.Part) {
        let (events, context) = (pending.events, pending.context)
        switch part {
        case .response(let status, let headers):
            lendFields(headers) { fields, count in
                owners.call("http.response") { events.response?(context, handle, status, fields, count) }
            }
        case .data(let bytes):
            lendBytes(arrived(bytes, isText: false)) { bytes in
                owners.call("http.data") { events.data?(context, handle, bytes) }
            }
        case .done(let failure?):
            failure.lend { error in owners.call("http.done") { events.done?(context, handle, error) } }
        case .done(nil): owners.call("http.done") { events.done?(context, handle, nil) }
        }
    }

    /// A deadline passed.
    private func expired(_ handle: vc_handle, needsHead: Bool) {
        let due = locked { state -> (PendingRequest, JSONValue)? in
            guard let pending = state.requests[handle], !(needsHead && pending.hasHead) else { return nil }
            guard let tell = drop(handle, .known("its `done` was called"), &state) else { return nil }
            return (pending, tell)
        }
        guard let (pending, tell) = due else { return }
        self.tell(tell)
        guard isCurrent(pending) else { return }
        let origin = VendorFailure.origin(of: pending.url)
        let message =
            pending.hasHead
            ? "the answer of \(origin) was not complete after \(pending.deadlineMs) ms: "
                + "raise the deadline or ask for less"
            : "\(origin) took the request and did not answer in time: look at its load, or raise the deadline"
        call(handle, pending, .done(VendorFailure(code: Int32(VC_E_TIMEOUT), message: message)))
    }

    // MARK: Ends

    /// Takes a request out. Nil: it is gone already; else what to tell the vendor.
    private func drop(_ handle: vc_handle, _ ending: Ending, _ state: inout State) -> JSONValue? {
        guard let pending = state.requests.removeValue(forKey: handle) else { return nil }
        for timer in pending.timers { clock.cancel(timer) }
        end(handle, ending, in: &state)
        return [
            "ask": "cancel", "id": .integer(Int64(pending.id)), "atNs": .integer(Int64(clamping: clock.nowNs)),
        ]
    }

    func dropRequests(_ state: inout State, where isMeant: (PendingRequest) -> Bool) -> [JSONValue] {
        let handles = state.requests.filter { isMeant($0.value) }.keys.sorted()
        return handles.compactMap { drop($0, .byHost, &state) }
    }
}

private func vendorStart(
    _ owner: vc_handle, _ request: UnsafePointer<vc_http_request>, _ events: UnsafePointer<vc_http_events>,
    _ context: UnsafeMutableRawPointer?, _ handle: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = VendorServices.current else { return vc_status(VC_E_CLOSED) }
    guard !isNullPointer(handle), let request = copyGrowable(request), let events = copyGrowable(events) else {
        services.breach("http.start: a NULL pointer, or a struct without its size")
        return vc_status(VC_E_ARGUMENT)
    }
    handle.pointee = 0
    let result = services.start(owner, request, events, context)
    handle.pointee = result.handle
    return result.status
}

private func vendorCancel(_ handle: vc_handle) -> vc_status {
    VendorServices.current?.cancel(handle) ?? vc_status(VC_E_CLOSED)
}

private func vendorPrewarm(_ owner: vc_handle, _ url: vc_str) {
    guard let services = VendorServices.current, case .success = services.admit(owner, "http.prewarm") else { return }
    _ = services.count("http.prewarm")
    guard OutboundHeaders.isWhole(url), VendorServices.isAddress(benchString(url), schemes: ["http", "https"]) else {
        return services.breach("http.prewarm: \"\(benchString(url))\" is no absolute URL of http or https")
    }
}
