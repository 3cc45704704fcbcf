// The slots of the kinds, in a worker: arguments are taken out of a message, and the plugin is called with them.

import Glibc
import PluginABI
import Synchronization

extension WorkerChildProcess {
    func slot(_ head: RingHead, _ body: inout WireReader) throws(WireFault) {
        let number = try body.take(UInt32.self)
        guard let slot = WorkerSlot(rawValue: number) else { throw WireFault(problem: "slot \(number)") }
        switch slot {
        case .decline: return try decline(&body)
        case .process: return try process(head, &body)
        default: break
        }
        guard let session = session(head.object) else {
            // Destroyed meanwhile; whoever waits for a status hears that.
            if head.number != 0 { answer(head.number, vc_status(VC_E_STALE)) }
            return
        }
        switch slot {
        case .begin: try session.begin(&body)
        case .push: try session.push(&body)
        case .finalize: try session.finalize(&body)
        case .turnPush, .transcript, .decide: try session.turn(slot, &body)
        case .request: try session.request(&body)
        case .toolResult: try session.toolResult(&body)
        case .speak: try session.speak(&body)
        case .play, .mark, .flush: try session.frames(slot, &body)
        case .ringing, .answer, .hangup, .transfer, .hold, .dtmf:
            answer(head.number, try session.telephony(slot, &body))
        default: throw WireFault(problem: "\(slot) as a slot of a kind")
        }
    }

    private func decline(_ body: inout WireReader) throws(WireFault) {
        let key = try body.takeText()
        let code = try body.take(UInt32.self)
        let retryAfterS = try body.take(UInt32.self)
        guard let provider, let theirs = provider.table.kind_ops,
            let ops = try? adopt(theirs, as: vc_telephony_provider_ops.self, "vc_telephony_provider_ops"),
            let decline = ops.decline
        else { return }
        _ = provider.object.control {
            inCall(.decline, provider.object.handle) { decline(provider.theirs, key, code, retryAfterS) }
        }
    }

    private func process(_ head: RingHead, _ body: inout WireReader) throws(WireFault) {
        var batch = vc_vad_batch()
        batch.size = UInt32(MemoryLayout<vc_vad_batch>.size)
        batch.rate_hz = try body.take()
        batch.samples = try body.take()
        batch.row_count = try body.take()
        batch.row_stride = UInt32(MemoryLayout<vc_vad_row>.stride)
        batch.deadline_ns = try body.take()
        guard batch.row_count <= 32, batch.samples <= 4_096 else {
            throw WireFault(problem: "\(batch.row_count) windows of \(batch.samples)")
        }
        guard let provider, let theirs = provider.table.kind_ops,
            let ops = try? adopt(theirs, as: vc_vad_provider_ops.self, "vc_vad_provider_ops", reserved: 12),
            let process = ops.process
        else { return answer(head.number, vc_status(VC_E_UNSUPPORTED)) }
        let count = Int(batch.samples)
        var samples = [Int16](repeating: 0, count: count * Int(batch.row_count))
        var rows: [vc_vad_row] = []
        for index in 0..<Int(batch.row_count) {
            let handle = try body.take(vc_handle.self)
            let flags = try body.take(UInt32.self)
            let window = try body.takeText()
            guard let session = session(handle), Int(window.length) == count * 2 else {
                // Its call has ended between the batch's making and now: the host knows, and asks without it.
                return answer(head.number, vc_status(VC_E_STALE))
            }
            samples.withUnsafeMutableBytes { memory in
                let place = UnsafeMutableRawBufferPointer(rebasing: memory[(index * count * 2)...])
                place.copyMemory(from: UnsafeRawBufferPointer(start: window.data, count: count * 2))
            }
            rows.append(vc_vad_row(session: session.theirs, samples: nil, probability: 0, flags: flags))
        }
        let status: vc_status = samples.withUnsafeBufferPointer { samples in
            rows.withUnsafeMutableBufferPointer { rows in
                for index in rows.indices { rows[index].samples = samples.baseAddress! + index * count }
                batch.rows = rows.baseAddress
                return inCall(.process, provider.object.handle) { process(provider.theirs, &batch) }
            }
        }
        var bytes: [UInt8] = []
        for row in rows { withUnsafeBytes(of: row.probability) { bytes += $0 } }
        answer(head.number, status, bytes: bytes)
    }
}

