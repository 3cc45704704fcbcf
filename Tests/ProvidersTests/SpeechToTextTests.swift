import Glibc
import JSON
import PluginABI
import Testing

@testable import Calls
@testable import Providers

/// A recogniser that answers `finalize` with what it was given: frames, first position, last position, discontinuities.
private let source = """
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    static const vc_host *host;
    typedef struct session { vc_handle handle; unsigned frames, samples, longest, gaps, busy; uint64_t first, last, utterance; } session;
    static void plain(session *s, uint32_t type, uint64_t request) {
        const vc_event e = { .size = sizeof e, .type = type, .request = request };
        host->emit(s->handle, &e);
    }
    static vc_status begin(vc_self self, uint64_t utterance, uint64_t position) {
        session *s = self;
        memset(&s->frames, 0, sizeof *s - sizeof s->handle);
        s->utterance = utterance;
        s->first = position;
        if (utterance == 2) s->busy = 12;
        return VC_OK;
    }
    static vc_status push(vc_self self, const vc_frame *f) {
        session *s = self;
        if (s->busy > 0) { s->busy--; return VC_E_AGAIN; }
        s->frames++, s->samples += f->samples, s->last = f->position + f->samples;
        if (f->samples > s->longest) s->longest = f->samples;
        if (f->flags & VC_FRAME_DISCONTINUITY) s->gaps++;
        return VC_OK;
    }
    static vc_status finalize(vc_self self, uint64_t request, uint64_t position, uint32_t flags) {
        session *s = self;
        char text[96];
        const int length = snprintf(text, sizeof text, "%u frames of %u, %u samples, %u gaps, at %u, %s", s->frames, s->longest,
            s->samples, s->gaps, (unsigned)position, flags ? "tentative" : "final");
        const vc_event_transcript e = { .head = { .size = sizeof e, .type = VC_EVENT_TRANSCRIPT, .request = request },
            .utterance = s->utterance, .start = s->first, .end = s->last, .text = { text, (uint64_t)length }, .final = 1,
            .confidence = 0.5f, .stability = -1 };
        host->emit(s->handle, &e.head);
        plain(s, VC_EVENT_FINALIZED, request);
        return VC_OK;
    }
    static const vc_stt_ops stt = { .size = sizeof stt, .begin = begin, .push = push, .finalize = finalize };
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

@Suite("A recogniser over the C line") struct SpeechToTextTests {
    let workshop = Workshop()

    private func recogniser(tentative: Bool) throws -> (ProviderInstance, any SpeechToTextSession, Caller) {
        let plugin = try workshop.load(
            "stt.so", source,
            manifest: Workshop.manifest(
                id: "org.test.stt", kind: "vc.stt/1", capabilities: ["rates": [8_000], "tentative": .bool(tentative)]))
        let instance = try plugin.running("stt.test")
        let caller = Caller()
        guard case .speechToText(let session) = try instance.open(.speechToText, caller) else {
            throw Unexpected("another kind")
        }
        return (instance, session, caller)
    }

    private func push(_ session: any SpeechToTextSession, _ count: Int, at position: UInt64) {
        [Int16](repeating: 1, count: count).withUnsafeBufferPointer { _ = session.push($0, at: position) }
    }

    private func transcripts(_ caller: Caller) -> [Transcript] {
        caller.events.compactMap { if case .transcript(let transcript) = $0 { transcript } else { nil } }
    }

    @Test("Audio comes in frames of 20 ms, positions are the session's there and the call's here, and a gap is told")
    func positions() throws {
        let (instance, session, caller) = try recogniser(tentative: true)
        session.begin(at: 40_000)
        push(session, 800, at: 40_000)
        push(session, 160, at: 41_600)  // 800 samples are missing
        session.finalize(request: 5, tentative: true)
        let first = try caller.wait("transcript") { transcripts($0).last }
        #expect(first.text == "6 frames of 160, 960 samples, 1 gaps, at 1760, tentative")
        #expect(first.start == 40_000 && first.end == 41_760 && first.utterance == 1 && first.isFinal)
        #expect(first.stability == 0 && first.confidence == 0.5)
        #expect(caller.events.contains { if case .finalized(request: 5) = $0 { true } else { false } })
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.faults.total == 0)
    }

    @Test("While it has no room the newest 200 ms wait, the oldest go, and the gap is told")
    func again() throws {
        let (instance, session, caller) = try recogniser(tentative: false)
        session.begin(at: 0)
        session.begin(at: 0)  // utterance 2: busy for twelve tries
        for index in 0..<20 { push(session, 160, at: UInt64(index * 160)) }
        session.finalize(request: 1, tentative: false)
        let transcript = try caller.wait("transcript") { transcripts($0).last }
        #expect(transcript.text.hasSuffix("1 gaps, at 3200, final"))
        let samples = try #require(Int(transcript.text.split(separator: " ")[4]))
        #expect(samples >= 1_600 && samples < 3_200)
        #expect(instance.faults.total == 0)
        session.close()
    }

    @Test("A recogniser that cannot look ahead is not asked to, and the answer is that there is none")
    func notTentative() throws {
        let (_, session, caller) = try recogniser(tentative: false)
        session.begin(at: 0)
        session.finalize(request: 9, tentative: true)
        try caller.wait("finalized") { caller in
            caller.events.contains { if case .finalized(request: 9) = $0 { true } else { false } } ? true : nil
        }
        #expect(transcripts(caller).isEmpty)
        session.close()
    }
}
