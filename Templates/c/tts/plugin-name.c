// plugin-name: a voice that a server speaks. This file keeps the contract; what is asked of whom is in vendor.c.
//
// Pieces of text stand in a line. The server is asked for the first and, as soon as that is complete, for the second;
// `advance` hands the host what it has room for and stays where it has none, and `credit` or more audio calls it again.
// There is no thread and no lock: all but `cancel` is VC_CONTROL, one call at a time, answers of the server included.

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vendor.h"

enum { PIECES_MAX = 256, STILL_COMING = 1 };

static const vc_host *host;

typedef struct session session;

// A stretch of a request's text, and its audio.
typedef struct piece {
    struct piece *next;
    session *owner;
    uint64_t request, epoch;
    uint64_t text_start, text_length; // In bytes of the request's text.
    int is_last, is_asked, is_marked;
    uint64_t said; // Bytes of its audio that the host has taken.
    answer answer;
    char text[];
} piece;

struct session {
    const vendor *vendor;
    vc_handle handle;
    uint32_t rate_hz, piece_count;
    _Atomic uint64_t epoch; // Raised by `cancel`, on any thread; UINT64_MAX once closed.
    piece *first;
    uint64_t sequence;              // Frames of the session.
    uint64_t saying, position;      // The request that is being said, and how many samples of it were.
    uint64_t incoming, text_length; // The request that is coming in, and how much of its text came.
    uint64_t failed;                // A request that ended with an error; more of its text is not wanted.
};

#define HEAD(EVENT, TYPE, P) { .size = sizeof(EVENT), .type = (TYPE), .epoch = (P)->epoch, .request = (P)->request }

static void drop(session *s, piece **place) {
    piece *p = *place;
    *place = p->next, s->piece_count--;
    answer_drop(&p->answer);
    free(p);
}

// Says what there is of the first piece. VC_OK: it is said. STILL_COMING: more of it has yet to arrive.
static vc_status say(session *s, piece *p) {
    const uint64_t frame_bytes = s->rate_hz / 10 * 2; // 100 ms.
    const answer *a = &p->answer;
    if (p->request != s->saying) s->saying = p->request, s->position = 0;
    while (a->length - p->said >= (a->is_complete ? 2 : frame_bytes)) {
        const uint64_t left = (a->length - p->said) / 2 * 2, bytes = left < frame_bytes ? left : frame_bytes;
        const vc_frame frame = { .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = s->rate_hz, .channels = 1,
            .samples = (uint32_t)(bytes / 2), .sequence = s->sequence, .position = s->position, .epoch = p->epoch,
            .data = a->bytes + p->said, .bytes = bytes };
        const vc_event_audio audio = { .head = HEAD(audio, VC_EVENT_AUDIO, p), .frame = &frame };
        const vc_status status = host->emit(s->handle, &audio.head);
        if (status != VC_OK) return status; // VC_E_AGAIN: the same frame again after `credit`.
        s->sequence++, s->position += bytes / 2, p->said += bytes;
    }
    if (!a->is_complete) return STILL_COMING;
    if (a->failure.code != VC_OK) return answer_report(a, p->request, p->epoch);
    if (p->said > 0 && !p->is_marked) {
        const vc_event_mark mark = { .head = HEAD(mark, VC_EVENT_MARK, p), .text_start = p->text_start,
            .text_end = p->text_start + p->text_length, .position = s->position - p->said / 2, .end = s->position };
        const vc_status status = host->emit(s->handle, &mark.head);
        if (status != VC_OK) return status;
        p->is_marked = 1;
    }
    if (!p->is_last) return VC_OK;
    const vc_event_tts_done done = { .head = HEAD(done, VC_EVENT_TTS_DONE, p), .reason = VC_TTS_COMPLETE,
        .samples = s->position };
    return host->emit(s->handle, &done.head);
}

static void advance(void *self) {
    session *s = self;
    while (s->first != NULL) {
        piece *p = s->first;
        const uint64_t request = p->request;
        // The first piece is asked for, and the second as soon as the first has all of its audio.
        for (piece *q = p; q != NULL && q->epoch >= atomic_load(&s->epoch); q = q == p ? p->next : NULL) {
            const vc_str text = { q->text, q->text_length };
            if (!q->is_asked) q->is_asked = 1, vendor_ask(s->vendor, &q->answer, q->epoch, s->rate_hz, text);
            if (!q->answer.is_complete) break;
        }
        const vc_status status = p->epoch < atomic_load(&s->epoch) ? VC_E_CANCELED : say(s, p);
        if (status == VC_E_AGAIN || status == STILL_COMING) return;
        const int is_failed = status != VC_OK || p->answer.failure.code != VC_OK;
        drop(s, &s->first);
        if (!is_failed) continue;
        // Cancelled, or its ERROR stands in place of DONE: the rest of the request is not wanted.
        s->failed = request;
        for (piece **place = &s->first; *place != NULL;) {
            if ((*place)->request == request) drop(s, place);
            else place = &(*place)->next;
        }
    }
}

