// The parent's hold on a probe. posix_spawn and not fork: a fork of a process with threads may do nothing but exec.
//
// The mark is a resource limit because nothing else survives all that a plugin's child may do to be forgotten: a
// session of its own leaves the process group, an exec with a fresh environment leaves the tag, an early death of the
// parents leaves the tree. A limit is inherited by all of them.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/// Below it lie limits that somebody may have set by hand.
enum { MARK_BASE = 4096 };

int vcc_probe_spawn(const vcc_probe_plan *plan, pid_t *child) {
    const int descriptors[] = {plan->standard_output, plan->standard_error, plan->verdict, plan->page, plan->peer};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0) return result;
    result = posix_spawnattr_init(&attributes);
    if (result != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return result;
    }
    result = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    for (int i = 0; i < 5 && result == 0; i++)
        result = posix_spawn_file_actions_adddup2(&actions, descriptors[i], i + 1);
    if (result == 0) result = posix_spawn_file_actions_addclosefrom_np(&actions, 6);
    if (result == 0) result = posix_spawn_file_actions_addchdir_np(&actions, plan->directory);
    // Signals as at the start of a process, whatever the parent ignores or blocks.
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    if (result == 0) result = posix_spawnattr_setsigdefault(&attributes, &all);
    if (result == 0) result = posix_spawnattr_setsigmask(&attributes, &none);
    if (result == 0)
        result = posix_spawnattr_setflags(
            &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (result == 0)
        result = posix_spawn(child, plan->program, &actions, &attributes, plan->arguments, plan->environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

int vcc_child_descriptor(pid_t child) {
    // Closed on exec by definition.
    const int descriptor = pidfd_open(child, 0);
    return descriptor >= 0 ? descriptor : -errno;
}

int vcc_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? 0 : errno; }

int vcc_child_mark(pid_t child, uint32_t mark) {
    struct rlimit limit;
    if (prlimit(child, RLIMIT_MSGQUEUE, NULL, &limit) != 0) return errno;
    limit.rlim_cur = (rlim_t)MARK_BASE + mark;
    return prlimit(child, RLIMIT_MSGQUEUE, &limit, NULL) == 0 ? 0 : errno;
}

static int lower(pid_t child, int resource, rlim_t bound) {
    struct rlimit limit;
    if (prlimit(child, resource, NULL, &limit) != 0) return errno;
    if (limit.rlim_max < bound) bound = limit.rlim_max;
    limit.rlim_cur = limit.rlim_max = bound;
    return prlimit(child, resource, &limit, NULL) == 0 ? 0 : errno;
}

int vcc_child_confine(pid_t child, uint64_t cpu_seconds) {
    int result = lower(child, RLIMIT_CPU, cpu_seconds);
    if (result == 0) result = lower(child, RLIMIT_FSIZE, VCC_FILE_BYTES_MAX);
    if (result == 0) result = lower(child, RLIMIT_DATA, VCC_MEMORY_BYTES_MAX);
    if (result == 0) result = lower(child, RLIMIT_NOFILE, VCC_DESCRIPTORS_MAX);
    if (result == 0) result = lower(child, RLIMIT_CORE, 0);
    return result;
}

int vcc_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 ? 0 : errno; }

bool vcc_is_marked(pid_t process, uint32_t mark) {
    struct rlimit limit;
    return prlimit(process, RLIMIT_MSGQUEUE, NULL, &limit) == 0 && limit.rlim_cur == (rlim_t)MARK_BASE + mark;
}

uint64_t vcc_child_cpu_ns(pid_t child) {
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(child, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
