// The other side of the line: a recogniser that takes every frame and knows nothing, and that emits on request, so that
// both directions can be timed without anything behind them.
#include "vchost/vchost.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

VC_MANIFEST(
    "{\"manifest\":1,\"id\":\"org.vchost.benchmark-line\",\"version\":\"1.0.0\",\"title\":\"The plugin line, timed\","
    "\"license\":\"Apache-2.0\",\"abi\":{\"major\":1,\"minor\":0,\"hostMinorMin\":0},\"runtime\":{\"language\":\"c\"},"
    "\"providers\":[{\"kind\":\"vc.stt/1\",\"id\":\"org.vchost.benchmark-line\","
    "\"capabilities\":{\"rates\":[8000],\"tentative\":true}}]}");

static const vc_host *host;
typedef struct session { vc_handle handle; uint64_t samples; } session;

static void plain(const session *s, uint32_t type) {
    const vc_event e = { .size = sizeof e, .type = type };
    host->emit(s->handle, &e);
}

static vc_status push(vc_self self, const vc_frame *frame) {
    ((session *)self)->samples += frame->samples;
    return VC_OK;
}

// In a worker: how long each frame was on its way, from the host's taking it up to here. One thread calls all slots.
static const char *result_path;
static uint32_t ways[1 << 20], way_count;

static vc_status timed_push(vc_self self, const vc_frame *frame) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    if (way_count < sizeof ways / sizeof ways[0]) ways[way_count++] = (uint32_t)(ns - frame->captured_ns);
    return push(self, frame);
}

static int by_size(const void *a, const void *b) {
    const uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return (one > other) - (one < other);
}

static void write_ways(void) {
    FILE *file = result_path ? fopen(result_path, "w") : NULL;
    if (!file) return;
    qsort(ways, way_count, sizeof ways[0], by_size);
    fprintf(file, "%u %u %u %u\n", way_count, way_count ? ways[way_count / 2] : 0,
            way_count ? ways[(uint64_t)way_count * 99 / 100] : 0, way_count ? ways[way_count - 1] : 0);
    fclose(file);
}

static vc_status (*volatile bare)(vc_self, const vc_frame *) = push;

// `request` says how often: emitted so many times, or, tentatively, the bare call made so many times.
static vc_status finalize(vc_self self, uint64_t request, uint64_t position, uint32_t flags) {
    (void)position;
    const vc_frame frame = { .size = sizeof frame, .samples = 160 };
    for (uint64_t i = 0; i < request; i++) {
        if (flags & VC_STT_TENTATIVE) bare(self, &frame);
        else plain(self, VC_EVENT_CANCELED);
    }
    return VC_OK;
}

static vc_status begin(vc_self self, uint64_t utterance, uint64_t position) {
    (void)self, (void)utterance, (void)position;
    return VC_OK;
}
static const vc_stt_ops stt = { .size = sizeof stt, .begin = begin, .push = push, .finalize = finalize };
static const vc_stt_ops timed_stt = { .size = sizeof stt, .begin = begin, .push = timed_push, .finalize = finalize };
static void cancel(vc_self self, uint64_t epoch) { (void)self, (void)epoch; }
static void close_(vc_self self) { plain(self, VC_EVENT_CLOSED); }
static const vc_session_ops ops = { .size = sizeof ops, .cancel = cancel, .close = close_, .destroy = free };

static vc_status open_(vc_self provider, const vc_open *request, vc_session *out, vc_error *error) {
    (void)provider, (void)error;
    session *s = calloc(1, sizeof *s);
    if (!s) return VC_E_MEMORY;
    s->handle = request->session;
    out->state = s, out->ops = &ops, out->kind_ops = result_path ? &timed_stt : &stt;
    plain(s, VC_EVENT_READY);
    return VC_OK;
}

static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
    (void)request, (void)error;
    *self = NULL;
    result_path = getenv("VCHOST_LINE_RESULT");
    return VC_OK;
}
static void destroy(vc_self self) {
    (void)self;
    write_ways();
}
static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR("vc.stt/1"), .id = VC_STR("org.vchost.benchmark-line"),
    .create = create, .destroy = destroy, .open = open_ };
static const vc_provider *const providers[] = { &provider };
static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
    host = the_host;
    *module = &module_;
    return VC_OK;
}
