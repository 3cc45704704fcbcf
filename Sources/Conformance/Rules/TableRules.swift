// ABI: tables, structs and events, as the rule of growth in abi.h has them.

import JSON
import PluginABI
import Providers

let tableRules: [Rule] = [
    Rule(
        "VC-ABI-01", smoke: true, "Every table says its size, and has all slots of version 1.0.",
        because: "A host reads as much of a table as its `size` says, and no more.",
        passing: ".size = sizeof ops",
        failing: ".size = 8",
        check: .probe { bench in
            for table in try tables(bench) where table.size < table.least {
                throw Violation("\(table.name).size", expected: "\(table.least) at least", got: "\(table.size)")
            }
        }),
    Rule(
        "VC-ABI-02", smoke: true, "The slots without which a kind cannot work are there.",
        because: "The host would have nothing to call.",
        passing: ".cancel = cancel, .close = close, .destroy = destroy",
        failing: ".cancel = NULL",
        check: .probe { bench in
            for (name, isThere) in try mandatorySlots(bench) where !isThere {
                throw Violation(name, expected: "a function", got: "NULL")
            }
        }),
    Rule(
        "VC-ABI-03", .basic, .must, "Reserved members are zero.",
        because: "A later version gives them a meaning, and would take what stands there for it.",
        passing: "static const vc_provider provider = {.size = sizeof provider, …};",
        failing: "vc_provider provider;        // on the stack, copied to the heap, and never cleared",
        check: .probe { bench in
            for table in try tables(bench) where table.reserved != 0 {
                throw Violation("\(table.name).reserved", expected: "0", got: "\(table.reserved)")
            }
        }),
    Rule(
        "VC-ABI-04", .basic, .must, "Structs of a later version are taken.",
        because: "A later host lends longer structs; what a plugin does not know there, it ignores.",
        passing: "request->language.length",
        failing: "if (request->size != sizeof *request) return VC_E_ARGUMENT;",
        check: .probe { bench in
            bench.lender.growth = 64
            let provider = try bench.provider()
            try provider.plainSession().exercise()
            try provider.end()
        }),
    Rule(
        "VC-ABI-07", .resilient, .must, "Without a service of the host, `create` works or says which one it needs.",
        because: "Hosts differ in what they offer, and older ones offer less.",
        passing: "if (!http) return fail(error, VC_E_UNSUPPORTED, \"this host has no vc.http/1\");",
        failing: "http->prewarm(…);        // and http is NULL",
        needs: ["VC-LIFE-02", "VC-ENT-09"],
        check: .probe { bench in
            for id in BenchServices.ids {
                bench.world.hiddenServices = [id]
                let (provider, status, error) = try bench.create(name: "conform.without")
                let isClean = status == vc_status(VC_E_UNSUPPORTED) && !error.message.isEmpty
                guard provider != nil || isClean else {
                    throw Violation(
                        "create without \(id)", expected: "VC_OK, or VC_E_UNSUPPORTED with a message",
                        got: "\(statusName(status)): \(error.message)")
                }
                provider?.destroy()
            }
        }),
    Rule(
        "VC-ABI-10", .basic, .must, kinds: [.speechToText, .languageModel, .textToSpeech],
        "Flags that are not known are ignored.",
        because: "Later versions add flags, and a plugin of today is given them.",
        passing: "if (flags & VC_TTS_LAST)",
        failing: "if (flags & ~VC_TTS_LAST) return VC_E_ARGUMENT;",
        check: .probe { bench in
            let session = try bench.provider().session()
            let status = session.askWithUnknownFlags()
            guard status == VC_OK else {
                throw Violation("an unknown flag", expected: "VC_OK", got: statusName(status))
            }
        }),
    Rule(
        "VC-ABI-14", .basic, .must, "Every event has the size of its struct, and zeros where it is reserved.",
        because: "The host copies `size` bytes without knowing the type.",
        passing: ".head = {.size = sizeof event, …}",
        failing: ".head = {.size = sizeof(vc_event), …}        // and a body behind it",
        check: .probe { bench in
            for event in try eventsOfALife(bench) {
                let misshapen = event.complaints.first { $0.contains("size is") || $0.contains("reserved") }
                if let complaint = misshapen {
                    throw Violation("emit(\(event.name))", expected: "a whole event", got: complaint)
                }
            }
        }),
    Rule(
        "VC-ABI-17", .basic, .must, "Every event is of the object's own kind.",
        because: "The host would look in it for what is not there.",
        passing: "VC_EVENT_MARK from a voice",
        failing: "VC_EVENT_FINALIZED from a voice",
        check: .probe { bench in
            let base =
                switch bench.kind {
                case .telephony: VC_EVENT_TELEPHONY
                case .speechToText: VC_EVENT_STT
                case .turn: VC_EVENT_TURN
                case .languageModel: VC_EVENT_LLM
                case .textToSpeech: VC_EVENT_TTS
                case .voiceActivity: 0
                }
            for event in try eventsOfALife(bench) where event.type >= 100 && event.type / 100 * 100 != base {
                throw Violation(
                    "emit from a \(bench.kind.rawValue)", expected: "an event of its kind", got: event.name)
            }
        }),
]

