/*  Silero is a recurrent network: each window's answer depends on a state of 2 × 128 numbers and on the last few
    samples of the window before. Both belong to a call, so a batch gathers them from its calls and scatters them
    back.

    The tensors of every batch size are made once, as views of the same four buffers: a tensor of ONNX Runtime has a
    fixed shape, and making four for each batch would take memory in the one function that may not. The runtime
    itself makes some 400 small, short-lived allocations in a run, which nothing in its interface avoids; with the
    arena they do not hold the tensors. Memory patterns, a plan of the memory for each input shape, make no
    measurable difference here and are off. One thread and no pool: the work of a batch is a few hundred
    microseconds, which is less than waking a second thread costs, and a pool's threads would spin.

    The state must be forgotten now and then: after seconds of noise or music the model answers to speech late (at 8
    kHz, after 8 s of music, 250 ms late instead of 85). Two rules were measured. That of pipecat, every two seconds
    once five windows had no speech, forgets at nearly every pause, and on a quiet line a model with an empty state
    is late itself. Two seconds without any speech, as here, forgets where it is needed and keeps the rest: of 60
    prompts on a quiet line, behind the host's gate, the latest was declared after 107 ms instead of 196 (table in
    README.md). The context stays: it is what was really heard.  */
// SPDX-License-Identifier: Apache-2.0
#include "silero_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RESET_WINDOWS = 63, ///< 2 s.
    INPUT_MAX = SILERO_CONTEXT_16K + SILERO_WINDOW_16K,
};
static const float QUIET_BELOW = 0.1f;

enum { RATE_8K, RATE_16K, RATE_COUNT };

/// The tensors of one batch size at one rate.
typedef struct silero_tensors {
    ort_value *input, *state, *output, *next_state;
} silero_tensors;

struct silero_model {
    const ort_api *api;
    ort_env *env;
    ort_session *session;
    ort_value *rates[RATE_COUNT];
    silero_tensors tensors[RATE_COUNT][SILERO_ROWS_MAX];

    int64_t rate_values[RATE_COUNT];
    float input[SILERO_ROWS_MAX * INPUT_MAX];
    float state[2 * SILERO_ROWS_MAX * SILERO_STATE];
    float next_state[2 * SILERO_ROWS_MAX * SILERO_STATE];
    float output[SILERO_ROWS_MAX];
};

static uint32_t window_of(int rate) { return rate == RATE_8K ? SILERO_WINDOW_8K : SILERO_WINDOW_16K; }
static uint32_t context_of(int rate) { return rate == RATE_8K ? SILERO_CONTEXT_8K : SILERO_CONTEXT_16K; }

/// True for success. Otherwise what ONNX Runtime said, in `reason`.
static int succeeded(const ort_api *api, ort_status *status, const char *what, char *reason, size_t reason_size) {
    if (!status) return 1;
    snprintf(reason, reason_size, "%s: %s", what, api->get_error_message(status));
    api->release_status(status);
    return 0;
}

static int make_tensors(silero_model *model, char *reason, size_t reason_size) {
    const ort_api *api = model->api;
    ort_memory_info *info = NULL;
    if (!succeeded(api, api->create_cpu_memory_info(ORT_ALLOCATOR_ARENA, ORT_MEMORY_DEFAULT, &info), "memory", reason,
                   reason_size))
        return 0;
    ort_status *status = NULL;
    for (int rate = 0; rate < RATE_COUNT && !status; rate++) {
        status = api->create_tensor_with_data(info, &model->rate_values[rate], sizeof(int64_t), NULL, 0,
                                              ORT_TENSOR_INT64, &model->rates[rate]);
        for (int64_t count = 1; count <= SILERO_ROWS_MAX && !status; count++) {
            silero_tensors *made = &model->tensors[rate][count - 1];
            const int64_t input[] = {count, context_of(rate) + window_of(rate)};
            const int64_t state[] = {2, count, SILERO_STATE};
            const int64_t output[] = {count, 1};
            const size_t input_bytes = (size_t)(input[0] * input[1]) * sizeof(float);
            const size_t state_bytes = (size_t)(2 * count * SILERO_STATE) * sizeof(float);
            const size_t output_bytes = (size_t)count * sizeof(float);
            status = api->create_tensor_with_data(info, model->input, input_bytes, input, 2, ORT_TENSOR_FLOAT,
                                                  &made->input);
            if (!status)
                status = api->create_tensor_with_data(info, model->state, state_bytes, state, 3, ORT_TENSOR_FLOAT,
                                                      &made->state);
            if (!status)
                status = api->create_tensor_with_data(info, model->output, output_bytes, output, 2, ORT_TENSOR_FLOAT,
                                                      &made->output);
            if (!status)
                status = api->create_tensor_with_data(info, model->next_state, state_bytes, state, 3,
                                                      ORT_TENSOR_FLOAT, &made->next_state);
        }
    }
    api->release_memory_info(info);
    return succeeded(api, status, "a tensor", reason, reason_size);
}

static int open_model(silero_model *model, const char *path, char *reason, size_t reason_size) {
    const ort_api *api = model->api;
    if (access(path, R_OK) != 0) {
        snprintf(reason, reason_size,
                 "there is no Silero model at %s: run services/setup, or set `model` to silero_vad.onnx's path", path);
        return 0;
    }
    ort_session_options *options = NULL;
    ort_status *status = api->create_env(ORT_LOG_ERROR, "vad-silero", &model->env);
    if (!status) status = api->create_session_options(&options);
    if (!status) status = api->set_intra_op_threads(options, 1);
    if (!status) status = api->set_inter_op_threads(options, 1);
    if (!status) status = api->set_optimization_level(options, ORT_OPTIMIZE_ALL);
    if (!status) status = api->disable_memory_pattern(options);
    if (!status) status = api->create_session(model->env, path, options, &model->session);
    if (options) api->release_session_options(options);
    char what[512];
    snprintf(what, sizeof what, "the model %s cannot be loaded; `model` must name Silero VAD, version 5 or 6", path);
    return succeeded(api, status, what, reason, reason_size);
}

