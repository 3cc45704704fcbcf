// What the kinds can be asked, slot by slot, and the plain use that a call makes of each.

import JSON
import PluginABI
import Providers

extension BenchSession {
    // MARK: Audio in

    /// Pushes 16 bit samples as one frame, in order. `change` may alter the frame before it is lent.
    @discardableResult
    public func push(_ samples: [Int16], change: (inout vc_frame) -> Void = { _ in }) -> vc_status {
        let lender = bench.lender
        let data = samples.withUnsafeBytes { lender.lend($0, "samples") }
        var frame = vc_frame()
        frame.size = UInt32(MemoryLayout<vc_frame>.size)
        frame.format = UInt32(VC_FORMAT_S16)
        frame.rate_hz = UInt32(rateHz)
        frame.channels = 1
        frame.samples = UInt32(samples.count)
        frame.sequence = sequence
        frame.position = position
        frame.captured_ns = bench.nowNs
        frame.epoch = epoch
        frame.data = UnsafeRawPointer(data)
        frame.bytes = UInt64(samples.count * 2)
        change(&frame)
        let lent = lender.lend(frame, "vc_frame")
        let status = world.call("push frame=\(sequence)") { callPush(lent) }
        lender.takeBack()
        sequence += 1
        position += UInt64(samples.count)
        return status
    }

    private func callPush(_ frame: UnsafePointer<vc_frame>) -> vc_status {
        switch bench.kind {
        case .speechToText: sttOps?.push?(theirs, frame) ?? vc_status(VC_E_UNSUPPORTED)
        case .turn: turnOps?.push?(theirs, frame) ?? vc_status(VC_E_UNSUPPORTED)
        default: vc_status(VC_E_UNSUPPORTED)
        }
    }

    /// Pushes all of it as a call does: 20 ms at a time, a frame every 20 ms.
    public func pushInTime(_ samples: [Int16]) {
        let frameSamples = rateHz / 50
        for begin in stride(from: 0, to: samples.count - frameSamples + 1, by: frameSamples) {
            push(Array(samples[begin..<begin + frameSamples]))
            bench.advance(ms: 20)
        }
    }

    // MARK: Speech to text

    var sttOps: vc_stt_ops? { kindOps?.assumingMemoryBound(to: vc_stt_ops.self).pointee }

    @discardableResult
    public func begin(_ utterance: UInt64, at position: UInt64? = nil) -> vc_status {
        guard let begin = sttOps?.begin else { return vc_status(VC_OK) }
        let at = position ?? self.position
        return world.call("begin utterance=\(utterance)") { begin(theirs, utterance, at) }
    }

    @discardableResult
    public func finalize(_ request: UInt64, at position: UInt64? = nil, flags: UInt32 = 0) -> vc_status {
        guard let finalize = sttOps?.finalize else { return vc_status(VC_E_UNSUPPORTED) }
        let at = position ?? self.position
        return world.call("finalize request=\(request)") { finalize(theirs, request, at, flags) }
    }

    // MARK: Text to speech

    @discardableResult
    public func speak(
        _ request: UInt64, _ text: String, last: Bool = true, epoch: UInt64? = nil, flags: UInt32? = nil
    ) -> vc_status {
        guard let speak = kindOps?.assumingMemoryBound(to: vc_tts_ops.self).pointee.speak else {
            return vc_status(VC_E_UNSUPPORTED)
        }
        let lent = bench.lender.lend(text, "text")
        let status = world.call("speak request=\(request)") {
            speak(theirs, request, epoch ?? self.epoch, lent, flags ?? (last ? UInt32(VC_TTS_LAST) : 0))
        }
        bench.lender.takeBack()
        return status
    }

    // MARK: Language models

    @discardableResult
    public func ask(
        _ request: UInt64, _ messages: JSONValue, tools: JSONValue = [], options: JSONValue = [:], flags: UInt32 = 0
    ) -> vc_status {
        let lender = bench.lender
        guard let ask = kindOps?.assumingMemoryBound(to: vc_llm_ops.self).pointee.request else {
            return vc_status(VC_E_UNSUPPORTED)
        }
        let lent = lender.lend(
            vc_llm_request(
                size: UInt32(MemoryLayout<vc_llm_request>.size), flags: flags, request: request, epoch: epoch,
                messages: lender.lend(messages.text, "messages"), tools: lender.lend(tools.text, "tools"),
                options: lender.lend(options.text, "options")), "vc_llm_request")
        let status = world.call("request \(request)") { ask(theirs, lent) }
        lender.takeBack()
        return status
    }

