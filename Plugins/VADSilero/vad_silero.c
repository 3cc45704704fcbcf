/*  The plugin around the model: loading in the background, sessions, and the batch.

    The model is shared by all sessions of a provider and used by one thread, the detector's. `start` has it loaded by a
    task of the host, because reading and optimising a graph takes tens of milliseconds; the pointer is published once,
    and a batch that comes before is refused rather than waited for.  */
// SPDX-License-Identifier: Apache-2.0
#define _XOPEN_SOURCE 700 // realpath and PATH_MAX
#include "silero_model.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vchost/vchost.h>

static const vc_host *host;

typedef struct provider_state {
    vc_handle handle;
    char runtime_path[PATH_MAX];
    char model_path[PATH_MAX];
    const vc_task *task;
    const vc_log *log;     ///< May be NULL.
    const vc_clock *clock; ///< May be NULL.
    _Atomic(silero_model *) model;
    uint32_t has_complained; ///< The detector's thread only.
    char reason[PATH_MAX + 512];
} provider_state;

typedef struct session_state {
    silero_memory memory;
    uint32_t rate_hz;
    vc_handle handle;
    _Atomic uint64_t epoch;
} session_state;

static vc_str text_of(const char *text) { return (vc_str){text, strlen(text)}; }

static vc_status refuse(vc_error *error, vc_status code, const char *message) {
    error->code = code;
    error->message = text_of(message);
    return code;
}

// MARK: Sessions

/// Nothing of a window outlives `process`, so an epoch is over as soon as it is said to be.
static void session_cancel(vc_self self, uint64_t epoch) {
    session_state *session = self;
    uint64_t known = atomic_load(&session->epoch);
    while (known < epoch)
        if (atomic_compare_exchange_weak(&session->epoch, &known, epoch)) {
            const vc_event canceled = {.size = sizeof canceled, .type = VC_EVENT_CANCELED, .epoch = epoch};
            host->emit(session->handle, &canceled);
            return;
        }
}

static void session_credit(vc_self self, uint32_t events, uint64_t bytes) { (void)self, (void)events, (void)bytes; }

static void session_close(vc_self self) {
    session_state *session = self;
    const vc_event closed = {.size = sizeof closed, .type = VC_EVENT_CLOSED, .epoch = atomic_load(&session->epoch)};
    host->emit(session->handle, &closed);
}

static void session_destroy(vc_self self) { free(self); }

static const vc_session_ops session_ops = {
    .size = sizeof session_ops,
    .cancel = session_cancel,
    .credit = session_credit,
    .close = session_close,
    .destroy = session_destroy,
};

// MARK: The provider

/// Reads a path from the settings. The manifest has a default for both, so a missing one is a host without it.
static int read_path(const vc_config *config, vc_handle handle, const char *key, char *path) {
    vc_str value;
    if (config->text(handle, key, &value) != VC_OK || value.length == 0 || value.length >= PATH_MAX) return 0;
    memcpy(path, value.data, value.length);
    path[value.length] = 0;
    return 1;
}

static vc_status provider_create(const vc_create *request, vc_self *self, vc_error *error) {
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    const vc_task *task = host->service(VC_SERVICE_TASK);
    if (!config || !task)
        return refuse(error, VC_E_UNSUPPORTED, "vad-silero needs the host services vc.config/1 and vc.task/1");
    provider_state *provider = calloc(1, sizeof *provider);
    if (!provider) return refuse(error, VC_E_MEMORY, "no memory for a vad-silero provider");
    provider->handle = request->provider;
    provider->task = task;
    provider->log = host->service(VC_SERVICE_LOG);
    provider->clock = host->service(VC_SERVICE_CLOCK);
    if (!read_path(config, request->provider, "runtime", provider->runtime_path) ||
        !read_path(config, request->provider, "model", provider->model_path)) {
        free(provider);
        return refuse(error, VC_E_CONFIG,
                      "`runtime` must be the path of libonnxruntime.so, and `model` that of silero_vad.onnx");
    }
    *self = provider;
    return VC_OK;
}

/// A path as the operator can look it up, whatever folder the host was started in.
static void make_absolute(char *path) {
    char absolute[PATH_MAX];
    if (realpath(path, absolute)) memcpy(path, absolute, strlen(absolute) + 1);
}

