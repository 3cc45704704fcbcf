// The provider in a worker, and what the host asks that is about no slot of a kind: create, start, open, close.

import Glibc
import JSON
import PluginABI

/// Of the thread that calls the slots.
final class ChildProvider {
    let object: PluginObject
    let kind: PluginKind
    let table: vc_provider
    let theirs: vc_self?

    init(_ object: PluginObject, _ kind: PluginKind, _ table: vc_provider, _ theirs: vc_self?) {
        self.object = object
        self.kind = kind
        self.table = table
        self.theirs = theirs
    }
}

extension WorkerChildProcess {
    func dispatch(_ head: RingHead, _ body: UnsafeRawBufferPointer) throws(WireFault) {
        var body = WireReader(body)
        guard let message = WorkerMessage(rawValue: head.kind) else { throw WireFault(problem: "kind \(head.kind)") }
        switch message {
        case .heartbeat: page.beat = head.number
        case .create: try create(head, &body)
        case .start: start(head)
        case .drain: drain()
        case .destroyProvider: destroyProvider()
        case .open: try open(head, &body)
        case .cancel: session(head.object)?.cancel(try body.take())
        case .close: session(head.object)?.close()
        case .destroy: session(head.object)?.destroy()
        case .abandon: session(head.object)?.destroy()
        case .slot: try slot(head, &body)
        default: throw WireFault(problem: "\(message) on the ring of calls")
        }
    }

    // MARK: The provider

    private func create(_ head: RingHead, _ body: inout WireReader) throws(WireFault) {
        let kind = try body.takeString()
        let id = try body.takeString()
        let name = try body.takeString()
        let configuration = try body.takeString()
        guard let table = module.providers.first(where: { $0.kind == kind && $0.id == id })?.table,
            let known = PluginKind(rawValue: kind)
        else {
            return answer(head.number, failure(VC_E_INTERNAL, "the plugin has no provider \(id) of \(kind)"))
        }
        let handle = head.object
        let object = PluginObject(
            level: .provider, plugin: plugin, name: name,
            configuration: (try? JSONValue(parsing: configuration)) ?? [:]
        ) { [self] event in forward(event, of: handle) }
        guard HandleTable.shared.place(object, at: handle) else {
            return answer(head.number, failure(VC_E_INTERNAL, "the handle \(handle) cannot be used"))
        }
        serviceHalf.opened(object, context: "")
        var error = emptyError()
        var theirs: vc_self? = nil
        let status = withStr(name) { name in
            withStr(configuration) { configuration in
                var request = vc_create(
                    size: UInt32(MemoryLayout<vc_create>.size), reserved: 0, provider: handle, name: name,
                    config: configuration)
                return object.control { inCall(.create, handle) { table.create!(&request, &theirs, &error) } }
            }
        }
        if status == VC_OK { provider = ChildProvider(object, known, table, theirs) }
        error.code = status
        answer(head.number, error)
    }

    private func start(_ head: RingHead) {
        guard let provider else { return answer(head.number, vc_status(VC_E_STATE)) }
        guard let start = provider.table.start else { return answer(head.number, vc_status(VC_OK)) }
        var error = emptyError()
        error.code = provider.object.control {
            inCall(.start, provider.object.handle) { start(provider.theirs, &error) }
        }
        answer(head.number, error)
    }

    private func drain() {
        guard let provider, let drain = provider.table.drain else { return }
        provider.object.control { inCall(.drain, provider.object.handle) { drain(provider.theirs) } }
    }

    private func destroyProvider() {
        if let provider {
            provider.object.end()
            HandleTable.shared.remove(provider.object.handle)
            provider.object.control {
                inCall(.destroyProvider, provider.object.handle) { provider.table.destroy?(provider.theirs) }
            }
        }
        // Not through the destructors of libraries that still have threads.
        _exit(0)
    }

    /// An event of the provider itself: there are few, and they are let through.
    private func forward(_ event: UnsafePointer<vc_event>, of handle: vc_handle) -> vc_status {
        switch events.send(WorkerMessage.event.rawValue, object: handle, urgent: true, { $0.put(event: event) }) {
        case .sent: vc_status(VC_OK)
        case .full: vc_status(VC_E_AGAIN)
        case .broken: vc_status(VC_E_STALE)
        }
    }

    // MARK: Sessions

    private func open(_ head: RingHead, _ body: inout WireReader) throws(WireFault) {
        _ = try body.take(vc_handle.self)
        var request = vc_open()
        request.size = UInt32(MemoryLayout<vc_open>.size)
        request.rate_hz = try body.take()
        request.session = head.object
        request.epoch = try body.take()
        request.call = try body.takeText()
        request.leg = try body.takeText()
        request.tenant = try body.takeText()
        request.language = try body.takeText()
        request.config = try body.takeText()
        let context = try body.takeString()
        guard try body.take(UInt8.self) == 1 else { return open(head, request, context) }
        var more = vc_telephony_open()
        more.size = UInt32(MemoryLayout<vc_telephony_open>.size)
        more.direction = try body.take()
        more.key = try body.takeText()
        more.to = try body.takeText()
        more.from = try body.takeText()
        let fields = try body.takeFields()
        more.ring_timeout_ms = try body.take()
        more.header_count = UInt32(fields.count)
        fields.withUnsafeBufferPointer { fields in
            more.headers = fields.baseAddress
            withUnsafePointer(to: more) { more in
                request.kind = UnsafeRawPointer(more)
                open(head, request, context)
            }
        }
    }

    private func open(_ head: RingHead, _ request: vc_open, _ context: String) {
        guard let provider else { return answer(head.number, vc_status(VC_E_STATE)) }
        let session = ChildSession(
            self, provider, request,
            configuration: (try? JSONValue(parsing: String(request.config) ?? "{}")) ?? [:])
        guard HandleTable.shared.place(session.object, at: head.object) else {
            return answer(head.number, failure(VC_E_INTERNAL, "the handle \(head.object) cannot be used"))
        }
        add(session)
        serviceHalf.opened(session.object, context: context)
        var error = emptyError()
        var filled = vc_session()
        filled.size = UInt32(MemoryLayout<vc_session>.size)
        error.code = provider.object.control {
            session.object.control {
                inCall(.open, head.object) {
                    withUnsafePointer(to: request) { provider.table.open!(provider.theirs, $0, &filled, &error) }
                }
            }
        }
        guard error.code == VC_OK else {
            session.forget()
            return answer(head.number, error)
        }
        do throws(TableFault) {
            answer(head.number, error, mask: try session.adopt(filled))
        } catch {
            session.forget()
            answer(head.number, failure(VC_E_INTERNAL, error.problem))
        }
    }


    /// The text is kept for good: such failures are few, and end a session or the process.
    private func failure(_ status: Int, _ message: String) -> vc_error {
        var error = emptyError()
        error.code = vc_status(status)
        let kept = strdup(message)
        error.message = vc_str(data: kept, length: UInt64(message.utf8.count))
        return error
    }
}