/// Every size once: the arena grows here and nowhere else, and a model with other inputs is found out here.
static int warm_up(silero_model *model, char *reason, size_t reason_size) {
    static const int16_t silence[SILERO_WINDOW_16K];
    silero_memory *memories = calloc(SILERO_ROWS_MAX, sizeof *memories);
    silero_row rows[SILERO_ROWS_MAX];
    int is_warm = memories != NULL;
    if (!is_warm) snprintf(reason, reason_size, "no memory to try the model");
    for (uint32_t count = SILERO_ROWS_MAX; count >= 1 && is_warm; count--)
        for (uint32_t rate_hz = 8000; rate_hz <= 16000 && is_warm; rate_hz += 8000) {
            for (uint32_t row = 0; row < count; row++)
                rows[row] = (silero_row){.memory = &memories[row], .samples = silence};
            is_warm = silero_model_run(model, rate_hz, rows, count, reason, reason_size);
        }
    free(memories);
    return is_warm;
}

silero_model *silero_model_load(const char *runtime_path, const char *model_path, char *reason, size_t reason_size) {
    const ort_api *api = ort_open(runtime_path, reason, reason_size);
    if (!api) return NULL;
    silero_model *model = calloc(1, sizeof *model);
    if (!model) {
        snprintf(reason, reason_size, "no memory for the Silero model");
        return NULL;
    }
    model->api = api;
    model->rate_values[RATE_8K] = 8000;
    model->rate_values[RATE_16K] = 16000;
    if (!open_model(model, model_path, reason, reason_size) || !make_tensors(model, reason, reason_size) ||
        !warm_up(model, reason, reason_size)) {
        silero_model_free(model);
        return NULL;
    }
    return model;
}

void silero_model_free(silero_model *model) {
    if (!model) return;
    const ort_api *api = model->api;
    for (int rate = 0; rate < RATE_COUNT; rate++) {
        if (model->rates[rate]) api->release_value(model->rates[rate]);
        for (int index = 0; index < SILERO_ROWS_MAX; index++) {
            const silero_tensors *made = &model->tensors[rate][index];
            if (made->input) api->release_value(made->input);
            if (made->state) api->release_value(made->state);
            if (made->output) api->release_value(made->output);
            if (made->next_state) api->release_value(made->next_state);
        }
    }
    if (model->session) api->release_session(model->session);
    if (model->env) api->release_env(model->env);
    free(model);
}

void silero_memory_reset(silero_memory *memory) { memset(memory, 0, sizeof *memory); }

/// The model's input of one row: what it wants to see again of the last window, then this one.
static void gather(silero_model *model, int rate, const silero_row *row, uint32_t index, uint32_t row_count) {
    const uint32_t window = window_of(rate), context = context_of(rate);
    float *input = model->input + (size_t)index * (context + window);
    memcpy(input, row->memory->context, context * sizeof(float));
    for (uint32_t n = 0; n < window; n++) input[context + n] = (float)row->samples[n] * (1.0f / 32768.0f);
    for (uint32_t layer = 0; layer < 2; layer++)
        memcpy(model->state + ((size_t)layer * row_count + index) * SILERO_STATE, row->memory->state[layer],
               sizeof row->memory->state[layer]);
}

static void scatter(silero_model *model, int rate, silero_row *row, uint32_t index, uint32_t row_count) {
    const uint32_t window = window_of(rate), context = context_of(rate);
    silero_memory *memory = row->memory;
    const float *input = model->input + (size_t)index * (context + window);
    memcpy(memory->context, input + window, context * sizeof(float));
    for (uint32_t layer = 0; layer < 2; layer++)
        memcpy(memory->state[layer], model->next_state + ((size_t)layer * row_count + index) * SILERO_STATE,
               sizeof memory->state[layer]);
    const float probability = model->output[index];
    row->probability = probability < 0 ? 0 : probability > 1 ? 1 : probability;

    memory->quiet_windows = probability < QUIET_BELOW ? memory->quiet_windows + 1 : 0;
    if (memory->quiet_windows >= RESET_WINDOWS) {
        memset(memory->state, 0, sizeof memory->state);
        memory->quiet_windows = 0;
    }
}

int silero_model_run(silero_model *model, uint32_t rate_hz, silero_row *rows, uint32_t row_count, char *reason,
                     size_t reason_size) {
    static const char *const input_names[] = {"input", "state", "sr"};
    static const char *const output_names[] = {"output", "stateN"};
    const int rate = rate_hz == 8000 ? RATE_8K : RATE_16K;
    const silero_tensors *tensors = &model->tensors[rate][row_count - 1];

    for (uint32_t index = 0; index < row_count; index++) gather(model, rate, &rows[index], index, row_count);
    const ort_value *const inputs[] = {tensors->input, tensors->state, model->rates[rate]};
    ort_value *outputs[] = {tensors->output, tensors->next_state};
    ort_status *status =
        model->api->run(model->session, NULL, input_names, inputs, 3, output_names, 2, outputs);
    if (!succeeded(model->api, status, "the model cannot be run; `model` must name Silero VAD, version 5 or 6", reason,
                   reason_size))
        return 0;
    for (uint32_t index = 0; index < row_count; index++) scatter(model, rate, &rows[index], index, row_count);
    return 1;
}