static void load(void *context) {
    provider_state *provider = context;
    make_absolute(provider->runtime_path);
    make_absolute(provider->model_path);
    silero_model *model = silero_model_load(provider->runtime_path, provider->model_path, provider->reason,
                                            sizeof provider->reason);
    if (model) {
        atomic_store_explicit(&provider->model, model, memory_order_release);
        const vc_event ready = {.size = sizeof ready, .type = VC_EVENT_READY};
        host->emit(provider->handle, &ready);
        return;
    }
    const vc_error error = {.size = sizeof error, .code = VC_E_CONFIG, .message = text_of(provider->reason)};
    const vc_event_error failed = {
        .head = {.size = sizeof failed, .type = VC_EVENT_ERROR},
        .error = &error,
        .fatal = 1,
    };
    host->emit(provider->handle, &failed.head);
}

static vc_status provider_start(vc_self self, vc_error *error) {
    provider_state *provider = self;
    const vc_status status = provider->task->run(provider->handle, load, provider);
    return status == VC_OK ? VC_OK : refuse(error, status, "the host has no thread to load the Silero model on");
}

static void provider_destroy(vc_self self) {
    provider_state *provider = self;
    silero_model_free(atomic_load_explicit(&provider->model, memory_order_acquire));
    free(provider);
}

static vc_status provider_open(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)self;
    if (request->rate_hz != 8000 && request->rate_hz != 16000)
        return refuse(error, VC_E_ARGUMENT, "Silero takes 8000 or 16000 Hz, nothing else");
    session_state *session = calloc(1, sizeof *session);
    if (!session) return refuse(error, VC_E_MEMORY, "no memory for a vad-silero session");
    session->rate_hz = request->rate_hz;
    session->handle = request->session;
    atomic_init(&session->epoch, request->epoch);
    out->state = session;
    out->ops = &session_ops;
    out->kind_ops = NULL;
    return VC_OK;
}

/// Once for each provider: the host counts failed batches, and one sentence says why.
static void complain(provider_state *provider) {
    if (provider->has_complained || !provider->log) return;
    provider->has_complained = 1;
    provider->log->write(provider->handle, VC_LOG_ERROR, text_of(provider->reason), NULL, 0);
}

static vc_vad_row *row_at(const vc_vad_batch *batch, uint32_t index) {
    return (vc_vad_row *)((char *)batch->rows + (size_t)index * batch->row_stride);
}

static vc_status provider_process(vc_self self, const vc_vad_batch *batch) {
    provider_state *provider = self;
    silero_model *model = atomic_load_explicit(&provider->model, memory_order_acquire);
    if (!model) return VC_E_STATE;
    const uint32_t window = batch->rate_hz == 8000 ? SILERO_WINDOW_8K : batch->rate_hz == 16000 ? SILERO_WINDOW_16K : 0;
    if (window == 0 || batch->samples != window || batch->row_count > SILERO_ROWS_MAX) return VC_E_ARGUMENT;
    if (batch->row_count == 0) return VC_OK;
    if (!batch->rows) return VC_E_ARGUMENT;
    // A run cannot be stopped half-way, but one that nobody waits for any more need not begin.
    if (provider->clock && batch->deadline_ns != 0 && provider->clock->now_ns() > batch->deadline_ns)
        return VC_E_TIMEOUT;

    silero_row rows[SILERO_ROWS_MAX];
    for (uint32_t index = 0; index < batch->row_count; index++) {
        const vc_vad_row *row = row_at(batch, index);
        session_state *session = row->session;
        if (!session || !row->samples || session->rate_hz != batch->rate_hz) return VC_E_ARGUMENT;
        if (row->flags & VC_VAD_ROW_RESET) silero_memory_reset(&session->memory);
        rows[index] = (silero_row){.memory = &session->memory, .samples = row->samples};
    }
    if (!silero_model_run(model, batch->rate_hz, rows, batch->row_count, provider->reason, sizeof provider->reason)) {
        complain(provider);
        return VC_E_INTERNAL;
    }
    for (uint32_t index = 0; index < batch->row_count; index++)
        row_at(batch, index)->probability = rows[index].probability;
    return VC_OK;
}

// MARK: The entry

static const vc_vad_provider_ops vad_ops = {
    .size = sizeof vad_ops,
    .window_8k = SILERO_WINDOW_8K,
    .window_16k = SILERO_WINDOW_16K,
    .process = provider_process,
};

static const vc_provider provider_table = {
    .size = sizeof provider_table,
    .kind = VC_STR(VC_KIND_VAD),
    .id = VC_STR("org.vchost.vad-silero"),
    .create = provider_create,
    .start = provider_start,
    .destroy = provider_destroy,
    .open = provider_open,
    .kind_ops = &vad_ops,
};

static const vc_provider *const providers[] = {&provider_table};

static const vc_module module_table = {
    .size = sizeof module_table,
    .minor = VC_ABI_MINOR,
    .provider_count = 1,
    .providers = providers,
};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *given, const vc_module **module) {
    host = given;
    *module = &module_table;
    return VC_OK;
}
