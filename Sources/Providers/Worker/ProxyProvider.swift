// A provider that lives in a worker, as the rest of the host sees it: an object behind an ordinary `vc_provider`.
//
// So `ProviderInstance`, the guard and the adapters need not know what stands behind a table. A call that has a status
// is answered by the worker within a deadline; a call that has none is posted.

import Glibc
import PluginABI
import Synchronization

final class ProxyProvider: WorkerTarget, @unchecked Sendable {
    let worker: Worker
    let handle: vc_handle
    let kind: PluginKind
    private let errors = KeptError()

    private struct State {
        var isReady = false
        var hasStarted = false
        var isDraining = false
    }
    private let state = Mutex(State())

    /// Makes the worker and, in it, the provider.
    static func create(
        _ plan: WorkerPlan, _ handle: vc_handle, _ error: UnsafeMutablePointer<vc_error>
    ) -> (vc_status, ProxyProvider?) {
        let worker = Worker(plan)
        let provider = ProxyProvider(worker, handle, plan.kind)
        do throws(WorkerFault) {
            let link = try worker.start()
            let answer = provider.create(on: link)
            guard answer.status == VC_OK else {
                worker.stop()
                worker.kill(nil, "it has no provider")
                keptBeyond.write(answer, to: error)
                return (answer.status, nil)
            }
            worker.serve(link) { [weak provider] in provider?.revive($0) }
            return (vc_status(VC_OK), provider)
        } catch let fault {
            worker.stop()
            worker.kill(nil, "it has no provider")
            keptBeyond.write(.failed(VC_E_CRASHED, fault.message), to: error)
            return (vc_status(VC_E_CRASHED), nil)
        }
    }

    private init(_ worker: Worker, _ handle: vc_handle, _ kind: PluginKind) {
        self.worker = worker
        self.handle = handle
        self.kind = kind
    }

    // MARK: Slots

    private func create(on link: WorkerLink) -> WorkerAnswer {
        link.add(self, handle)
        let plan = worker.plan
        return link.ask(.create, handle, deadlineNs: deadline(plan.options.createMs)) { writer in
            writer.put(plan.kind.rawValue)
            writer.put(plan.provider)
            writer.put(plan.name)
            writer.put(plan.configuration)
        }
    }

    func start(_ error: UnsafeMutablePointer<vc_error>) -> vc_status {
        state.withLock { $0.hasStarted = true }
        guard let link = worker.serving else { return refuse(.failed(VC_E_CRASHED, worker.failure), error) }
        let answer = link.ask(.start, handle, deadlineNs: deadline(worker.plan.options.createMs)) { _ in }
        return answer.status == VC_OK ? answer.status : refuse(answer, error)
    }

    func drain() {
        state.withLock { $0.isDraining = true }
        if let link = worker.serving, link.post(.drain, handle, urgent: true) == VC_OK { return }
        // Nothing is left of what it held.
        emit(VC_EVENT_DRAINED)
    }

    func destroy() {
        let link = worker.serving
        worker.stop()
        if let link {
            _ = link.post(.destroyProvider, handle, urgent: true)
            link.remove(handle)
        } else {
            worker.kill(nil, "its provider was destroyed")
        }
    }

    func open(
        _ request: UnsafePointer<vc_open>, _ session: UnsafeMutablePointer<vc_session>,
        _ error: UnsafeMutablePointer<vc_error>
    ) -> vc_status {
        guard let link = worker.serving else { return refuse(.failed(VC_E_CRASHED, worker.failure), error) }
        let theirs = request.pointee.session
        let proxy = ProxySession(theirs, kind, link, self)
        link.add(proxy, theirs)
        let context = HandleTable.shared.resolve(theirs).flatMap { WorkerServices.host?.context(of: $0) } ?? ""
        let answer = link.ask(.open, theirs, deadlineNs: deadline(worker.plan.options.openMs)) { writer in
            writer.put(handle)
            writer.put(request.pointee)
            writer.put(context)
            writer.put(UInt8(kind == .telephony && request.pointee.kind != nil ? 1 : 0))
            guard kind == .telephony, let more = request.pointee.kind else { return }
            writer.put(more.load(as: vc_telephony_open.self))
        }
        guard answer.status == VC_OK else {
            // It may still open it: then nobody is there for it.
            if answer.status == vc_status(VC_E_TIMEOUT) { _ = link.post(.abandon, theirs, urgent: true) }
            link.remove(theirs)
            return refuse(answer, error)
        }
        let tables = ProxyTables.session(answer.mask, kind)
        session.pointee.state = Unmanaged.passRetained(proxy).toOpaque()
        session.pointee.ops = tables.ops
        session.pointee.kind_ops = tables.kindOps
        return vc_status(VC_OK)
    }

    func decline(_ key: vc_str, _ code: UInt32, _ retryAfterS: UInt32) -> vc_status {
        guard let link = worker.serving else { return vc_status(VC_E_CRASHED) }
        return link.post(.slot, handle) { writer in
            writer.put(WorkerSlot.decline.rawValue)
            writer.put(key)
            writer.put(code)
            writer.put(retryAfterS)
        }
    }