// MARK: Recognisers

extension ChildSession {
    fileprivate func begin(_ body: inout WireReader) throws(WireFault) {
        let utterance = try body.take(UInt64.self)
        let position = try body.take(UInt64.self)
        guard let begin = speechToText.begin else { return }
        let status = control(.begin) { begin($0, utterance, position) }
        if status != VC_OK { refused(.begin, 0, 0, status) }
    }

    /// While the plugin says AGAIN the newest 200 ms wait here, as they do in process on the other side of the line.
    fileprivate func push(_ body: inout WireReader) throws(WireFault) {
        let frame = try body.takeFrame()
        flushBacklog(frame)
        if backlog.isEmpty, give(frame) { return }
        let most = Int(frame.rate_hz) * SessionLimits.standard.againMs / 1_000
        let dropped = backlog.append(frame.signed16, at: frame.position, samplesMax: most)
        guard dropped > 0 else { return }
        isDiscontinuous = true
        droppedSamples += UInt64(dropped)
        self.dropped()
    }

    private func flushBacklog(_ like: vc_frame) {
        while let first = backlog.first {
            var frame = like
            frame.position = first.position
            frame.samples = UInt32(first.samples.count)
            frame.bytes = UInt64(first.samples.count * 2)
            let isTaken = first.samples.withUnsafeBytes { bytes in
                frame.data = bytes.baseAddress
                return give(frame)
            }
            guard isTaken else { return }
            backlog.removeFirst()
        }
    }

    /// False: the plugin has no room.
    private func give(_ frame: vc_frame) -> Bool {
        guard let push = speechToText.push else { return true }
        var frame = frame
        if isDiscontinuous { frame.flags |= UInt32(VC_FRAME_DISCONTINUITY) }
        let status = aligned(frame) { frame in control(.push) { push($0, frame) } }
        if status == vc_status(VC_E_AGAIN) { return false }
        isDiscontinuous = false
        if status != VC_OK { refused(.push, 0, 0, status) }
        return true
    }

    fileprivate func finalize(_ body: inout WireReader) throws(WireFault) {
        let request = try body.take(UInt64.self)
        let position = try body.take(UInt64.self)
        let flags = try body.take(UInt32.self)
        guard let finalize = speechToText.finalize else { return }
        if let first = backlog.first {
            var frame = vc_frame()
            frame.size = UInt32(MemoryLayout<vc_frame>.size)
            frame.format = UInt32(VC_FORMAT_S16)
            frame.rate_hz = UInt32(rateHz)
            frame.channels = 1
            frame.position = first.position
            flushBacklog(frame)
        }
        let status = control(.finalize) { finalize($0, request, position, flags) }
        if status != VC_OK { refused(.finalize, request, object.epoch.load(ordering: .acquiring), status) }
    }
}

// MARK: The other kinds

extension ChildSession {
    fileprivate func turn(_ slot: WorkerSlot, _ body: inout WireReader) throws(WireFault) {
        switch slot {
        case .turnPush:
            let frame = try body.takeFrame()
            guard let push = turn.push else { return }
            _ = aligned(frame) { frame in control(.turnPush) { push($0, frame) } }
        case .transcript:
            let text = try body.takeText()
            let final = try body.take(UInt32.self)
            guard let transcript = turn.transcript else { return }
            _ = control(.transcript) { transcript($0, text, final) }
        default:
            let request = try body.take(UInt64.self)
            let position = try body.take(UInt64.self)
            guard let decide = turn.decide else { return }
            let status = control(.decide) { decide($0, request, position) }
            if status != VC_OK { refused(.decide, request, object.epoch.load(ordering: .acquiring), status) }
        }
    }

