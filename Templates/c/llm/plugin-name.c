// plugin-name: a language model that is a server. This file keeps the contract; what is asked of whom is in vendor.c.
//
// Each question is one request to the server; several may be under way. Text goes to the host as it comes, never cut
// within a character. What the host has no room for waits, and `credit` goes on with it. There is no thread and no
// lock: all but `cancel` is VC_CONTROL, one call at a time, answers of the server included.

#include <stdatomic.h>
#include <stdlib.h>

#include "vendor.h"

enum { QUESTIONS_MAX = 16, DELTA_BYTES_MAX = 4096, STILL_COMING = 1 };

static const vc_host *host;

typedef struct session session;

// A request, until LLM_DONE.
typedef struct question {
    struct question *next;
    session *owner;
    uint64_t request, epoch;
    uint64_t told; // Bytes of the answer that the host has taken.
    answer answer;
} question;

struct session {
    const vendor *vendor;
    vc_handle handle;
    uint32_t question_count;
    _Atomic uint64_t epoch; // Raised by `cancel`, on any thread; UINT64_MAX once closed.
    question *first;
};

#define HEAD(EVENT, TYPE, Q) { .size = sizeof(EVENT), .type = (TYPE), .epoch = (Q)->epoch, .request = (Q)->request }

static void drop(session *s, question **place) {
    question *q = *place;
    *place = q->next, s->question_count--;
    answer_drop(&q->answer);
    free(q);
}

static vc_status tell(session *s, question *q) {
    answer *a = &q->answer;
    while (q->told < a->length) {
        const char *bytes = a->bytes + q->told;
        const uint64_t left = a->length - q->told;
        const uint64_t length = answer_text(a, bytes, left < DELTA_BYTES_MAX ? left : DELTA_BYTES_MAX);
        if (length == 0) break; // The rest of a character is still to come.
        const vc_event_delta delta = { .head = HEAD(delta, VC_EVENT_DELTA, q), .text = { bytes, length } };
        const vc_status status = host->emit(s->handle, &delta.head);
        if (status != VC_OK) return status; // VC_E_AGAIN: the same text again after `credit`.
        q->told += length;
    }
    if (!a->is_complete) return STILL_COMING;
    if (a->failure.code != VC_OK) return answer_report(a, q->request, q->epoch);
    const vc_event_llm_done done = { .head = HEAD(done, VC_EVENT_LLM_DONE, q), .reason = VC_LLM_STOP };
    return host->emit(s->handle, &done.head);
}

static void advance(session *s) {
    for (question **place = &s->first; *place != NULL;) {
        const int is_old = (*place)->epoch < atomic_load(&s->epoch);
        const vc_status status = is_old ? VC_E_CANCELED : tell(s, *place);
        if (status == VC_E_AGAIN) return;
        if (status == STILL_COMING) place = &(*place)->next;
        else drop(s, place);
    }
}

static void arrived(void *context) {
    question *q = context;
    if (q->answer.is_complete && q->answer.failure.code == VC_OK) vendor_ended(&q->answer);
    advance(q->owner);
}

static vc_status request(vc_self self, const vc_llm_request *asked) {
    session *s = self;
    const uint64_t current = atomic_load(&s->epoch);
    if (current == UINT64_MAX) return VC_E_CLOSED;
    if (asked->epoch < current) return VC_E_CANCELED;
    advance(s); // What a cancel has left behind goes first.
    if (s->question_count == QUESTIONS_MAX) return VC_E_AGAIN;
    question *q = calloc(1, sizeof *q);
    if (q == NULL) return VC_E_MEMORY;
    q->owner = s, q->request = asked->request, q->epoch = asked->epoch;
    q->answer = (answer){ .session = s->handle, .arrived = arrived, .context = q };
    question **place = &s->first;
    while (*place != NULL) place = &(*place)->next;
    *place = q, s->question_count++;
    vendor_ask(s->vendor, &q->answer, asked);
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
static const vc_llm_ops llm_ops = { .size = sizeof llm_ops, .request = request };

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)error;
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return VC_E_MEMORY;
    s->vendor = self, s->handle = request->session;
    atomic_store(&s->epoch, request->epoch);
    out->state = s, out->ops = &session_ops, out->kind_ops = &llm_ops;
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

static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR(VC_KIND_LLM),
    .id = VC_STR("org.example.plugin-name"), .create = create, .destroy = destroy, .open = open_session };
static const vc_provider *const providers[] = { &provider };
static const vc_module module = { sizeof module, VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **the_module) {
    host = the_host;
    *the_module = &module;
    return VC_OK;
}
