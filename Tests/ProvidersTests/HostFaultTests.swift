// What the plugin HostCheck found the host doing wrong in real calls, each with a test of its own.

import Glibc
import JSON
import PluginABI
import Testing

@testable import Calls
@testable import Providers

/// A detector whose sessions open only when their settings have their default.
private let detector = """
    #include <string.h>
    static vc_status process(vc_self self, const vc_vad_batch *batch) { (void)self, (void)batch; return VC_OK; }
    static const vc_vad_provider_ops vad = { .size = sizeof vad, .window_8k = 256, .process = process };
    static int state;
    static void destroy_(vc_self self) { (void)self; }
    static const vc_session_ops ops = { .size = sizeof ops, .destroy = destroy_ };
    static vc_status open_(vc_self p, const vc_open *r, vc_session *out, vc_error *e) {
        (void)p, (void)e;
        static const char wanted[] = "{\\"voice\\":\\"plain\\"}";
        if (r->config.length != sizeof wanted - 1 || memcmp(r->config.data, wanted, sizeof wanted - 1) != 0) return VC_E_CONFIG;
        out->state = &state, out->ops = &ops;
        return VC_OK;
    }
    static vc_status create(const vc_create *r, vc_self *self, vc_error *e) { (void)r, (void)e; *self = 0; return VC_OK; }
    static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR("vc.vad/1"), .id = VC_STR("org.test.vad"),
        .create = create, .destroy = destroy_, .open = open_, .kind_ops = &vad };
    static const vc_provider *const providers[] = { &provider };
    static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
    VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
        (void)host;
        *module = &module_;
        return VC_OK;
    }
    """

/// A recogniser whose text is the flags and the numbers of samples of its frames, one after the other.
private let recorder = """
    #include <stdio.h>
    #include <stdlib.h>
    static const vc_host *host;
    typedef struct session { vc_handle handle; char text[512]; int length; } session;
    static void plain(session *s, uint32_t type, uint64_t request) {
        const vc_event e = { .size = sizeof e, .type = type, .request = request };
        host->emit(s->handle, &e);
    }
    static vc_status push(vc_self self, const vc_frame *f) {
        session *s = self;
        s->length += snprintf(s->text + s->length, sizeof s->text - (size_t)s->length, "%u+%u%s ", (unsigned)f->position, f->samples,
            f->flags & VC_FRAME_DISCONTINUITY ? "!" : "");
        return VC_OK;
    }
    static vc_status finalize(vc_self self, uint64_t request, uint64_t position, uint32_t flags) {
        session *s = self;
        (void)flags, (void)position;
        const vc_event_transcript e = { .head = { .size = sizeof e, .type = VC_EVENT_TRANSCRIPT, .request = request },
            .text = { s->text, (uint64_t)s->length }, .final = 1 };
        host->emit(s->handle, &e.head);
        plain(s, VC_EVENT_FINALIZED, request);
        return VC_OK;
    }
    static const vc_stt_ops stt = { .size = sizeof stt, .push = push, .finalize = finalize };
    static void cancel(vc_self self, uint64_t epoch) { (void)self, (void)epoch; }
    static void close_(vc_self self) { plain(self, VC_EVENT_CLOSED, 0); }
    static const vc_session_ops ops = { .size = sizeof ops, .cancel = cancel, .close = close_, .destroy = free };
    static vc_status open_(vc_self p, const vc_open *r, vc_session *out, vc_error *e) {
        (void)p, (void)e;
        session *s = calloc(1, sizeof *s);
        s->handle = r->session;
        out->state = s, out->ops = &ops, out->kind_ops = &stt;
        plain(s, VC_EVENT_READY, 0);
        return VC_OK;
    }
    static vc_status create(const vc_create *r, vc_self *self, vc_error *e) { (void)r, (void)e; *self = 0; return VC_OK; }
    static void destroy(vc_self self) { (void)self; }
    static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR("vc.stt/1"), .id = VC_STR("org.test.stt"),
        .create = create, .destroy = destroy, .open = open_ };
    static const vc_provider *const providers[] = { &provider };
    static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
    VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
        host = the_host;
        *module = &module_;
        return VC_OK;
    }
    """

@Suite("Faults of the host that a plugin saw") struct HostFaultTests {
    let workshop = Workshop()