    @discardableResult
    public func toolResult(_ request: UInt64, call: String, _ result: String) -> vc_status {
        let lender = bench.lender
        guard let give = kindOps?.assumingMemoryBound(to: vc_llm_ops.self).pointee.tool_result else {
            return vc_status(VC_E_UNSUPPORTED)
        }
        let (name, text) = (lender.lend(call, "call"), lender.lend(result, "result"))
        let status = world.call("tool_result \(request)") { give(theirs, request, name, text) }
        lender.takeBack()
        return status
    }

    // MARK: Turns

    var turnOps: vc_turn_ops? { kindOps?.assumingMemoryBound(to: vc_turn_ops.self).pointee }

    @discardableResult
    public func transcript(_ text: String, isFinal: Bool = true) -> vc_status {
        guard let give = turnOps?.transcript else { return vc_status(VC_OK) }
        let lent = bench.lender.lend(text, "text")
        let status = world.call("transcript") { give(theirs, lent, isFinal ? 1 : 0) }
        bench.lender.takeBack()
        return status
    }

    @discardableResult
    public func decide(_ request: UInt64) -> vc_status {
        guard let decide = turnOps?.decide else { return vc_status(VC_E_UNSUPPORTED) }
        return world.call("decide request=\(request)") { decide(theirs, request, position) }
    }

    // MARK: Telephony

    var telephonyOps: vc_telephony_ops? { kindOps?.assumingMemoryBound(to: vc_telephony_ops.self).pointee }
    var framesOps: vc_telephony_frames_ops? { telephonyOps?.frames?.pointee }

    @discardableResult
    public func answer() -> vc_status {
        guard let answer = telephonyOps?.answer else { return vc_status(VC_E_UNSUPPORTED) }
        return world.call("answer") { answer(theirs) }
    }

    @discardableResult
    public func ringing() -> vc_status {
        guard let ringing = telephonyOps?.ringing else { return vc_status(VC_OK) }
        return world.call("ringing") { ringing(theirs) }
    }

    @discardableResult
    public func hangup(_ code: UInt32 = 0, reason: String = "") -> vc_status {
        guard let hangup = telephonyOps?.hangup else { return vc_status(VC_E_UNSUPPORTED) }
        let lent = bench.lender.lend(reason, "reason")
        let status = world.call("hangup \(code)") { hangup(theirs, code, lent) }
        bench.lender.takeBack()
        return status
    }

    @discardableResult
    public func transfer(_ target: String) -> vc_status {
        guard let transfer = telephonyOps?.transfer else { return vc_status(VC_E_UNSUPPORTED) }
        let lent = bench.lender.lend(target, "target")
        let status = world.call("transfer") { transfer(theirs, lent) }
        bench.lender.takeBack()
        return status
    }

    @discardableResult
    public func hold(_ on: Bool) -> vc_status {
        guard let hold = telephonyOps?.hold else { return vc_status(VC_E_UNSUPPORTED) }
        return world.call("hold") { hold(theirs, on ? 1 : 0) }
    }

    @discardableResult
    public func dial(_ digits: String) -> vc_status {
        guard let dtmf = telephonyOps?.dtmf else { return vc_status(VC_E_UNSUPPORTED) }
        let lent = bench.lender.lend(digits, "digits")
        let status = world.call("dtmf") { dtmf(theirs, lent) }
        bench.lender.takeBack()
        return status
    }

    /// Profile "frames".
    @discardableResult
    public func play(_ samples: [Int16]) -> vc_status {
        guard let play = framesOps?.play else { return vc_status(VC_E_UNSUPPORTED) }
        let lender = bench.lender
        let data = samples.withUnsafeBytes { lender.lend($0, "samples") }
        let rate = provider.bench.subject.provider?.capabilities.ratesHz.first ?? 8_000
        let frame = lender.lend(
            vc_frame(
                size: UInt32(MemoryLayout<vc_frame>.size), format: UInt32(VC_FORMAT_S16), rate_hz: UInt32(rate),
                channels: 1, samples: UInt32(samples.count), flags: 0, sequence: sequence, position: position,
                captured_ns: 0, epoch: epoch, data: UnsafeRawPointer(data), bytes: UInt64(samples.count * 2)),
            "vc_frame")
        let status = world.call("play frame=\(sequence)") { play(theirs, frame) }
        lender.takeBack()
        sequence += 1
        position += UInt64(samples.count)
        return status
    }

    @discardableResult
    public func mark(_ mark: UInt64) -> vc_status {
        guard let slot = framesOps?.mark else { return vc_status(VC_E_UNSUPPORTED) }
        return world.call("mark \(mark)") { slot(theirs, mark) }
    }

    @discardableResult
    public func flush() -> vc_status {
        guard let flush = framesOps?.flush else { return vc_status(VC_E_UNSUPPORTED) }
        return world.call("flush") { flush(theirs) }
    }
}
