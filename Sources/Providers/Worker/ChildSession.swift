// A session in a worker: the plugin's tables, and a mirror of what decides `emit`'s answer.
//
// `emit` answers at once, though what it says is for another process: the epoch and the credit are kept here. The epoch
// is raised beside the calls, so a plugin that speaks for a second within one slot is still told CANCELED. What only
// the host can judge (is this request open, is this text UTF-8) is judged there, logged there, and the plugin is told
// OK.

import Glibc
import JSON
import PluginABI
import Synchronization

final class ChildSession: @unchecked Sendable {
    let handle: vc_handle
    let kind: PluginKind
    private let process: WorkerChildProcess
    let rateHz: Int
    private(set) var object: PluginObject!

    // Of the thread that calls the slots, once `open` returned.
    private var ops = vc_session_ops()
    private(set) var theirs: vc_self?
    var speechToText = vc_stt_ops()
    var turn = vc_turn_ops()
    var languageModel = vc_llm_ops()
    var textToSpeech = vc_tts_ops()
    var telephony = vc_telephony_ops()
    var frames = vc_telephony_frames_ops()
    var backlog = AudioBacklog()
    var isDiscontinuous = false
    var droppedSamples: UInt64 = 0

    private struct Door {
        var credit = EventWeight.window
        var isStarved = false
        var isOver = false
    }
    private let door = Mutex(Door())

    init(_ process: WorkerChildProcess, _ provider: ChildProvider, _ request: vc_open, configuration: JSONValue) {
        self.process = process
        handle = request.session
        kind = provider.kind
        rateHz = Int(request.rate_hz)
        object = PluginObject(
            level: .session, plugin: process.plugin, name: provider.object.name, call: String(request.call) ?? "",
            configuration: configuration
        ) { [weak self] event in self?.emit(event) ?? vc_status(VC_E_STALE) }
        object.epoch.store(request.epoch, ordering: .releasing)
    }

    /// Copies the tables that `open` filled in. Gives what is in them.
    func adopt(_ filled: vc_session) throws(TableFault) -> SlotMask {
        theirs = filled.state
        ops = try Providers.adopt(filled.ops, as: vc_session_ops.self, "vc_session_ops")
        var slots: [(WorkerSlot, Bool)] = [
            (.cancel, ops.cancel != nil), (.credit, ops.credit != nil), (.close, ops.close != nil),
            (.destroy, ops.destroy != nil),
        ]
        switch kind {
        case .voiceActivity: break
        case .speechToText:
            speechToText = try Providers.adopt(filled.kind_ops, as: vc_stt_ops.self, "vc_stt_ops")
            slots += [
                (.begin, speechToText.begin != nil), (.push, speechToText.push != nil),
                (.finalize, speechToText.finalize != nil),
            ]
        case .turn:
            turn = try Providers.adopt(filled.kind_ops, as: vc_turn_ops.self, "vc_turn_ops")
            slots += [
                (.turnPush, turn.push != nil), (.transcript, turn.transcript != nil), (.decide, turn.decide != nil),
            ]
        case .languageModel:
            languageModel = try Providers.adopt(filled.kind_ops, as: vc_llm_ops.self, "vc_llm_ops")
            slots += [
                (.request, languageModel.request != nil), (.toolResult, languageModel.tool_result != nil),
            ]
        case .textToSpeech:
            textToSpeech = try Providers.adopt(filled.kind_ops, as: vc_tts_ops.self, "vc_tts_ops")
            slots.append((.speak, textToSpeech.speak != nil))
        case .telephony:
            telephony = try Providers.adopt(filled.kind_ops, as: vc_telephony_ops.self, "vc_telephony_ops")
            if let theirs = telephony.frames {
                frames = try Providers.adopt(theirs, as: vc_telephony_frames_ops.self, "vc_telephony_frames_ops")
            }
            slots += [
                (.ringing, telephony.ringing != nil), (.answer, telephony.answer != nil),
                (.hangup, telephony.hangup != nil), (.transfer, telephony.transfer != nil),
                (.hold, telephony.hold != nil), (.dtmf, telephony.dtmf != nil), (.play, frames.play != nil),
                (.mark, frames.mark != nil), (.flush, frames.flush != nil),
            ]
        }
        return SlotMask(slots)
    }

    // MARK: What the plugin emits

