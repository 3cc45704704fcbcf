// plugin-name: a recogniser that is a server. This file keeps the contract; what is asked of whom is in vendor.c.
//
// The caller's audio is kept from the beginning of the utterance. `finalize` sends what there is of it and is answered
// with its text; several may be under way, and are answered in their order. Silence is not sent: it costs money, and
// recognisers hear words in it. There is no thread and no lock: all but `cancel` is VC_CONTROL, one call at a time.

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vendor.h"

/// More than a minute without a pause is a radio: of it only the last minute is kept. Below QUIET there is no voice.
enum { SECONDS_MAX = 60, QUESTIONS_MAX = 16, QUIET = 200, STILL_COMING = 1 };

static const vc_host *host;

typedef struct session session;

// A `finalize`, until FINALIZED.
typedef struct question {
    struct question *next;
    session *owner;
    uint64_t request, epoch, utterance, start, end;
    int is_told; // Its transcript went out.
    answer answer;
} question;

struct session {
    const vendor *vendor;
    vc_handle handle;
    uint32_t rate_hz, question_count;
    _Atomic uint64_t epoch; // Raised by `cancel`, on any thread; UINT64_MAX once closed.
    uint64_t utterance, start; // Of the utterance; `start` is a position.
    uint64_t base, count;      // The position of the first sample that is kept, and how many are.
    int16_t *samples;
    question *first;
};

static void drop_first(session *s) {
    question *q = s->first;
    s->first = q->next, s->question_count--;
    answer_drop(&q->answer);
    free(q);
}

static vc_status tell(session *s, question *q) {
    const answer *a = &q->answer;
    if (!a->is_complete) return STILL_COMING;
    if (a->failure.code != VC_OK) return answer_report(a, q->request, q->epoch);
    if (a->length > 0 && !q->is_told) {
        const vc_event_transcript transcript = {
            .head = { .size = sizeof transcript, .type = VC_EVENT_TRANSCRIPT, .epoch = q->epoch,
                .request = q->request },
            .utterance = q->utterance, .start = q->start, .end = q->end, .text = { a->bytes, a->length }, .final = 1,
            .confidence = -1, .stability = -1 };
        const vc_status status = host->emit(s->handle, &transcript.head);
        if (status != VC_OK) return status;
        q->is_told = 1;
    }
    return emit_plain(s->handle, VC_EVENT_FINALIZED, q->epoch, q->request);
}

static void advance(void *self) {
    session *s = self;
    while (s->first != NULL) {
        const int is_old = s->first->epoch < atomic_load(&s->epoch);
        const vc_status status = is_old ? VC_E_CANCELED : tell(s, s->first);
        if (status == VC_E_AGAIN || status == STILL_COMING) return;
        drop_first(s);
    }
}

static void arrived(void *context) {
    question *q = context;
    answer *a = &q->answer;
    if (a->is_complete && a->failure.code == VC_OK && answer_text(a, a->bytes, a->length) < a->length)
        answer_fail(a, VC_E_VENDOR, "the server's answer is no text in UTF-8");
    advance(q->owner);
}

static void forget_before(session *s, uint64_t position) {
    if (position <= s->base) return;
    const uint64_t old = position - s->base < s->count ? position - s->base : s->count;
    memmove(s->samples, s->samples + old, (s->count - old) * sizeof s->samples[0]);
    s->count -= old, s->base = position;
}

static vc_status begin(vc_self self, uint64_t utterance, uint64_t position) {
    session *s = self;
    forget_before(s, position);
    s->utterance = utterance, s->start = position > s->base ? position : s->base;
    return VC_OK;
}

