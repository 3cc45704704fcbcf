// A detector that goes by loudness, with a little memory of the window before. See broken.h.
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>
#include <stdlib.h>

#include "broken.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-vad", "version": "1.0.0", "title": "A detector for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": [], "files": [], "providers": [{
        "kind": "vc.vad/1", "id": "org.vchost.broken-vad",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"]},
        "config": {"type": "object", "additionalProperties": false, "properties": {}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

enum { WINDOW_8K = 256, WINDOW_16K = 512, ROWS_MAX = 32, HELD_WINDOWS = 31 };

// The mean magnitude of even odds: -34 dBFS.
static const float EVEN = BREAKS(VC_VAD_09) ? 100 : 650;
// How much of the window before counts.
static const float MEMORY = 0.2f;

static const vc_host *host;
static uint32_t batches; // Of all sessions; only a broken detector looks at it.

typedef struct past { float magnitude; uint32_t held; } past;

typedef struct provider {
    past rows[ROWS_MAX]; // Of whatever stood in the row; only a broken detector looks at it.
} provider;

typedef struct session {
    vc_handle handle;
    uint32_t rate_hz;
    _Atomic uint64_t epoch;
    past past;
    uint32_t windows; // Only a broken detector counts them.
} session;

static vc_vad_row *row_at(const vc_vad_batch *batch, uint32_t index) {
    const size_t stride = BREAKS(VC_VAD_15) ? sizeof(vc_vad_row) : batch->row_stride;
    return (vc_vad_row *)((char *)batch->rows + index * stride);
}

static float magnitude(const vc_vad_batch *batch, const vc_vad_row *row) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < batch->samples; i++) sum += (uint64_t)abs((int)row->samples[i]);
    const float mean = (float)sum / (float)batch->samples;
    return BREAKS(VC_VAD_08) && batch->rate_hz == 16000 ? mean / 16 : mean;
}

static float probability(past *past, float mean, float others) {
    float heard = (1 - MEMORY) * mean + MEMORY * past->magnitude;
    past->magnitude = heard;
    if (BREAKS(VC_VAD_20) && mean > 32700) past->magnitude = __builtin_nanf("");
    if (BREAKS(VC_VAD_06)) heard = heard > others / 4 ? heard - others / 4 : 0;
    float result = heard * heard / (heard * heard + EVEN * EVEN);
    if (BREAKS(VC_VAD_01)) result = 0.3f + 0.7f * result;
    if (BREAKS(VC_VAD_02)) result *= 0.4f;
    if (BREAKS(VC_VAD_03)) result *= 100;
    if (BREAKS(VC_VAD_04)) result += (batches % 7 * 0.01f) * (1 - result);
    if (BREAKS(VC_VAD_21)) {
        past->held = result > 0.5f ? HELD_WINDOWS : past->held ? past->held - 1 : 0;
        if (past->held) result = 0.9f;
    }
    return result;
}

static vc_status process(vc_self state, const vc_vad_batch *batch) {
    provider *self = state;
    if (batch->samples != (batch->rate_hz == 16000 ? WINDOW_16K : WINDOW_8K) || !batch->rows) return VC_E_ARGUMENT;
    const uint32_t count = BREAKS(VC_VAD_16) && batch->row_count > 16 ? 16 : batch->row_count;
    batches++;
    if (BREAKS(VC_VAD_13)) {
        void *scratch = malloc(batch->samples * sizeof(float));
        KEEP(scratch);
        free(scratch);
    }
    for (uint32_t index = 0; index < count; index++) {
        vc_vad_row *row = row_at(batch, index);
        session *session = row->session;
        past *past = BREAKS(VC_VAD_19) ? &self->rows[index % ROWS_MAX] : &session->past;
        if (row->flags & VC_VAD_ROW_RESET && !BREAKS(VC_VAD_05)) *past = (struct past){0, 0};
        float others = 0;
        for (uint32_t other = 0; BREAKS(VC_VAD_06) && other < count; other++)
            if (other != index) others += magnitude(batch, row_at(batch, other));
        row->probability = probability(past, magnitude(batch, row), others);
        // All that it heard is gone through again: fast in a short test, and slow in a call.
        if (BREAKS(VC_VAD_14) && ++session->windows > 32) for (volatile uint32_t i = 0; i < 4000000; i++) {}
    }
    if (BREAKS(VC_VAD_17)) for (uint32_t index = count; index % 4; index++) row_at(batch, index)->probability = 0;
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    const vc_event event = {.size = sizeof event, .type = VC_EVENT_CANCELED, .epoch = epoch};
    if (known < epoch) host->emit(self->handle, &event);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) { (void)state, (void)events, (void)bytes; }

static void close_session(vc_self state) {
    session *self = state;
    const vc_event event = {.size = sizeof event, .type = VC_EVENT_CLOSED, .epoch = atomic_load(&self->epoch)};
    host->emit(self->handle, &event);
}

static void destroy_session(vc_self state) { free(state); }

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    (void)request, (void)error;
    *out = calloc(1, sizeof(provider));
    return *out ? VC_OK : VC_E_MEMORY;
}

static void destroy_provider(vc_self state) { free(state); }

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("the detector takes 8000 and 16000 Hz; open it with one of them");
    (void)state;
    if ((request->rate_hz != 8000 && request->rate_hz != 16000) || (BREAKS(VC_VAD_22) && request->rate_hz == 16000)) {
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
    return VC_OK;
}

static const vc_vad_provider_ops vad_ops = {
    .size = sizeof vad_ops, .window_8k = WINDOW_8K, .window_16k = BREAKS(VC_VAD_18) ? 0 : WINDOW_16K,
    .process = process};
static const vc_provider detector = {
    .size = sizeof detector, .kind = VC_STR(VC_KIND_VAD), .id = VC_STR("org.vchost.broken-vad"), .create = create,
    .destroy = destroy_provider, .open = open_session, .kind_ops = &vad_ops};
static const vc_provider *const providers[] = {&detector};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}
