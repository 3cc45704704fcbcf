// Finds the runtime and asks it for the one version of its table that the header declares; what is missing has a
// sentence with the mend.
// SPDX-License-Identifier: Apache-2.0
#include "onnx_runtime.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

const ort_api *ort_open(const char *path, char *reason, size_t reason_size) {
    if (access(path, R_OK) != 0) {
        snprintf(reason, reason_size,
                 "there is no ONNX Runtime at %s: run services/setup, or set `runtime` to its path", path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(reason, reason_size, "ONNX Runtime cannot be loaded: %s; set `runtime` to one for this machine",
                 dlerror());
        return NULL;
    }
    const ort_api_base *(*get_base)(void);
    *(void **)&get_base = dlsym(library, "OrtGetApiBase");
    const ort_api_base *base = get_base ? get_base() : NULL;
    if (!base) {
        snprintf(reason, reason_size, "%s is not ONNX Runtime: it has no OrtGetApiBase; correct `runtime`", path);
        return NULL;
    }
    const ort_api *api = base->get_api(ORT_API_VERSION);
    if (!api)
        snprintf(reason, reason_size, "ONNX Runtime %s at %s is too old: 1.13 or newer is needed; correct `runtime`",
                 base->get_version(), path);
    return api;
}
