// A voice whose faults no rule sees: each needs several calls that a host rarely makes one after another. See broken.h.
// SPDX-License-Identifier: Apache-2.0
//
// BREAKS(FUZZ_01) is no rule's: compiled for it, this plugin passes `vchost conform run`, and `vchost conform fuzz` finds it.

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.fuzzed-tts", "version": "1.0.0", "title": "A voice for the fuzzer",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": [], "files": [], "providers": [{
        "kind": "vc.tts/1", "id": "org.vchost.fuzzed-tts", "capabilities": {"rates": [8000, 16000], "formats": ["s16"]},
        "config": {"type": "object", "additionalProperties": false, "properties": {}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

enum { LETTER_MS = 20, FRAME_SAMPLES_MAX = 320, REQUESTS_MAX = 64 };

static const vc_host *host;

typedef struct request {
    struct request *next;
    uint64_t number, epoch, letters, spoken, position;
    int is_complete;
} request;

typedef struct session {
    struct session *newer, *older; // The sessions of a provider, the newest first.
    struct provider *owner;
    vc_handle handle;
    uint32_t rate_hz, frame_samples, request_count;
    uint64_t sequence, carried;
    _Atomic uint64_t epoch;
    int is_closed, is_stalled;
    request *first;
} session;

typedef struct provider {
    vc_handle handle;
    session *newest;
    int is_draining;
} provider;

static vc_status emit_plain(session *self, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    return host->emit(self->handle, &event);
}

static void end_first(session *self, uint32_t reason) {
    request *one = self->first;
    const vc_event_tts_done event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TTS_DONE, .epoch = one->epoch, .request = one->number},
        .reason = reason, .samples = one->position};
    self->first = one->next;
    self->request_count--;
    free(one);
    if (reason) host->emit(self->handle, &event.head);
}

// A letter, 20 ms of a tone.
static vc_status speak_letter(session *self, request *one) {
    int16_t samples[FRAME_SAMPLES_MAX];
    for (uint32_t i = 0; i < self->frame_samples; i++) samples[i] = i % 20 < 10 ? 4000 : -4000;
    // What was begun for a request that was cancelled without credit is taken for the beginning of the next one.
    if (BREAKS(FUZZ_01)) one->position += self->carried, self->carried = 0;
    const vc_frame frame = {
        .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = self->rate_hz, .channels = 1,
        .samples = self->frame_samples, .sequence = self->sequence, .position = one->position, .epoch = one->epoch,
        .data = samples, .bytes = self->frame_samples * 2};
    const vc_event_audio event = {
        .head = {.size = sizeof event, .type = VC_EVENT_AUDIO, .epoch = one->epoch, .request = one->number},
        .frame = &frame};
    const vc_status status = host->emit(self->handle, &event.head);
    if (status != VC_OK) return status;
    self->sequence++;
    one->spoken++;
    one->position += self->frame_samples;
    return VC_OK;
}

static void pump(session *self) {
    while (self->first) {
        request *one = self->first;
        vc_status status = one->epoch < atomic_load(&self->epoch) ? VC_E_CANCELED : VC_OK;
        while (status == VC_OK && one->spoken < one->letters) status = speak_letter(self, one);
        self->is_stalled = status == VC_E_AGAIN;
        if (status == VC_E_AGAIN || (status == VC_OK && !one->is_complete)) return;
        end_first(self, status == VC_OK ? VC_TTS_COMPLETE : VC_TTS_CANCELED);
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
    for (uint64_t i = 0; i < text.length; i++) last->letters += text.data[i] > ' ';
    last->is_complete = flags & VC_TTS_LAST ? 1 : 0;
    pump(self);
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    if (self->is_closed) return;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known >= epoch) return;
    // A request in pieces, in the middle, without credit.
    const int is_odd = self->is_stalled && self->first && !self->first->is_complete && self->first->position > 0;
    if (BREAKS(FUZZ_01) && is_odd) self->carried = self->frame_samples;
    emit_plain(self, VC_EVENT_CANCELED, epoch);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) {
    (void)events;
    (void)bytes;
    pump(state);
}

static void close_session(vc_self state) {
    session *self = state;
    self->is_closed = 1;
    if (BREAKS(FUZZ_03) && self->first && !self->first->is_complete && atomic_load(&self->epoch) == self->first->epoch) {
        char *leak = malloc(64 << 10);
        KEEP(leak);
    }
    while (self->first) end_first(self, 0);
    emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch));
}

static void say_when_drained(provider *owner) {
    const vc_event event = {.size = sizeof event, .type = VC_EVENT_DRAINED};
    if (owner->is_draining && !owner->newest) host->emit(owner->handle, &event);
}

static void destroy_session(vc_self state) {
    session *self = state;
    provider *owner = self->owner;
    while (self->first) end_first(self, 0);
    // Calls that end in the order in which they came, or the other way round, are well; the middle one of three is not.
    if (BREAKS(FUZZ_02) && self->newer && self->older) {
        self->newer->older = NULL;
        self->older->newer = (session *)8;
    } else {
        if (self->newer) self->newer->older = self->older; else owner->newest = self->older;
        if (self->older) self->older->newer = self->newer;
    }
    free(self);
    say_when_drained(owner);
}

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_tts_ops tts_ops = {.size = sizeof tts_ops, .speak = speak};

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    (void)error;
    provider *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = request->provider;
    *out = self;
    return VC_OK;
}

static void drain(vc_self state) {
    provider *self = state;
    if (self->is_draining) return;
    self->is_draining = 1;
    say_when_drained(self);
}

static void destroy_provider(vc_self state) { free(state); }

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("the voice speaks at 8000 and 16000 Hz; open it with one of them");
    provider *owner = state;
    if (request->rate_hz != 8000 && request->rate_hz != 16000) {
        error->code = VC_E_UNSUPPORTED;
        error->message = other_rate;
        return VC_E_UNSUPPORTED;
    }
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->owner = owner;
    self->handle = request->session;
    self->rate_hz = request->rate_hz;
    self->frame_samples = request->rate_hz / 1000 * LETTER_MS;
    atomic_init(&self->epoch, request->epoch);
    self->older = owner->newest;
    if (self->older) self->older->newer = self;
    owner->newest = self;
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &tts_ops;
    emit_plain(self, VC_EVENT_READY, request->epoch);
    return VC_OK;
}

static const vc_provider voice = {
    .size = sizeof voice, .kind = VC_STR(VC_KIND_TTS), .id = VC_STR("org.vchost.fuzzed-tts"), .create = create,
    .drain = drain, .destroy = destroy_provider, .open = open_session};
static const vc_provider *const providers[] = {&voice};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}
