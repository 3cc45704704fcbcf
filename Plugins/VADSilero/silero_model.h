/// @file The Silero model: loaded once, run on a batch of calls.
// SPDX-License-Identifier: Apache-2.0
#ifndef SILERO_MODEL_H
#define SILERO_MODEL_H

#include "onnx_runtime.h"

enum {
    SILERO_ROWS_MAX = 32,
    SILERO_WINDOW_8K = 256, ///< 32 ms, the only window the model was trained on; the same at both rates.
    SILERO_WINDOW_16K = 512,
    SILERO_CONTEXT_8K = 32, ///< Samples before the window that the model wants to see again.
    SILERO_CONTEXT_16K = 64,
    SILERO_STATE = 128,
};

/// What the model remembers of one call: 1.3 kB, no pointers.
typedef struct silero_memory {
    float state[2][SILERO_STATE];
    float context[SILERO_CONTEXT_16K];
    uint32_t quiet_windows; ///< So many at the end had no speech at all, since the state was last forgotten.
} silero_memory;

typedef struct silero_row {
    silero_memory *memory;
    const int16_t *samples;
    float probability; ///< Out.
} silero_row;

typedef struct silero_model silero_model;

/// Loads the model and runs it once at every size of a batch, so that no later one takes memory. Takes up to a second.
/// NULL on failure, with a sentence in `reason`.
silero_model *silero_model_load(const char *runtime_path, const char *model_path, char *reason, size_t reason_size);

void silero_model_free(silero_model *model);

/// Forgets a call's past.
void silero_memory_reset(silero_memory *memory);

/// Runs 1 to SILERO_ROWS_MAX windows at 8000 or 16000 Hz together. One thread at a time. False when ONNX Runtime
/// refused, with its words in `reason`; the memories are then as they were.
int silero_model_run(silero_model *model, uint32_t rate_hz, silero_row *rows, uint32_t row_count, char *reason,
                     size_t reason_size);

#endif
