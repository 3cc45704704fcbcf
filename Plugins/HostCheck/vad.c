/*  The detector: somebody speaks when a window is loud.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "hostcheck.h"

enum { WINDOW_8K = 256, WINDOW_16K = 512, ROWS_MAX = 32, LOUD = 400 };

static _Atomic uint64_t batches;

static float probability(const int16_t *samples, uint32_t count) {
    uint64_t sum = 0;
    for (uint32_t index = 0; index < count; index++) sum += (uint64_t)abs(samples[index]);
    return sum / count > LOUD ? 0.95f : 0.02f;
}

static void check_row(provider *provider, const vc_vad_batch *batch, vc_vad_row *row, uint64_t number) {
    session *session = session_of(row->session);
    const object *object = &provider->object;
    if (!session || !row->samples) {
        fault(RULE_BATCH_ROW, object, "a row came without %s", session ? "samples" : "a session of ours");
        return;
    }
    if (!visit(&session->object, SLOT_VAD_PROCESS)) return;
    if (session->provider != provider || session->rate_hz != batch->rate_hz)
        fault(RULE_BATCH_ROW, object, "a session of %u Hz stands in a batch of %u Hz, or is another provider's",
              session->rate_hz, batch->rate_hz);
    if (session->batch == number) fault(RULE_BATCH_TWICE, object, "a session stands in a batch twice");
    session->batch = number;
    if (row->flags & ~(uint32_t)VC_VAD_ROW_RESET)
        fault(RULE_BATCH_ROW, object, "a row has the flags %#x, of which 1.0 knows only 1", row->flags);
    row->probability = probability(row->samples, batch->samples);
    unvisit(&session->object);
}

static vc_status process(vc_self self, const vc_vad_batch *batch) {
    provider *provider = self;
    if (!batch || !provider) {
        count(SLOT_VAD_PROCESS);
        fault(RULE_NULL_POINTER, provider ? &provider->object : NULL, "process came without a batch or a provider");
        return VC_E_ARGUMENT;
    }
    if (!visit(&provider->object, SLOT_VAD_PROCESS)) return VC_E_STATE;
    const uintptr_t thread = (uintptr_t)pthread_self();
    uintptr_t known = 0;
    if (!atomic_compare_exchange_strong(&provider->detector, &known, thread) && known != thread)
        fault(RULE_DETECT_THREAD, &provider->object, "process was called by a second thread");
    const uint32_t window = batch->rate_hz == 8000 ? WINDOW_8K : batch->rate_hz == 16000 ? WINDOW_16K : 0;
    vc_status status = VC_E_ARGUMENT;
    check_struct(&provider->object, "vc_vad_batch", batch->size, 40);
    if (batch->reserved) fault(RULE_RESERVED, &provider->object, "vc_vad_batch.reserved is %u", batch->reserved);
    if (window == 0 || batch->samples != window || batch->row_count == 0 || batch->row_count > ROWS_MAX ||
        !batch->rows ||
        batch->row_stride < 24 || batch->row_stride % 8 || batch->deadline_ns == 0)
        fault(RULE_BATCH, &provider->object,
              "a batch of %u rows of %u samples at %u Hz, stride %u, deadline %llu, rows %p",
              batch->row_count, batch->samples, batch->rate_hz, batch->row_stride,
                  (unsigned long long)batch->deadline_ns,
              (void *)batch->rows);
    else {
        const uint64_t number = atomic_fetch_add(&batches, 1) + 1;
        for (uint32_t index = 0; index < batch->row_count; index++)
            check_row(provider, batch, (vc_vad_row *)((char *)batch->rows + (size_t)index * batch->row_stride), number);
        status = VC_OK;
    }
    unvisit(&provider->object);
    return status;
}

const vc_vad_provider_ops vad_ops = {
    .size = sizeof vad_ops, .window_8k = WINDOW_8K, .window_16k = WINDOW_16K, .process = process};