    /// A batch of windows: the one call whose caller waits for what the plugin computes.
    func process(_ batch: UnsafePointer<vc_vad_batch>) -> vc_status {
        guard let link = worker.serving else { return vc_status(VC_E_CRASHED) }
        let batch = batch.pointee
        guard let rows = batch.rows else { return vc_status(VC_E_ARGUMENT) }
        func row(_ index: UInt32) -> UnsafeMutablePointer<vc_vad_row> {
            (UnsafeMutableRawPointer(rows) + Int(index) * Int(batch.row_stride))
                .assumingMemoryBound(to: vc_vad_row.self)
        }
        let answer = link.ask(.slot, handle, deadlineNs: batch.deadline_ns) { writer in
            writer.put(WorkerSlot.process.rawValue)
            writer.put(batch.rate_hz)
            writer.put(batch.samples)
            writer.put(batch.row_count)
            writer.put(batch.deadline_ns)
            for index in 0..<batch.row_count {
                let session = row(index).pointee.session.map {
                    Unmanaged<ProxySession>.fromOpaque($0).takeUnretainedValue().handle
                }
                writer.put(session ?? 0)
                writer.put(row(index).pointee.flags)
                writer.put(
                    raw: UnsafeRawBufferPointer(start: row(index).pointee.samples, count: Int(batch.samples) * 2))
            }
        }
        guard answer.status == VC_OK else { return answer.status }
        guard answer.bytes.count == Int(batch.row_count) * 4 else { return vc_status(VC_E_INTERNAL) }
        answer.bytes.withUnsafeBytes { bytes in
            for index in 0..<batch.row_count {
                row(index).pointee.probability = bytes.loadUnaligned(fromByteOffset: Int(index) * 4, as: Float.self)
            }
        }
        return vc_status(VC_OK)
    }

    private func deadline(_ ms: Int) -> UInt64 { hostClockNs() + UInt64(ms) * 1_000_000 }

    private func refuse(_ answer: WorkerAnswer, _ error: UnsafeMutablePointer<vc_error>) -> vc_status {
        errors.write(answer, to: error)
        return answer.status
    }

    // MARK: A new process

    /// On a thread of its own: the provider is made anew in a process that has just started.
    private func revive(_ link: WorkerLink) {
        var answer = create(on: link)
        let hasStarted = state.withLock { $0.hasStarted }
        if answer.status == VC_OK, hasStarted {
            answer = link.ask(.start, handle, deadlineNs: deadline(worker.plan.options.createMs)) { _ in }
        }
        guard answer.status == VC_OK else {
            let why = answer.error.message.isEmpty ? "status \(answer.status)" : answer.error.message
            return worker.kill(link, "its provider could not be made anew: \(why)")
        }
        worker.log(.info, "the worker of \(worker.plan.name) runs again")
        // One that has `start` says READY; sessions may come then.
        if !hasStarted { worker.serve(link) }
    }

    // MARK: WorkerTarget

    func readSlow(_ body: UnsafeRawBufferPointer) throws(WireFault) -> (slot: WorkerSlot, ms: UInt32) {
        var reader = WireReader(body)
        let number = try reader.take(UInt32.self)
        guard let slot = WorkerSlot(rawValue: number) else { throw WireFault(problem: "slot \(number)") }
        return (slot, try reader.take())
    }

    func received(_ kind: WorkerMessage, _ body: UnsafeRawBufferPointer) throws(WireFault) {
        guard kind == .event else { return }
        var reader = WireReader(body)
        _ = try reader.withEvent { event in
            if Int(event.pointee.type) == VC_EVENT_READY {
                // The host heard it of the first process, and need not of the others.
                let isAgain = state.withLock { state in
                    defer { state.isReady = true }
                    return state.isReady
                }
                worker.serveCurrent()
                if isAgain { return vc_status(VC_OK) }
            }
            return HandleTable.shared.resolve(handle)?.deliver(event) ?? vc_status(VC_E_STALE)
        }
    }

    /// The provider goes on: a new process is its worker's affair. But what waits for it to drain need not wait more.
    func died(_ failure: String) {
        if state.withLock({ $0.isDraining }) { emit(VC_EVENT_DRAINED) }
    }

    private func emit(_ type: Int) {
        var event = vc_event()
        event.size = UInt32(MemoryLayout<vc_event>.size)
        event.type = UInt32(type)
        _ = HandleTable.shared.resolve(handle)?.deliver(&event)
    }
}

extension Worker {
    /// The process that runs now is READY.
    func serveCurrent() {
        if let link = running { serve(link) }
    }
}

/// For `create` that failed: there is no object to keep its words. The caller copies them at once, under no lock that
/// another `create` could hold; the text of the last failure is what is kept.
private let keptBeyond = KeptError()

/// The words of a failed call, which live until the next call on the same object.
final class KeptError: Sendable {
    private struct Texts: @unchecked Sendable { var pointers: [UnsafeMutablePointer<CChar>] = [] }
    private let texts = Mutex(Texts())

    deinit { texts.withLock { $0.pointers.forEach { free($0) } } }

    func write(_ answer: WorkerAnswer, to error: UnsafeMutablePointer<vc_error>) {
        texts.withLock { texts in
            texts.pointers.forEach { free($0) }
            let said: [String] = [answer.error.message, answer.error.vendor, answer.error.vendorCode]
            texts.pointers = said.map { strdup($0) }
            func text(_ index: Int) -> vc_str {
                vc_str(data: texts.pointers[index], length: UInt64(strlen(texts.pointers[index])))
            }
            error.pointee.code = answer.status
            error.pointee.retryable = answer.error.retryable
            error.pointee.retry_after_ms = answer.error.retryAfterMs
            error.pointee.protocol_status = answer.error.protocolStatus
            error.pointee.message = text(0)
            error.pointee.vendor = text(1)
            error.pointee.vendor_code = text(2)
        }
    }
}

extension WireWriter {
    mutating func put(_ open: vc_open) {
        put(open.rate_hz)
        put(open.epoch)
        for text in [open.call, open.leg, open.tenant, open.language, open.config] { put(text) }
    }

    mutating func put(_ open: vc_telephony_open) {
        put(open.direction)
        put(open.key)
        put(open.to)
        put(open.from)
        put(open.headers, open.header_count)
        put(open.ring_timeout_ms)
    }
}
