// What a snapshot keeps. Fixed room for everything, in one mapping of its own: a snapshot on the heap would be part of
// what it measures.

#ifndef VCC_STATE_H
#define VCC_STATE_H

#include <locale.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>

#include "snapshot.h"

enum {
    DESCRIPTORS_MAX = 1024,  // the usual RLIMIT_NOFILE; a probe runs with less
    THREADS_MAX = 512,
    CHILDREN_MAX = 64,
    SIGNALS = 64,
    LIMITS = 16,                    // RLIM_NLIMITS
    TARGET_BYTES = 160,             // of what a descriptor refers to; what is longer is cut and compared by its hash
    ENVIRONMENT_BYTES = 256 << 10,  // a probe's is scrubbed; what is beyond is not compared
};

struct descriptor {
    int32_t number;
    int32_t status_flags;      // F_GETFL
    int32_t descriptor_flags;  // F_GETFD
    uint64_t hash;             // of the whole target
    char target[TARGET_BYTES];
};

/// The kernel's struct sigaction: the C library's wrapper hides two signals and rewrites the rest.
struct disposition {
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    uint64_t mask;
};

struct child {
    int32_t id;
    char name[16];
};

struct vcc_snapshot {
    vcc_vitals vitals;
    uint32_t descriptor_count, thread_count, child_count;  // of those kept; the vitals have the full numbers
    struct descriptor descriptors[DESCRIPTORS_MAX];
    vcc_thread threads[THREADS_MAX];
    struct child children[CHILDREN_MAX];
    struct disposition dispositions[SIGNALS];
    uint64_t mask;
    struct rlimit limits[LIMITS];
    int32_t policy, static_priority;
    cpu_set_t affinity;
    uint32_t timers;  // a bit for each of ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF that runs
    char directory[4096];
    char locale[512];
    locale_t thread_locale;
    uint32_t environment_count;
    uint32_t environment_bytes;
    char environment[ENVIRONMENT_BYTES];  // NAME=value, each with its NUL
};

#endif