    /// What a model says whose answer is the epoch of its last `cancel`.
    private func epochTold(_ prepare: (Caller, any LanguageModelSession) -> Void, asked epoch: UInt64) throws -> String? {
        let source = Sources.languageModel(
            onRequest: "const char t[2] = { (char)('0' + s->epoch), 0 }; delta(s, r->request, r->epoch, t); "
                + "done(s, r->request, r->epoch, VC_LLM_STOP);")
        let plugin = try workshop.load("llm.so", source, manifest: Workshop.manifest(id: "org.test.llm", kind: "vc.llm/1"))
        let instance = try plugin.running("llm.test")
        let caller = Caller()
        guard case .languageModel(let session) = try instance.open(.languageModel, caller) else { throw Unexpected("another kind") }
        prepare(caller, session)
        session.request(
            LanguageModelRequest(
                ticket: Ticket(epoch: epoch, request: 1), messages: [Message(.caller, "hello")], speculative: false))
        defer { session.close() }
        return try caller.wait("an answer") { caller in
            caller.events.lazy.compactMap { if case .languageModel(_, .delta(let text)) = $0 { text } else { nil } }.last
        }
    }

    @Test("A new epoch reaches the plugin's cancel: it never did, because the larger epoch was compared with itself")
    func cancelReachesThePlugin() throws {
        let told = try epochTold(
            { caller, session in
                caller.mailbox.advance(to: 3)
                session.cancel(olderThan: 3)
            }, asked: 3)
        #expect(told == "3")
    }

    @Test("An epoch that began while a session was opened is told to it before the first request")
    func epochDuringOpen() throws {
        #expect(try epochTold({ caller, _ in caller.mailbox.advance(to: 2) }, asked: 2) == "2")
    }

    @Test("The session of a detector is opened with the defaults of its schema, as those of the other kinds are")
    func detectorDefaults() throws {
        let session: JSONValue = ["type": "object", "properties": ["voice": ["type": "string", "default": "plain"]]]
        let manifest = Workshop.manifest(id: "org.test.vad", kind: "vc.vad/1", changes: [
            "providers": [["kind": "vc.vad/1", "id": "org.test.vad", "session": session]]
        ])
        let plugin = try workshop.load("vad.so", detector, manifest: manifest)
        let provider = try VoiceActivityProvider(try plugin.running("vad.test"))
        let memory = try provider.open(call: "call-1", rateHz: 8_000) { _ in }
        memory.close()
    }

    @Test("The pause between two utterances is a gap, and is told as one")
    func pauseBetweenUtterances() throws {
        let manifest = Workshop.manifest(id: "org.test.stt", kind: "vc.stt/1", capabilities: ["rates": [8_000]])
        let instance = try workshop.load("stt.so", recorder, manifest: manifest).running("stt.test")
        let caller = Caller()
        guard case .speechToText(let session) = try instance.open(.speechToText, caller) else { throw Unexpected("another kind") }
        for start in [0, 16_000] {
            session.begin(at: UInt64(start))
            [Int16](repeating: 1, count: 320).withUnsafeBufferPointer { _ = session.push($0, at: UInt64(start)) }
        }
        session.finalize(request: 1, tentative: false)
        let text = try caller.wait("a transcript") { caller in
            caller.events.lazy.compactMap { if case .transcript(let transcript) = $0 { transcript.text } else { nil } }.last
        }
        #expect(text == "0+160 160+160 16000+160! 16160+160 ")
        session.close()
    }

    @Test("Audio that comes in other lengths, as from a resampler, goes on in frames of one length")
    func frameLengths() {
        var cutter = FrameCutter(frameSamples: 320)
        var frames: [[Int16]] = []
        var next: Int16 = 0
        for count in [272, 320, 1, 47, 640, 100] {
            let samples = (0..<count).map { _ in defer { next += 1 }; return next }
            samples.withUnsafeBufferPointer { cutter.cut($0) { frames.append(Array($0)) } }
        }
        #expect(frames.allSatisfy { $0.count == 320 })
        #expect(frames.flatMap(\.self) == (0..<1_280).map(Int16.init))
        cutter.dropRest()
        [Int16](repeating: 7, count: 320).withUnsafeBufferPointer { cutter.cut($0) { frames.append(Array($0)) } }
        #expect(frames.last == [Int16](repeating: 7, count: 320), "what was left over is gone")
    }
}