static vc_status push(vc_self self, const vc_frame *frame) {
    session *s = self;
    if (atomic_load(&s->epoch) == UINT64_MAX) return VC_E_CLOSED;
    if (frame->format != VC_FORMAT_S16 || frame->channels != 1) return VC_E_UNSUPPORTED;
    const uint64_t most = (uint64_t)SECONDS_MAX * s->rate_hz;
    if (frame->samples > s->rate_hz) return VC_E_ARGUMENT;
    if (frame->position != s->base + s->count) s->base = frame->position, s->count = 0; // A gap, or the beginning.
    // A second at a time, so that a long utterance is not moved with each frame.
    if (s->count + frame->samples > most) forget_before(s, s->base + s->rate_hz);
    memcpy(s->samples + s->count, frame->data, frame->samples * sizeof s->samples[0]);
    s->count += frame->samples;
    if (s->start < s->base) s->start = s->base;
    return VC_OK;
}

static int is_quiet(const int16_t *samples, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) if (samples[i] > QUIET || samples[i] < -QUIET) return 0;
    return 1;
}

static vc_status finalize(vc_self self, uint64_t request, uint64_t position, uint32_t flags) {
    session *s = self;
    if (atomic_load(&s->epoch) == UINT64_MAX) return VC_E_CLOSED;
    advance(s); // What a cancel has left behind goes first.
    if (s->question_count == QUESTIONS_MAX) return VC_E_AGAIN;
    question *q = calloc(1, sizeof *q);
    if (q == NULL) return VC_E_MEMORY;
    const uint64_t heard = s->base + s->count, end = position < heard ? position : heard;
    const uint64_t start = s->start < end ? s->start : end;
    q->owner = s, q->request = request, q->epoch = atomic_load(&s->epoch), q->utterance = s->utterance;
    q->start = start, q->end = end;
    q->answer = (answer){ .session = s->handle, .arrived = arrived, .context = q };
    const int16_t *samples = s->samples + (start > s->base ? start - s->base : 0);
    if (is_quiet(samples, end - start)) q->answer.is_complete = 1;
    else vendor_ask(s->vendor, &q->answer, q->epoch, s->rate_hz, samples, end - start);
    // What comes after a final text belongs to the next utterance, also where the host does not say `begin`.
    if ((flags & VC_STT_TENTATIVE) == 0) s->start = end;

    question **place = &s->first;
    while (*place != NULL) place = &(*place)->next;
    *place = q, s->question_count++;
    advance(s);
    return VC_OK;
}

// VC_ANY: touches nothing but the atomic. The host ends the requests of old epochs; `advance` drops their questions.
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
    (void)events, (void)bytes;
    advance(self);
}

static void close_session(vc_self self) {
    session *s = self;
    const uint64_t epoch = atomic_exchange(&s->epoch, UINT64_MAX);
    while (s->first != NULL) drop_first(s);
    emit_plain(s->handle, VC_EVENT_CLOSED, epoch, 0);
}

static void destroy_session(vc_self self) {
    session *s = self;
    while (s->first != NULL) drop_first(s);
    free(s->samples);
    free(s);
}

static const vc_session_ops session_ops = { .size = sizeof session_ops, .cancel = cancel, .credit = credit,
    .close = close_session, .destroy = destroy_session };
static const vc_stt_ops stt_ops = { .size = sizeof stt_ops, .begin = begin, .push = push, .finalize = finalize };

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)error;
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return VC_E_MEMORY;
    s->samples = malloc((uint64_t)SECONDS_MAX * request->rate_hz * sizeof s->samples[0]);
    if (s->samples == NULL) return free(s), VC_E_MEMORY;
    s->vendor = self, s->handle = request->session, s->rate_hz = request->rate_hz;
    atomic_store(&s->epoch, request->epoch);
    out->state = s, out->ops = &session_ops, out->kind_ops = &stt_ops;
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

static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR(VC_KIND_STT),
    .id = VC_STR("org.example.plugin-name"), .create = create, .destroy = destroy, .open = open_session };
static const vc_provider *const providers[] = { &provider };
static const vc_module module = { sizeof module, VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **the_module) {
    host = the_host;
    *the_module = &module;
    return VC_OK;
}
