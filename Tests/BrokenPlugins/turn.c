// A judge of the end of a turn: a sentence that ends with a full stop is over, and silence helps. See broken.h.
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-turn", "version": "1.0.0", "title": "A judge of turns for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": [], "files": [], "providers": [{
        "kind": "vc.turn/1", "id": "org.vchost.broken-turn",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"], "languages": ["en"]},
        "config": {"type": "object", "additionalProperties": false, "properties": {}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

enum { TEXT_MAX = 4096, SILENT_LEVEL = 100, CONTINUING_BYTES = 40 };

static const vc_host *host;
static int the_provider;
static uint32_t verdicts;          // Of all sessions; only a broken judge looks at it.
static uint64_t shared_silence_ms; // The same.

typedef struct session {
    vc_handle handle;
    uint32_t rate_hz;
    _Atomic uint64_t epoch;
    int is_closed;
    uint64_t silence_ms, heard;
    char text[TEXT_MAX]; // The end of what was said.
    size_t length;
} session;

static void emit_plain(session *self, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    host->emit(self->handle, &event);
}

static float judged(const session *self) {
    float probability = 0.3f;
    if (self->length && strchr(".?!", self->text[self->length - 1])) probability = 0.7f;
    // Long sentences without an end are being thought about.
    if (self->length > CONTINUING_BYTES) probability -= 0.1f;
    const uint64_t silence_ms = BREAKS(VC_TURN_18) ? shared_silence_ms : self->silence_ms;
    probability += silence_ms >= 500 ? 0.2f : 0;
    if (BREAKS(VC_TURN_02)) probability = 1 - probability;
    if (BREAKS(VC_TURN_01)) probability *= 100;
    if (BREAKS(VC_TURN_09)) probability += verdicts % 5 * 0.02f;
    return probability;
}

static void emit_verdict(session *self, uint64_t request) {
    const vc_event_verdict event = {
        .head = {.size = sizeof event, .type = VC_EVENT_VERDICT, .epoch = atomic_load(&self->epoch),
            .request = BREAKS(VC_TURN_11) ? 0 : request},
        .probability = judged(self), .backchannel = BREAKS(VC_TURN_15) ? 40 : -1};
    verdicts++;
    host->emit(self->handle, &event.head);
}

static vc_status push(vc_self state, const vc_frame *frame) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (frame->format != VC_FORMAT_S16 || frame->rate_hz != self->rate_hz) return VC_E_ARGUMENT;
    const int16_t *samples = frame->data;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < frame->samples; i++) sum += (uint64_t)abs((int)samples[i]);
    const uint64_t before_ms = self->silence_ms;
    if (sum > (uint64_t)SILENT_LEVEL * frame->samples) self->silence_ms = 0;
    else self->silence_ms += frame->samples * 1000 / self->rate_hz;
    self->heard += frame->samples;
    shared_silence_ms = self->silence_ms;
    if (BREAKS(VC_TURN_03) && before_ms < 700 && self->silence_ms >= 700) emit_verdict(self, 0);
    return VC_OK;
}

static vc_status transcript(vc_self state, vc_str text, uint32_t final) {
    session *self = state;
    (void)final;
    if (self->is_closed) return VC_E_CLOSED;
    // The words of the turn so far: all of them, in place of what was there.
    if (!BREAKS(VC_TURN_05)) self->length = 0;
    const size_t room = TEXT_MAX - self->length;
    const size_t length = text.length < room ? text.length : room;
    if (length) memcpy(self->text + self->length, text.data + (text.length - length), length);
    self->length += length;
    return VC_OK;
}

static vc_status decide(vc_self state, uint64_t request, uint64_t position) {
    session *self = state;
    (void)position;
    if (self->is_closed) return VC_E_CLOSED;
    if (BREAKS(VC_TURN_13) && !self->heard) return VC_OK;
    if (BREAKS(VC_TURN_14) && !self->length) return VC_OK;
    emit_verdict(self, request);
    if (BREAKS(VC_TURN_12)) emit_verdict(self, request);
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known < epoch && !self->is_closed) emit_plain(self, VC_EVENT_CANCELED, epoch);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) { (void)state, (void)events, (void)bytes; }

static void close_session(vc_self state) {
    session *self = state;
    self->is_closed = 1;
    emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch));
}

static void destroy_session(vc_self state) { free(state); }

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_turn_ops turn_ops = {.size = sizeof turn_ops, .push = push, .transcript = transcript, .decide = decide};

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    (void)request, (void)error;
    *out = &the_provider;
    return VC_OK;
}

static void destroy_provider(vc_self state) { (void)state; }

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("turns are judged at 8000 and 16000 Hz; open the session with one of them");
    (void)state;
    if ((request->rate_hz != 8000 && request->rate_hz != 16000) || (BREAKS(VC_TURN_16) && request->rate_hz == 16000)) {
        error->code = VC_E_UNSUPPORTED;
        error->message = other_rate;
        return VC_E_UNSUPPORTED;
    }
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = request->session;
    self->rate_hz = request->rate_hz;
    atomic_init(&self->epoch, request->epoch);
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &turn_ops;
    emit_plain(self, VC_EVENT_READY, request->epoch);
    return VC_OK;
}

static const vc_provider judge = {
    .size = sizeof judge, .kind = VC_STR(VC_KIND_TURN), .id = VC_STR("org.vchost.broken-turn"), .create = create,
    .destroy = destroy_provider, .open = open_session};
static const vc_provider *const providers[] = {&judge};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}