private struct TableFact {
    let name: String
    let size: UInt32
    let least: Int
    let reserved: UInt32
}

private func fact<T>(_ name: String, _ pointer: UnsafeRawPointer?, _: T.Type, reserved: Int? = 4) -> TableFact? {
    guard let pointer else { return nil }
    return TableFact(
        name: name, size: pointer.load(as: UInt32.self), least: MemoryLayout<T>.size,
        reserved: reserved.map { pointer.load(fromByteOffset: $0, as: UInt32.self) } ?? 0)
}

/// All tables that the plugin hands out in the life of a session.
private func tables(_ bench: Bench) throws -> [TableFact] {
    let table = try bench.table()
    let session = try bench.provider().plainSession()
    let module = bench.module.map(UnsafeRawPointer.init)
    var facts = [
        fact("vc_module", module, vc_module.self, reserved: nil),
        fact("vc_provider", UnsafeRawPointer(table), vc_provider.self),
        fact("vc_session_ops", UnsafeRawPointer(session.ops), vc_session_ops.self),
    ]
    let ops = session.kindOps
    switch bench.kind {
    case .speechToText: facts.append(fact("vc_stt_ops", ops, vc_stt_ops.self))
    case .textToSpeech: facts.append(fact("vc_tts_ops", ops, vc_tts_ops.self))
    case .languageModel: facts.append(fact("vc_llm_ops", ops, vc_llm_ops.self))
    case .turn: facts.append(fact("vc_turn_ops", ops, vc_turn_ops.self))
    case .telephony:
        facts.append(fact("vc_telephony_ops", ops, vc_telephony_ops.self))
        facts.append(fact("vc_telephony_provider_ops", table.pointee.kind_ops, vc_telephony_provider_ops.self))
        let frames = session.telephonyOps?.frames
        facts.append(fact("vc_telephony_frames_ops", frames.map(UnsafeRawPointer.init), vc_telephony_frames_ops.self))
    case .voiceActivity:
        facts.append(fact("vc_vad_provider_ops", table.pointee.kind_ops, vc_vad_provider_ops.self, reserved: 12))
    }
    return facts.compactMap(\.self)
}

private func mandatorySlots(_ bench: Bench) throws -> [(String, Bool)] {
    let table = try bench.table()
    let session = try bench.provider().plainSession()
    let ops = session.ops.pointee
    let isMemory = bench.kind == .voiceActivity
    var slots = [
        ("vc_provider.create", table.pointee.create != nil), ("vc_provider.destroy", table.pointee.destroy != nil),
        ("vc_provider.open", table.pointee.open != nil), ("vc_session_ops.cancel", ops.cancel != nil || isMemory),
        ("vc_session_ops.close", ops.close != nil || isMemory), ("vc_session_ops.destroy", ops.destroy != nil),
    ]
    switch bench.kind {
    case .speechToText:
        slots += [
            ("vc_stt_ops.push", session.sttOps?.push != nil), ("vc_stt_ops.finalize", session.sttOps?.finalize != nil),
        ]
    case .telephony:
        let telephony = session.telephonyOps
        slots += [
            ("vc_telephony_ops.answer", telephony?.answer != nil),
            ("vc_telephony_ops.hangup", telephony?.hangup != nil),
        ]
        if bench.subject.provider?.capabilities.profile == .frames {
            let frames = session.framesOps
            slots += [
                ("vc_telephony_frames_ops.play", frames?.play != nil),
                ("vc_telephony_frames_ops.mark", frames?.mark != nil),
                ("vc_telephony_frames_ops.flush", frames?.flush != nil),
            ]
        }
    case .turn: slots.append(("vc_turn_ops.decide", session.turnOps?.decide != nil))
    case .languageModel, .textToSpeech: slots.append(("the kind's table", session.kindOps != nil))
    case .voiceActivity: break
    }
    return slots
}

private func eventsOfALife(_ bench: Bench) throws -> [RecordedEvent] {
    let provider = try bench.provider()
    let session = try provider.plainSession()
    try session.exercise()
    session.cancel()
    bench.advance(ms: 200)
    try provider.end()
    return bench.world.events
}

extension BenchSession {
    /// The kind's plain request, with a flag that no version has.
    fileprivate func askWithUnknownFlags() -> vc_status {
        let unknown: UInt32 = 1 << 30
        let request = nextRequest()
        switch bench.kind {
        case .speechToText: return finalize(request, flags: unknown)
        case .languageModel: return ask(request, [["role": "user", "content": "Hello."]], flags: unknown)
        default: return speak(request, "Hello.", flags: UInt32(VC_TTS_LAST) | unknown)
        }
    }
}