static void arrived(void *context) { advance(((piece *)context)->owner); }

static vc_status speak(vc_self self, uint64_t request, uint64_t epoch, vc_str text, uint32_t flags) {
    session *s = self;
    advance(s); // What a cancel has left behind goes first, and it may end this very request.
    const uint64_t current = atomic_load(&s->epoch);
    if (current == UINT64_MAX) return VC_E_CLOSED;
    if (epoch < current || request == s->failed) return VC_E_CANCELED;
    if (s->piece_count == PIECES_MAX) return VC_E_AGAIN;
    piece *p = calloc(1, sizeof *p + text.length + 1);
    if (p == NULL) return VC_E_MEMORY;
    if (request != s->incoming) s->incoming = request, s->text_length = 0;
    p->owner = s, p->request = request, p->epoch = epoch, p->is_last = (flags & VC_TTS_LAST) != 0;
    p->text_start = s->text_length, p->text_length = text.length, s->text_length += text.length;
    if (text.length > 0) memcpy(p->text, text.data, text.length);
    p->answer = (answer){ .session = s->handle, .arrived = arrived, .context = p };
    // Of blanks no voice has anything to say.
    if (strspn(p->text, " \t\r\n") >= text.length) p->is_asked = p->answer.is_complete = 1;

    piece **place = &s->first;
    while (*place != NULL) place = &(*place)->next;
    *place = p, s->piece_count++;
    advance(s);
    return VC_OK;
}

// VC_ANY: touches nothing but the atomic. The host ends the requests of old epochs; `advance` drops their pieces.
static void cancel(vc_self self, uint64_t epoch) {
    session *s = self;
    uint64_t seen = atomic_load(&s->epoch);
    while (seen < epoch) {
        if (!atomic_compare_exchange_weak(&s->epoch, &seen, epoch)) continue;
        emit_plain(s->handle, VC_EVENT_CANCELED, epoch, 0);
        return;
    }
}

static void credit(vc_self self, uint32_t events, uint64_t bytes) {
    (void)events, (void)bytes; // The host counts; offering again is how we learn whether it is enough.
    advance(self);
}

static void close_session(vc_self self) {
    session *s = self;
    const uint64_t epoch = atomic_exchange(&s->epoch, UINT64_MAX);
    while (s->first != NULL) drop(s, &s->first);
    emit_plain(s->handle, VC_EVENT_CLOSED, epoch, 0);
}

static void destroy_session(vc_self self) {
    session *s = self;
    while (s->first != NULL) drop(s, &s->first);
    free(s);
}

static const vc_session_ops session_ops = { .size = sizeof session_ops, .cancel = cancel, .credit = credit,
    .close = close_session, .destroy = destroy_session };
static const vc_tts_ops tts_ops = { .size = sizeof tts_ops, .speak = speak };

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)error;
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return VC_E_MEMORY;
    s->vendor = self, s->handle = request->session, s->rate_hz = request->rate_hz;
    s->incoming = s->saying = s->failed = UINT64_MAX;
    atomic_store(&s->epoch, request->epoch);
    out->state = s, out->ops = &session_ops, out->kind_ops = &tts_ops;
    emit_plain(s->handle, VC_EVENT_READY, request->epoch, 0);
    answer_prewarm(s->handle, s->vendor->url);
    return VC_OK;
}

static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
    const vc_config *config;
    vc_status status = answer_prepare(host, &config, error);
    if (status != VC_OK) return status;
    vendor *v = calloc(1, sizeof *v);
    if (v == NULL) return VC_E_MEMORY;
    status = vendor_configure(v, config, request->provider, error);
    if (status == VC_OK) *self = v;
    else free(v);
    return status;
}

static void destroy(vc_self self) { free(self); }

static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR(VC_KIND_TTS),
    .id = VC_STR("org.example.plugin-name"), .create = create, .destroy = destroy, .open = open_session };
static const vc_provider *const providers[] = { &provider };
static const vc_module module = { sizeof module, VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **the_module) {
    host = the_host;
    *the_module = &module;
    return VC_OK;
}
