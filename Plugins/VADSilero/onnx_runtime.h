/// @file ONNX Runtime's C interface, as far as this plugin uses it.
// SPDX-License-Identifier: Apache-2.0
#ifndef ONNX_RUNTIME_H
#define ONNX_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/*  ONNX Runtime comes as a library without headers (in a Python package, which is the one way that every machine
    has), so its interface is declared here. It is made for that: one exported function hands out a table of
    function pointers, to which versions only ever append, and `get_api(13)` answers NULL when a library does not
    know the table of version 13 (2022-10). Members that are not used are gaps; the asserts hold each used one to
    its place in the table.  */

enum {
    ORT_API_VERSION = 13,
    ORT_LOG_ERROR = 3,
    ORT_ALLOCATOR_ARENA = 1,
    ORT_MEMORY_DEFAULT = 0,
    ORT_TENSOR_FLOAT = 1,
    ORT_TENSOR_INT64 = 7,
    ORT_OPTIMIZE_ALL = 99,
};

typedef struct ort_status ort_status;
typedef struct ort_env ort_env;
typedef struct ort_session ort_session;
typedef struct ort_session_options ort_session_options;
typedef struct ort_memory_info ort_memory_info;
typedef struct ort_value ort_value;

/// Functions that return an `ort_status` return NULL for success.
typedef struct ort_api {
    const void *gap_0[2];
    const char *(*get_error_message)(const ort_status *);
    ort_status *(*create_env)(int log_level, const char *log_id, ort_env **);
    const void *gap_4[3];
    ort_status *(*create_session)(const ort_env *, const char *path, const ort_session_options *, ort_session **);
    const void *gap_8[1];
    ort_status *(*run)(ort_session *, const void *run_options, const char *const *input_names,
                       const ort_value *const *inputs, size_t input_count, const char *const *output_names,
                       size_t output_count, ort_value **outputs);
    ort_status *(*create_session_options)(ort_session_options **);
    const void *gap_11[6];
    ort_status *(*disable_memory_pattern)(ort_session_options *);
    const void *gap_18[5];
    ort_status *(*set_optimization_level)(ort_session_options *, int level);
    ort_status *(*set_intra_op_threads)(ort_session_options *, int count);
    ort_status *(*set_inter_op_threads)(ort_session_options *, int count);
    const void *gap_26[23];
    ort_status *(*create_tensor_with_data)(const ort_memory_info *, void *data, size_t bytes, const int64_t *shape,
                                           size_t dimensions, int element_type, ort_value **);
    const void *gap_50[19];
    ort_status *(*create_cpu_memory_info)(int allocator, int memory, ort_memory_info **);
    const void *gap_70[22];
    void (*release_env)(ort_env *);
    void (*release_status)(ort_status *);
    void (*release_memory_info)(ort_memory_info *);
    void (*release_session)(ort_session *);
    void (*release_value)(ort_value *);
    const void *gap_97[3];
    void (*release_session_options)(ort_session_options *);
} ort_api;

#define ORT_SLOT(member, index) \
    _Static_assert(offsetof(ort_api, member) == (index) * sizeof(void *), #member " is not at its place")
ORT_SLOT(get_error_message, 2);
ORT_SLOT(create_env, 3);
ORT_SLOT(create_session, 7);
ORT_SLOT(run, 9);
ORT_SLOT(create_session_options, 10);
ORT_SLOT(disable_memory_pattern, 17);
ORT_SLOT(set_optimization_level, 23);
ORT_SLOT(set_intra_op_threads, 24);
ORT_SLOT(set_inter_op_threads, 25);
ORT_SLOT(create_tensor_with_data, 49);
ORT_SLOT(create_cpu_memory_info, 69);
ORT_SLOT(release_env, 92);
ORT_SLOT(release_status, 93);
ORT_SLOT(release_memory_info, 94);
ORT_SLOT(release_session, 95);
ORT_SLOT(release_value, 96);
ORT_SLOT(release_session_options, 100);
#undef ORT_SLOT

typedef struct ort_api_base {
    const ort_api *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} ort_api_base;

/// Opens the library and finds the table; NULL on failure, with a sentence in `reason`.
///
/// The library is never closed again: it leaves objects with destructors behind in the process.
const ort_api *ort_open(const char *path, char *reason, size_t reason_size);

#endif
