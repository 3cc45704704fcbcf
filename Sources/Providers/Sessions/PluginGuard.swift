// The checks that every event passes, always: is it whole, does it belong to this kind, is its epoch still the
// session's?
//
// They run on the plugin's thread within `emit`, some tens of nanoseconds, and what fails gets the status that the
// contract names. A table by type and not one check for each adapter, so that a type cannot be forgotten, and so that a
// body is never read before its size was checked.

import PluginABI
import Synchronization

enum PluginGuard {
    /// What is known of a type.
    struct Rule {
        let size: Int
        /// nil: of every kind.
        let kind: PluginKind?
        let level: PluginObject.Level
        /// Whether an old epoch makes the event void.
        let hasEpoch: Bool

        init(_ size: Int, _ kind: PluginKind?, level: PluginObject.Level = .session, hasEpoch: Bool = true) {
            self.size = size
            self.kind = kind
            self.level = level
            self.hasEpoch = hasEpoch
        }
    }

    enum Verdict {
        case pass
        /// Unknown and optional: taken and thrown away.
        case ignore
        case refuse(vc_status)
    }

    @inline(__always)
    static func rule(_ type: UInt32) -> Rule? {
        switch Int(type) {
        case VC_EVENT_READY, VC_EVENT_CANCELED, VC_EVENT_CLOSED: Rule(MemoryLayout<vc_event>.size, nil, hasEpoch: false)
        case VC_EVENT_DRAINED: Rule(MemoryLayout<vc_event>.size, nil, level: .provider, hasEpoch: false)
        case VC_EVENT_ERROR: Rule(MemoryLayout<vc_event_error>.size, nil, hasEpoch: false)
        case VC_EVENT_INCOMING:
            Rule(MemoryLayout<vc_event_incoming>.size, .telephony, level: .provider, hasEpoch: false)
        case VC_EVENT_WITHDRAWN:
            Rule(MemoryLayout<vc_event_withdrawn>.size, .telephony, level: .provider, hasEpoch: false)
        case VC_EVENT_RINGING, VC_EVENT_ANSWERED: Rule(MemoryLayout<vc_event>.size, .telephony, hasEpoch: false)
        case VC_EVENT_HANGUP: Rule(MemoryLayout<vc_event_hangup>.size, .telephony, hasEpoch: false)
        case VC_EVENT_FRAME: Rule(MemoryLayout<vc_event_frame>.size, .telephony, hasEpoch: false)
        case VC_EVENT_PLAYED: Rule(MemoryLayout<vc_event_played>.size, .telephony, hasEpoch: false)
        case VC_EVENT_DTMF: Rule(MemoryLayout<vc_event_dtmf>.size, .telephony, hasEpoch: false)
        case VC_EVENT_HELD: Rule(MemoryLayout<vc_event_held>.size, .telephony, hasEpoch: false)
        case VC_EVENT_TRANSFERRED: Rule(MemoryLayout<vc_event_transferred>.size, .telephony, hasEpoch: false)
        case VC_EVENT_TRANSCRIPT: Rule(MemoryLayout<vc_event_transcript>.size, .speechToText)
        case VC_EVENT_FINALIZED: Rule(MemoryLayout<vc_event>.size, .speechToText)
        case VC_EVENT_STT_TURN: Rule(MemoryLayout<vc_event_stt_turn>.size, .speechToText)
        case VC_EVENT_VERDICT: Rule(MemoryLayout<vc_event_verdict>.size, .turn)
        case VC_EVENT_DELTA: Rule(MemoryLayout<vc_event_delta>.size, .languageModel)
        case VC_EVENT_TOOL_CALL: Rule(MemoryLayout<vc_event_tool_call>.size, .languageModel)
        case VC_EVENT_USAGE: Rule(MemoryLayout<vc_event_usage>.size, .languageModel)
        case VC_EVENT_LLM_DONE: Rule(MemoryLayout<vc_event_llm_done>.size, .languageModel)
        case VC_EVENT_AUDIO: Rule(MemoryLayout<vc_event_audio>.size, .textToSpeech)
        case VC_EVENT_MARK: Rule(MemoryLayout<vc_event_mark>.size, .textToSpeech)
        case VC_EVENT_TTS_DONE: Rule(MemoryLayout<vc_event_tts_done>.size, .textToSpeech)
        default: nil
        }
    }

    /// READY and ERROR come from providers and from sessions; all others from one of the two.
    private static func belongs(_ rule: Rule, type: UInt32, to level: PluginObject.Level) -> Bool {
        rule.level == level || type == UInt32(VC_EVENT_READY) || type == UInt32(VC_EVENT_ERROR)
    }

    static func check(
        _ event: UnsafePointer<vc_event>, kind: PluginKind, of object: PluginObject, faults: PluginFaults
    ) -> Verdict {
        let type = event.pointee.type
        guard let rule = rule(type) else {
            if event.pointee.flags & UInt32(VC_EVENT_OPTIONAL) != 0 { return .ignore }
            faults.note(
                .eventType, sort: "\(type)", call: object.call,
                "emitted an event of type \(type), which ABI \(VC_ABI_MAJOR).\(VC_ABI_MINOR) does not have")
            return .refuse(vc_status(VC_E_ARGUMENT))
        }
        guard rule.kind == nil || rule.kind == kind, belongs(rule, type: type, to: object.level) else {
            faults.note(
                .eventType, sort: "\(type)", call: object.call,
                "emitted an event of type \(type), which a \(object.level) of \(kind.rawValue) does not have")
            return .refuse(vc_status(VC_E_ARGUMENT))
        }
        guard Int(event.pointee.size) >= rule.size else {
            faults.note(
                .eventSize, sort: "\(type)", call: object.call,
                "emitted an event of type \(type) with size \(event.pointee.size); "
                    + "set it to the size of its struct, \(rule.size)"
            )
            return .refuse(vc_status(VC_E_ARGUMENT))
        }
        guard event.pointee.reserved == 0 else {
            faults.note(
                .eventBody, sort: "\(type)", call: object.call,
                "emitted an event of type \(type) whose `reserved` is not 0")
            return .refuse(vc_status(VC_E_ARGUMENT))
        }
        guard rule.hasEpoch else { return .pass }
        let epoch = object.epoch.load(ordering: .acquiring)
        if event.pointee.epoch < epoch { return .refuse(vc_status(VC_E_CANCELED)) }
        guard event.pointee.epoch == epoch else {
            faults.note(
                .eventEpoch, call: object.call,
                "emitted an event of epoch \(event.pointee.epoch), and the session is in epoch \(epoch)")
            return .refuse(vc_status(VC_E_ARGUMENT))
        }
        return .pass
    }
}