    fileprivate func request(_ body: inout WireReader) throws(WireFault) {
        var request = vc_llm_request()
        request.size = UInt32(MemoryLayout<vc_llm_request>.size)
        request.request = try body.take()
        request.epoch = try body.take()
        request.flags = try body.take()
        request.messages = try body.takeText()
        request.tools = try body.takeText()
        request.options = try body.takeText()
        guard let slot = languageModel.request else { return }
        raise(to: request.epoch)
        let status = withUnsafePointer(to: request) { request in control(.request) { slot($0, request) } }
        if status != VC_OK { refused(.request, request.request, request.epoch, status) }
    }

    fileprivate func toolResult(_ body: inout WireReader) throws(WireFault) {
        let request = try body.take(UInt64.self)
        let call = try body.takeText()
        let result = try body.takeText()
        guard let slot = languageModel.tool_result else { return }
        let status = control(.toolResult) { slot($0, request, call, result) }
        if status != VC_OK { refused(.toolResult, request, object.epoch.load(ordering: .acquiring), status) }
    }

    fileprivate func speak(_ body: inout WireReader) throws(WireFault) {
        let request = try body.take(UInt64.self)
        let epoch = try body.take(UInt64.self)
        let text = try body.takeText()
        let flags = try body.take(UInt32.self)
        guard let speak = textToSpeech.speak else { return }
        raise(to: epoch)
        let status = control(.speak) { speak($0, request, epoch, text, flags) }
        if status != VC_OK { refused(.speak, request, epoch, status) }
    }

    fileprivate func frames(_ slot: WorkerSlot, _ body: inout WireReader) throws(WireFault) {
        var status = vc_status(VC_OK)
        switch slot {
        case .play:
            let frame = try body.takeFrame()
            guard let play = frames.play else { return }
            // VC_E_AGAIN is a frame lost, and counted: the transport is behind by more than the host's 200 ms.
            status = aligned(frame) { frame in control(.play) { play($0, frame) } }
        case .mark:
            let mark = try body.take(UInt64.self)
            guard let slot = frames.mark else { return }
            status = control(.mark) { slot($0, mark) }
        default:
            guard let flush = frames.flush else { return }
            status = control(.flush) { flush($0) }
        }
        if status != VC_OK { refused(slot, 0, 0, status) }
    }

    fileprivate func telephony(_ slot: WorkerSlot, _ body: inout WireReader) throws(WireFault) -> vc_status {
        switch slot {
        case .ringing: return control(slot) { telephony.ringing?($0) } ?? vc_status(VC_E_UNSUPPORTED)
        case .answer: return control(slot) { telephony.answer?($0) } ?? vc_status(VC_E_UNSUPPORTED)
        case .hangup:
            let code = try body.take(UInt32.self)
            let reason = try body.takeText()
            return control(slot) { telephony.hangup?($0, code, reason) } ?? vc_status(VC_E_UNSUPPORTED)
        case .transfer:
            let target = try body.takeText()
            return control(slot) { telephony.transfer?($0, target) } ?? vc_status(VC_E_UNSUPPORTED)
        case .hold:
            let on = try body.take(UInt32.self)
            return control(slot) { telephony.hold?($0, on) } ?? vc_status(VC_E_UNSUPPORTED)
        default:
            let digits = try body.takeText()
            return control(slot) { telephony.dtmf?($0, digits) } ?? vc_status(VC_E_UNSUPPORTED)
        }
    }

    /// Lends a frame whose samples lie where values of two or four bytes may.
    private func aligned(_ frame: vc_frame, _ body: (UnsafePointer<vc_frame>) -> vc_status) -> vc_status {
        guard frame.bytes > 0, UInt(bitPattern: frame.data) & 3 != 0 else { return withUnsafePointer(to: frame, body) }
        return withUnsafeTemporaryAllocation(byteCount: Int(frame.bytes), alignment: 8) { memory in
            memory.copyMemory(from: UnsafeRawBufferPointer(start: frame.data, count: Int(frame.bytes)))
            var frame = frame
            frame.data = UnsafeRawPointer(memory.baseAddress)
            return withUnsafePointer(to: frame, body)
        }
    }
}
