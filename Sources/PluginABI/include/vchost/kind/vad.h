/// @file Voice activity: is somebody speaking? Many calls in one call. kind "vc.vad/1".
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_KIND_VAD_H
#define VCHOST_KIND_VAD_H

#include "../session.h"

#define VC_KIND_VAD "vc.vad/1"

VC_BEGIN_DECLS

/*  One thread of the host serves a detector: it collects a window of audio from every call that has one, and hands them
    over together, because a model that takes 32 windows at once needs a quarter of the time. A session holds what the
    detector remembers of one call and has no kind_ops. It need not emit anything: it is ready when `open` returned, and
    is destroyed after `close` without waiting for CLOSED. Smoothing, hangover and thresholds are the host's.  */

/// One call's window in a batch.
typedef struct vc_vad_row {
    vc_self session;                     ///< What its `open` left in `state`.
    const int16_t *VC_NULLABLE samples;  ///< `vc_vad_batch.samples` of them; live until the call returns.
    float probability;                   ///< Out: 0 ... 1 that somebody speaks in this window.
    uint32_t flags;                      ///< VC_VAD_ROW_...
} vc_vad_row;

enum {
    VC_VAD_ROW_RESET = 1u << 0, ///< Audio is missing before this window: forget the past first.
};

/// A batch. Each session stands in it at most once.
typedef struct vc_vad_batch {
    uint32_t size;
    uint32_t rate_hz;    ///< Of all rows.
    uint32_t samples;    ///< In each row: the provider's window at that rate.
    uint32_t row_count;  ///< At most 32.
    uint32_t row_stride; ///< Bytes from one row to the next, because `vc_vad_row` may grow.
    uint32_t reserved;
    vc_vad_row *VC_NULLABLE rows;
    uint64_t deadline_ns; ///< On the host's clock. When it has passed, the host uses its own energy detector.
} vc_vad_batch;

/// In `vc_provider.kind_ops`.
typedef struct vc_vad_provider_ops {
    uint32_t size;
    uint32_t window_8k;  ///< Samples in a window at 8 kHz, or 0 when the detector does not take that rate.
    uint32_t window_16k; ///< The same at 16 kHz.
    uint32_t reserved;

    /// Fills in each row's probability. The only slot that works while its caller waits: no lock that another thread
    /// holds for long, no memory taken after the first batch of a size, no I/O.
    vc_status (*VC_NULLABLE process)(vc_self self, const vc_vad_batch *batch) VC_DETECT;
} vc_vad_provider_ops;

VC_END_DECLS

#endif
