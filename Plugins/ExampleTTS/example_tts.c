// ExampleTTS: a whole text-to-speech provider in one file. Copy it, and replace `ring`.
// SPDX-License-Identifier: Apache-2.0
//
// It speaks bells: one for each word, the pitch from the word's first letter. Everything else is what any voice has to
// do: requests in order, marks, credit, cancelling, closing.
//
// There is no thread and no lock in it. `speak` and `credit` are VC_CONTROL, so they never overlap for one session, and
// both do the same: `pump` speaks until nothing is left to say, or the host answers that it has enough. A slower voice
// makes its audio in a task ("vc.task/1"), or waits for a server ("vc.http/1", "vc.ws/1").

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vchost/vchost.h"

// What the host reads before it runs any of this. The build checks that manifest.json says the same.
#define JSON(...) #__VA_ARGS__
VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.example-tts", "version": "1.0.0", "title": "Bells for words",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "inprocess", "providers": [{
        "kind": "vc.tts/1", "id": "org.vchost.example-tts",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"], "marks": "word"},
        "config": {"type": "object", "additionalProperties": false, "properties": {
            "word_ms": {"type": "integer", "default": 250, "minimum": 50, "maximum": 1000,
                "description": "Length of a word."}}}
    }]
}));

enum { WORD_SAMPLES_MAX = 16000, REQUESTS_MAX = 256, TEXT_MAX = 64 * 1024 };

static const vc_host *host;

typedef struct provider { uint32_t word_ms; } provider;

// A request, from its first piece until TTS_DONE.
typedef struct request {
    struct request *next;
    uint64_t number, epoch;
    char *text; // All pieces so far, joined.
    size_t length, spoken;
    int is_complete, is_marked; // The last piece came; the next word was announced.
    uint64_t position;          // Samples made.
} request;

typedef struct session {
    vc_handle handle;
    uint32_t rate_hz, word_samples, request_count;
    uint64_t sequence;
    _Atomic uint64_t epoch; // Written by `cancel`, on any thread.
    atomic_int is_closed;   // Read there.
    request *first;
} session;

// The voice: a triangle wave that dies away.
static void ring(char letter, uint32_t rate_hz, int16_t *out, uint32_t samples) {
    const uint32_t hertz = 330u + 20u * ((unsigned char)letter % 26u);
    int32_t amplitude = 12000;
    for (uint32_t i = 0; i < samples; i++) {
        const int32_t saw = (int32_t)((uint64_t)i * hertz * 131072 / rate_hz % 131072) - 65536;
        out[i] = (int16_t)((saw < 0 ? -saw : saw) / 2 * amplitude / 16384 - amplitude);
        if (i % 8 == 0) amplitude -= amplitude / 200;
    }
}

static void emit_plain(const session *s, uint32_t type, uint64_t epoch) {
    const vc_event event = { .size = sizeof event, .type = type, .epoch = epoch };
    host->emit(s->handle, &event);
}

#define HEAD(EVENT, TYPE, R) { .size = sizeof(EVENT), .type = (TYPE), .epoch = (R)->epoch, .request = (R)->number }

// Says where the word stands in the text, and rings it.
static vc_status say(session *s, request *r, size_t word_end) {
    if (!r->is_marked) {
        const vc_event_mark mark = { .head = HEAD(mark, VC_EVENT_MARK, r), .text_start = r->spoken,
            .text_end = word_end, .position = r->position, .end = r->position + s->word_samples };
        const vc_status status = host->emit(s->handle, &mark.head);
        if (status != VC_OK) return status;
        r->is_marked = 1;
    }
    int16_t samples[WORD_SAMPLES_MAX];
    ring(r->text[r->spoken], s->rate_hz, samples, s->word_samples);
    const vc_frame frame = { .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = s->rate_hz, .channels = 1,
        .samples = s->word_samples, .sequence = s->sequence, .position = r->position, .epoch = r->epoch,
        .data = samples, .bytes = s->word_samples * sizeof samples[0] };
    const vc_event_audio audio = { .head = HEAD(audio, VC_EVENT_AUDIO, r), .frame = &frame };
    const vc_status status = host->emit(s->handle, &audio.head);
    if (status != VC_OK) return status; // Not taken: the same word again after `credit`.
    s->sequence++, r->position += s->word_samples, r->spoken = word_end, r->is_marked = 0;
    return VC_OK;
}

static void drop_first(session *s) {
    request *r = s->first;
    s->first = r->next, s->request_count--;
    free(r->text), free(r);
}

