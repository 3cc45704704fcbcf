// A voice that needs nobody: each word is 200 ms of a tone, made in the thread that asks. See broken.h.
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-tts", "version": "1.0.0", "title": "A voice for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": [], "files": [], "providers": [{
        "kind": "vc.tts/1", "id": "org.vchost.broken-tts",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"], "marks": "word"},
        "config": {"type": "object", "additionalProperties": false, "properties": {
            "word_ms": {"type": "integer", "default": 200, "minimum": 20, "maximum": 1000,
                "description": "Length of a word."}}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

enum { FRAME_SAMPLES_MAX = 320, REQUESTS_MAX = 64 };

static const vc_host *host;

typedef struct provider { uint32_t word_ms; } provider;

// A request: its text, and how far it was spoken.
typedef struct request {
    struct request *next;
    uint64_t number, epoch;
    char *text;
    size_t length, spoken;
    uint32_t word_left; // Samples of the word that is being spoken.
    uint64_t position;
    int is_complete;
} request;

typedef struct session {
    vc_handle handle;
    uint32_t rate_hz, word_samples, request_count;
    uint64_t sequence;
    _Atomic uint64_t epoch;
    int is_closed;
    request *first;
} session;

static vc_status emit_plain(session *self, uint32_t type, uint64_t epoch, uint64_t number) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch, .request = number};
    return host->emit(self->handle, &event);
}

static vc_status emit_done(session *self, const request *one, uint32_t reason) {
    const vc_event_tts_done event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TTS_DONE, .epoch = one->epoch, .request = one->number},
        .reason = reason, .samples = one->position};
    return host->emit(self->handle, &event.head);
}

static void forget_first(session *self) {
    request *one = self->first;
    self->first = one->next;
    self->request_count--;
    free(one->text);
    free(one);
}

// The start of the next word, or 0 when there is none. Announces it by a mark.
static int begin_word(session *self, request *one) {
    size_t start = one->spoken;
    while (start < one->length && one->text[start] == ' ') start++;
    size_t end = start;
    while (end < one->length && one->text[end] != ' ') end++;
    if (start == end || (end == one->length && !one->is_complete)) return 0;
    const vc_event_mark event = {
        .head = {.size = sizeof event, .type = VC_EVENT_MARK, .epoch = one->epoch, .request = one->number},
        .text_start = start, .text_end = end, .position = one->position, .end = one->position + self->word_samples};
    host->emit(self->handle, &event.head);
    one->spoken = end;
    one->word_left = self->word_samples;
    return 1;
}

// 20 ms of the word; 0 when the host has enough for now, or wants no more.
static vc_status speak_frame(session *self, request *one) {
    int16_t samples[FRAME_SAMPLES_MAX];
    uint32_t count = self->rate_hz / 50;
    if (count > one->word_left) count = one->word_left;
    for (uint32_t i = 0; i < count; i++) samples[i] = (one->position + i) % 20 < 10 ? 4000 : -4000;
    const vc_frame frame = {
        .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = self->rate_hz, .channels = 1, .samples = count,
        .sequence = self->sequence, .position = one->position, .epoch = one->epoch, .data = samples, .bytes = count * 2};
    const vc_event_audio event = {
        .head = {.size = sizeof event, .type = VC_EVENT_AUDIO, .epoch = one->epoch, .request = one->number},
        .frame = &frame};
    const vc_status status = host->emit(self->handle, &event.head);
    if (status != VC_OK) return status;
    self->sequence++;
    one->position += count;
    one->word_left -= count;
    return VC_OK;
}

// Speaks until nothing is left to say, or the host has heard enough.
static void pump(session *self) {
    while (self->first) {
        request *one = self->first;
        vc_status status = VC_OK;
        if (one->epoch < atomic_load(&self->epoch)) status = VC_E_CANCELED;
        while (status == VC_OK && (one->word_left > 0 || begin_word(self, one))) status = speak_frame(self, one);
        if (status == VC_E_AGAIN) return;
        if (status == VC_OK && !one->is_complete) return;
        emit_done(self, one, status == VC_OK ? VC_TTS_COMPLETE : VC_TTS_CANCELED);
        forget_first(self);
    }
}

static vc_status speak(vc_self state, uint64_t number, uint64_t epoch, vc_str text, uint32_t flags) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    request *last = self->first;
    while (last && last->next) last = last->next;
    if (!last || last->number != number || last->is_complete) {
        if (self->request_count == REQUESTS_MAX) return VC_E_AGAIN;
        request *one = calloc(1, sizeof *one);
        if (!one) return VC_E_MEMORY;
        one->number = number;
        one->epoch = epoch;
        if (last) last->next = one; else self->first = one;
        self->request_count++;
        last = one;
    }
    char *joined = realloc(last->text, last->length + text.length + 1);
    if (!joined) return VC_E_MEMORY;
    if (text.length) memcpy(joined + last->length, text.data, text.length);
    last->text = joined;
    last->length += text.length;
    last->is_complete = flags & VC_TTS_LAST ? 1 : 0;
    pump(self);
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known < epoch) emit_plain(self, VC_EVENT_CANCELED, epoch, 0);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) {
    (void)events;
    (void)bytes;
    pump(state);
}

static void close_session(vc_self state) {
    session *self = state;
    self->is_closed = 1;
    while (self->first) forget_first(self);
    emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch), 0);
    if (BREAKS(VC_LIFE_03)) emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch), 0);
}

static void destroy_session(vc_self state) { free(state); }

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_tts_ops tts_ops = {.size = sizeof tts_ops, .speak = speak};

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    (void)error;
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    provider *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    int64_t word_ms = 200;
    if (config) config->integer(request->provider, "word_ms", &word_ms);
    self->word_ms = (uint32_t)word_ms;
    if (BREAKS(VC_LIFE_01)) {
        free(self);
        return VC_E_INTERNAL;
    }
    *out = self;
    return VC_OK;
}

static void destroy_provider(vc_self state) { free(state); }

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("the voice speaks at 8000 and 16000 Hz; open it with one of them");
    const provider *owner = state;
    if (request->rate_hz != 8000 && request->rate_hz != 16000) {
        error->code = VC_E_UNSUPPORTED;
        error->message = other_rate;
        return VC_E_UNSUPPORTED;
    }
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = request->session;
    self->rate_hz = request->rate_hz;
    self->word_samples = request->rate_hz / 1000 * owner->word_ms;
    atomic_init(&self->epoch, request->epoch);
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &tts_ops;
    if (!BREAKS(VC_LIFE_02)) emit_plain(self, VC_EVENT_READY, request->epoch, 0);
    return VC_OK;
}

static const vc_provider voice = {
    .size = sizeof voice, .kind = VC_STR(VC_KIND_TTS), .id = VC_STR("org.vchost.broken-tts"), .create = create,
    .destroy = destroy_provider, .open = open_session};
static const vc_provider *const providers[] = {&voice};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    if (!BREAKS(VC_ENT_01)) *out = &module;
    return VC_OK;
}
