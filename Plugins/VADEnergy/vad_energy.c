/*  The plugin around the detector: a provider without settings, sessions without events.

    Nothing here can fail but memory, needs no service of the host, and takes no lock: a session's memory is touched by
    `open`, `process` and `destroy`, of which the contract lets no two run at once.  */
// SPDX-License-Identifier: Apache-2.0
#include "energy_detector.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <vchost/vchost.h>

static const vc_host *host;

typedef struct session {
    energy_detector detector;
    uint32_t rate_hz;
    vc_handle handle;
    _Atomic uint64_t epoch;
} session;

static vc_status refuse(vc_error *error, vc_status code, vc_str message) {
    error->code = code;
    error->message = message;
    return code;
}

/// Nothing of a window outlives `process`, so an epoch is over as soon as it is said to be.
static void session_cancel(vc_self self, uint64_t epoch) {
    session *session = self;
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
    session *session = self;
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

/// One detector for the plugin: it has no settings, so every provider is the same.
static int the_provider;

static vc_status provider_create(const vc_create *request, vc_self *self, vc_error *error) {
    (void)request, (void)error;
    *self = &the_provider;
    return VC_OK;
}

static void provider_destroy(vc_self self) { (void)self; }

static vc_status provider_open(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)self;
    if (request->rate_hz != 8000 && request->rate_hz != 16000)
        return refuse(error, VC_E_ARGUMENT, (vc_str)VC_STR("the energy detector takes 8000 or 16000 Hz, nothing else"));
    session *session = malloc(sizeof *session);
    if (!session) return refuse(error, VC_E_MEMORY, (vc_str)VC_STR("no memory for the energy detector's session"));
    energy_detector_reset(&session->detector);
    session->rate_hz = request->rate_hz;
    session->handle = request->session;
    atomic_init(&session->epoch, request->epoch);
    out->state = session;
    out->ops = &session_ops;
    out->kind_ops = NULL;
    return VC_OK;
}

static vc_status provider_process(vc_self self, const vc_vad_batch *batch) {
    (void)self;
    const uint32_t window = batch->rate_hz == 8000    ? ENERGY_WINDOW_8K
                            : batch->rate_hz == 16000 ? ENERGY_WINDOW_16K
                                                      : 0;
    if (window == 0 || batch->samples != window || (batch->row_count > 0 && !batch->rows)) return VC_E_ARGUMENT;
    for (uint32_t index = 0; index < batch->row_count; index++) {
        vc_vad_row *row = (vc_vad_row *)((char *)batch->rows + (size_t)index * batch->row_stride);
        session *session = row->session;
        if (!session || !row->samples || session->rate_hz != batch->rate_hz) return VC_E_ARGUMENT;
        if (row->flags & VC_VAD_ROW_RESET) energy_detector_reset(&session->detector);
        row->probability = energy_detector_process(&session->detector, row->samples, batch->rate_hz);
    }
    return VC_OK;
}

static const vc_vad_provider_ops vad_ops = {
    .size = sizeof vad_ops,
    .window_8k = ENERGY_WINDOW_8K,
    .window_16k = ENERGY_WINDOW_16K,
    .process = provider_process,
};

static const vc_provider provider = {
    .size = sizeof provider,
    .kind = VC_STR(VC_KIND_VAD),
    .id = VC_STR("org.vchost.vad-energy"),
    .create = provider_create,
    .destroy = provider_destroy,
    .open = provider_open,
    .kind_ops = &vad_ops,
};

static const vc_provider *const providers[] = {&provider};

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