// Speaks on until there is nothing to say, or no credit to say it.
static void pump(session *s) {
    while (s->first != NULL) {
        request *r = s->first;
        while (r->spoken < r->length && r->text[r->spoken] == ' ') r->spoken++;
        size_t end = r->spoken;
        while (end < r->length && r->text[end] != ' ') end++;

        vc_status status;
        if (r->epoch < atomic_load(&s->epoch)) status = VC_E_CANCELED;
        else if (end > r->spoken) status = say(s, r, end);
        else if (!r->is_complete) return; // More of the text is still to come.
        else {
            const vc_event_tts_done done = { .head = HEAD(done, VC_EVENT_TTS_DONE, r), .reason = VC_TTS_COMPLETE,
                .samples = r->position };
            status = host->emit(s->handle, &done.head);
            if (status == VC_OK) drop_first(s);
        }
        if (status == VC_E_AGAIN) return;   // `credit` goes on from here.
        if (status != VC_OK) drop_first(s); // CANCELED, or nobody listens any more.
    }
}

static vc_status speak(vc_self self, uint64_t number, uint64_t epoch, vc_str text, uint32_t flags) {
    session *s = self;
    request **place = &s->first;
    while (*place != NULL && (*place)->number != number) place = &(*place)->next;
    if (*place == NULL) {
        if (s->request_count == REQUESTS_MAX) return VC_E_AGAIN;
        if ((*place = calloc(1, sizeof **place)) == NULL) return VC_E_MEMORY;
        (*place)->number = number, (*place)->epoch = epoch, s->request_count++;
    }
    request *r = *place;
    if (text.length > TEXT_MAX - r->length) return VC_E_ARGUMENT;
    char *joined = realloc(r->text, r->length + text.length + 1);
    if (joined == NULL) return VC_E_MEMORY;
    if (text.length > 0) memcpy(joined + r->length, text.data, text.length);
    r->text = joined, r->length += text.length;
    r->is_complete = (flags & VC_TTS_LAST) != 0;
    pump(s);
    return VC_OK;
}

static void cancel(vc_self self, uint64_t epoch) { // VC_ANY: touches nothing but what is atomic.
    session *s = self;
    uint64_t seen = atomic_load(&s->epoch);
    while (seen < epoch && !atomic_compare_exchange_weak(&s->epoch, &seen, epoch)) {}
    if (seen < epoch && !atomic_load(&s->is_closed)) emit_plain(s, VC_EVENT_CANCELED, epoch);
}

static void credit(vc_self self, uint32_t events, uint64_t bytes) {
    (void)events, (void)bytes; // The host counts; asking again is how we learn whether it is enough.
    pump(self);
}

static void close_session(vc_self self) {
    session *s = self;
    atomic_store(&s->is_closed, 1);
    emit_plain(s, VC_EVENT_CLOSED, 0);
}

static void destroy_session(vc_self self) {
    session *s = self;
    while (s->first != NULL) drop_first(s);
    free(s);
}

static const vc_session_ops session_ops = { .size = sizeof session_ops, .cancel = cancel, .credit = credit,
    .close = close_session, .destroy = destroy_session };
static const vc_tts_ops tts_ops = { .size = sizeof tts_ops, .speak = speak };

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)error;
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return VC_E_MEMORY;
    s->handle = request->session, s->rate_hz = request->rate_hz;
    s->word_samples = s->rate_hz * ((provider *)self)->word_ms / 1000;
    atomic_store(&s->epoch, request->epoch);
    out->state = s, out->ops = &session_ops, out->kind_ops = &tts_ops;
    emit_plain(s, VC_EVENT_READY, request->epoch); // Nothing to load: ready before `open` returned.
    return VC_OK;
}

static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
    (void)error;
    provider *p = calloc(1, sizeof *p);
    if (p == NULL) return VC_E_MEMORY;
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    int64_t word_ms = 250;
    if (config != NULL) config->integer(request->provider, "word_ms", &word_ms);
    p->word_ms = (uint32_t)word_ms, *self = p;
    return VC_OK;
}

static void destroy(vc_self self) { free(self); }

static const vc_provider tts = { .size = sizeof tts, .kind = VC_STR(VC_KIND_TTS),
    .id = VC_STR("org.vchost.example-tts"), .create = create, .destroy = destroy, .open = open_session };
static const vc_provider *const providers[] = { &tts };
static const vc_module example = { sizeof example, VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
    host = the_host;
    *module = &example;
    return VC_OK;
}