    private func emit(_ event: UnsafePointer<vc_event>) -> vc_status {
        let head = event.pointee
        let type = Int(head.type)
        guard let rule = PluginGuard.rule(head.type), Int(head.size) >= rule.size else {
            // The host says how it breaks the contract, and counts it.
            _ = send(event, urgent: true)
            let isIgnored = PluginGuard.rule(head.type) == nil && head.flags & UInt32(VC_EVENT_OPTIONAL) != 0
            return vc_status(isIgnored ? VC_OK : VC_E_ARGUMENT)
        }
        let epoch = object.epoch.load(ordering: .acquiring)
        if rule.hasEpoch, head.epoch < epoch { return vc_status(VC_E_CANCELED) }
        return door.withLock { door in
            guard !door.isOver else { return vc_status(VC_E_CLOSED) }
            guard EventWeight.of(event, messageBytes: 0) != nil else {
                guard send(event, urgent: true).outcome == .sent else { return vc_status(VC_E_AGAIN) }
                if type == VC_EVENT_CLOSED { door.isOver = true }
                return vc_status(VC_OK)
            }
            guard door.credit.events > 0, door.credit.bytes > 0, door.credit.audioUs > 0 else {
                if !door.isStarved {
                    door.isStarved = true
                    _ = process.events.send(WorkerMessage.starved.rawValue, object: handle, urgent: true) { _ in }
                }
                return vc_status(VC_E_AGAIN)
            }
            let (outcome, bytes) = send(event, urgent: false)
            guard outcome == .sent else {
                // As long as the ring is full the host has not even read what it could credit.
                if bytes > process.events.messageBytesMax { return vc_status(VC_E_ARGUMENT) }
                process.starved(handle)
                return vc_status(VC_E_AGAIN)
            }
            if let weight = EventWeight.of(event, messageBytes: bytes) { door.credit -= weight }
            return vc_status(head.epoch > epoch && rule.hasEpoch ? VC_E_ARGUMENT : VC_OK)
        }
    }

    private func send(_ event: UnsafePointer<vc_event>, urgent: Bool) -> (outcome: RingWriter.Outcome, bytes: Int) {
        var bytes = 0
        let outcome = process.events.send(WorkerMessage.event.rawValue, object: handle, urgent: urgent) { writer in
            writer.put(event: event)
            bytes = writer.bytes.count
        }
        return (outcome, bytes)
    }

    // MARK: Beside the calls

    /// What is older is void, whatever the plugin is doing.
    func raise(to epoch: UInt64) {
        let before = object.epoch.max(epoch, ordering: .acquiringAndReleasing).oldValue
        if before < epoch { HostTable.watch.epochRaised(object) }
    }

    /// The host took something.
    func credited(_ credit: EventWeight) {
        let mayGoOn = door.withLock { door in
            door.credit += credit
            guard door.isStarved, door.credit.events > 0, door.credit.bytes > 0, door.credit.audioUs > 0 else {
                return false
            }
            door.isStarved = false
            return true
        }
        if mayGoOn { process.later { [self] in goOn() } }
    }

    // MARK: Slots of every session

    /// A VC_CONTROL call of the plugin.
    func control<Result>(_ slot: WorkerSlot, _ body: (vc_self?) -> Result) -> Result {
        object.control { process.inCall(slot, handle) { body(theirs) } }
    }

    func goOn() {
        guard let credit = ops.credit, !door.withLock({ $0.isOver }) else { return }
        let us = door.withLock { max(0, $0.credit.audioUs) }
        // In the smallest of the formats that every plugin takes, so that it is never more than there is.
        control(.credit) { credit($0, 64, UInt64(us) * 16 / 1_000) }
    }

    func cancel(_ epoch: UInt64) {
        raise(to: epoch)
        guard let cancel = ops.cancel else { return }
        process.inCall(.cancel, handle) { cancel(theirs, epoch) }
    }

    func close() {
        guard let close = ops.close else { return }
        control(.close) { close($0) }
    }

    func destroy() {
        object.end()
        HandleTable.shared.remove(handle)
        door.withLock { $0.isOver = true }
        destroyWhenIdle()
    }

    /// A task of the session may still run: its memory stays until that has ended.
    private func destroyWhenIdle() {
        guard HostTable.watch.isIdle(handle) else {
            SessionDeadlines.shared.schedule(afterMs: 10) { [self] in process.later { [self] in destroyWhenIdle() } }
            return
        }
        process.remove(handle)
        guard let destroy = ops.destroy else { return }
        control(.destroy) { destroy($0) }
    }

    /// `open` failed: there is nothing to destroy.
    func forget() {
        object.end()
        HandleTable.shared.remove(handle)
        process.remove(handle)
    }

    /// Tells the host that a posted call was not taken. `request` 0: nothing waits for it.
    func refused(_ slot: WorkerSlot, _ request: UInt64, _ epoch: UInt64, _ status: vc_status) {
        process.must(.refused, handle, 0) { writer in
            writer.put(slot.rawValue)
            writer.put(request)
            writer.put(epoch)
            writer.put(status)
        }
    }

    func dropped() {
        process.must(.dropped, handle, 0) { $0.put(droppedSamples) }
    }
}
