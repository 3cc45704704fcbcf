// The instant providers, loaded from their libraries as the host loads them.

import PluginABI
import Testing

@Suite("The instant providers answer at once")
struct InstantPluginTests {
    @Test("InstantLLM echoes the caller, word by word")
    func echo() throws {
        let session = try ScriptedProvider(LoadedPlugin(library: "InstantLLM")).open(rateHz: 0)
        session.ask(1, #"[{"role":"system","content":"be brief"},{"role":"user","content":"good day"}]"#)
        #expect(
            session.kinds == [
                .ready, .delta("good "), .delta("day"), .usage(input: 2, cached: 0, output: 2),
                .answered(Int(VC_LLM_STOP)),
            ])
    }

    @Test("InstantLLM gives its fixed reply")
    func fixedReply() throws {
        let session = try ScriptedProvider(LoadedPlugin(library: "InstantLLM"), config: #"{"reply":"Yes."}"#).open()
        session.ask(1, "[]")
        #expect(session.kinds[1] == .delta("Yes."))
    }

    @Test("InstantSTT understands its text when there was audio, and nothing when there was none")
    func transcript() throws {
        let config = #"{"text":"hello","partial_every_ms":20}"#
        let session = try ScriptedProvider(LoadedPlugin(library: "InstantSTT"), config: config).open()
        #expect(session.finalize(1, 0) == vc_status(VC_OK))
        #expect(session.begin(4, 0) == vc_status(VC_OK))
        session.push([Int16](repeating: 1_000, count: 160))
        #expect(session.finalize(2, 160) == vc_status(VC_OK))
        #expect(
            session.kinds == [
                .ready, .finalized,
                .transcript("hello", utterance: 4, start: 0, end: 160, isFinal: false, confidence: 1),
                .transcript("hello", utterance: 4, start: 0, end: 160, isFinal: true, confidence: 1), .finalized,
            ])
    }

    @Test("InstantSTT understands nothing in silence")
    func silence() throws {
        let session = try ScriptedProvider(LoadedPlugin(library: "InstantSTT"), config: #"{"text":"hello"}"#).open()
        #expect(session.begin(1, 0) == vc_status(VC_OK))
        session.push([Int16](repeating: 20, count: 160))
        #expect(session.finalize(1, 160) == vc_status(VC_OK))
        #expect(session.kinds == [.ready, .finalized])
    }

    @Test("InstantTTS hums as long as the text would take, also against a slow host")
    func hum() throws {
        let session = try ScriptedProvider(LoadedPlugin(library: "InstantTTS")).open()
        session.object.credit = 3
        session.speak(1, String(repeating: "x", count: 30), last: true)
        #expect(session.kinds.count == 4)
        session.unlimitedCredit()
        #expect(session.kinds.last == .spoken(reason: Int(VC_TTS_COMPLETE), samples: 16000))
    }
}
