// "vc.http/1": the door. Arguments are checked and copied here, on the plugin's thread; the rest happens on the I/O
// thread (`HTTPLoop`) and on the plugin's lane (`HTTPRequest.deliver`).

import Glibc
import PluginABI
import Providers
import Synchronization

let httpTable = ServiceTable(
    vc_http(
        size: UInt32(MemoryLayout<vc_http>.size), reserved: 0, start: httpStart, cancel: httpCancel,
        prewarm: httpPrewarm))

final class HTTPService: Sendable {
    /// The bound of the contract, `service/http.h`.
    static let perOwnerMax = 32
    static let defaultDeadlineMs: UInt32 = 30_000

    let limits: HTTPLimits
    let outcomes: OutcomeCounters
    private let lanes: DeliveryLanes
    private let loop: HTTPLoop
    private let requests: OwnedTable<HTTPRequest>

    init(limits: HTTPLimits, lanes: DeliveryLanes, metrics: MetricsRegistry) {
        let outcomes = OutcomeCounters("vchost_http_requests", help: "Requests of plugins to vendors", in: metrics)
        self.outcomes = outcomes
        self.limits = limits
        self.lanes = lanes
        let loop = HTTPLoop(limits: limits)
        self.loop = loop
        requests = OwnedTable(kind: 2, limitPerOwner: Self.perOwnerMax) { request in
            guard request.close() else { return }
            outcomes.canceled.increment()
            loop.send(.abort(request))
        }
    }

    /// Starts the I/O thread.
    func begin() { loop.begin() }

    func start(
        owner: PluginObject, epoch: UInt64, _ outbound: HTTPRequest.Outbound, events: vc_http_events,
        context: UnsafeMutableRawPointer?
    ) -> (status: vc_status, request: vc_handle) {
        let mailbox = lanes.mailbox(of: owner)
        let insertion = requests.insert(for: owner) { handle in
            HTTPRequest(
                handle: handle, epoch: epoch, outbound: outbound, owner: owner, mailbox: mailbox, events: events,
                context: context, service: self)
        }
        guard case .inserted(let handle) = insertion else {
            outcomes.refused.increment()
            return (.again, 0)
        }
        // Gone already when the owner ended in between.
        guard let request = requests.resolve(handle) else { return (.stale, 0) }
        loop.send(.start(request))
        return (.ok, handle)
    }

    func cancel(_ handle: vc_handle) -> vc_status {
        guard let request = requests.resolve(handle) else { return .stale }
        cancel(request)
        return .ok
    }

    func cancel(_ request: HTTPRequest) {
        requests.remove(request.handle)
        guard request.close() else { return }
        outcomes.canceled.increment()
        loop.send(.abort(request))
    }

    func cancelOlder(than epoch: UInt64, of owner: vc_handle) {
        for request in requests.all(of: owner) where request.epoch < epoch { cancel(request) }
    }

    func resume(_ request: HTTPRequest) { loop.send(.resume(request)) }

    /// The exchange is over and the plugin is about to hear of it.
    func forget(_ request: HTTPRequest, _ failure: ServiceFailure?) {
        requests.remove(request.handle)
        if request.close() { (failure == nil ? outcomes.completed : outcomes.failed).increment() }
    }

    func prewarm(_ origin: Origin) {
        loop.send(
            .prewarm(.init(method: "HEAD", url: "\(origin)/", origin: origin, deadlineMs: 5_000)))
    }

    /// Requests under way.
    var count: Int { requests.count }

    func stop() { loop.stop() }
}

private func httpStart(
    _ owner: vc_handle, _ request: UnsafePointer<vc_http_request>, _ events: UnsafePointer<vc_http_events>,
    _ context: UnsafeMutableRawPointer?, _ handle: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(handle), let request = copy(request), let events = copy(events) else { return .badArgument }
    handle.pointee = 0
    guard let object = HandleTable.shared.resolve(owner) else { return .stale }
    func refuse(_ reason: String) -> vc_status { HTTPHeaders.refuse(reason, object, services).status }

    guard request.method.isValid, request.url.isValid, request.body.isValid else {
        return refuse("a request has a length without text")
    }
    let method = request.method.text(limit: 32)
    guard HTTPHeaders.isToken(method) else { return refuse("a request's method must be a token, such as GET") }
    let url = request.url.text(limit: 16 << 10)
    guard let origin = Origin(of: url, schemes: ["http", "https"]) else {
        return refuse("a request's URL must be absolute, http or https, without spaces, and of at most 8 KiB")
    }
    guard request.body.length <= UInt64(services.http.limits.requestBytesMax) else {
        return refuse("a request's body may have at most \(services.http.limits.requestBytesMax) bytes")
    }
    guard request.epoch >= object.epoch.load(ordering: .acquiring) else { return vc_status(VC_E_CANCELED) }
    let headers: [(name: String, value: String)]
    switch HTTPHeaders.copy(request.headers, request.header_count, owner: object, services: services) {
    case .success(let copies): headers = copies
    case .failure(let failure): return failure.status
    }
    let outbound = HTTPRequest.Outbound(
        method: method, url: url, origin: origin, headers: headers, body: request.body.bytes,
        deadlineMs: request.deadline_ms == 0 ? HTTPService.defaultDeadlineMs : request.deadline_ms,
        firstByteMs: request.first_byte_ms)
    let result = services.http.start(owner: object, epoch: request.epoch, outbound, events: events, context: context)
    handle.pointee = result.request
    return result.status
}

private func httpCancel(_ handle: vc_handle) -> vc_status {
    HostServices.current?.http.cancel(handle) ?? .closed
}

private func httpPrewarm(_ owner: vc_handle, _ url: vc_str) {
    guard let services = HostServices.current, HandleTable.shared.resolve(owner) != nil, url.isValid,
        let origin = Origin(of: url.text(limit: 16 << 10), schemes: ["http", "https"])
    else { return }
    services.http.prewarm(origin)
}
