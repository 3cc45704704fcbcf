// Taking a snapshot: /proc and a few system calls, read into fixed room through buffers on the stack. opendir and stdio
// are avoided because both allocate.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "page.h"
#include "state.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

_Static_assert(LIMITS == RLIM_NLIMITS, "all limits are kept");

extern char **environ;

// MARK: Reading /proc

/// Reads a whole small file; what does not fit is left out. Always NUL-terminated; 0 when it cannot be read.
static size_t read_text(const char *path, char *text, size_t capacity) {
    size_t length = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    while (file >= 0 && length + 1 < capacity) {
        ssize_t count = read(file, text + length, capacity - 1 - length);
        if (count <= 0) break;
        length += (size_t)count;
    }
    if (file >= 0) close(file);
    text[length] = 0;
    return length;
}

/// The text after `label` at the beginning of a line, NULL when there is no such line.
static const char *after(const char *text, const char *label) {
    size_t length = strlen(label);
    for (const char *line = text; line != NULL && *line != 0;) {
        if (strncmp(line, label, length) == 0) return line + length;
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    return NULL;
}

static uint64_t number_after(const char *text, const char *label, int base) {
    const char *at = after(text, label);
    return at != NULL ? strtoull(at, NULL, base) : 0;
}

static void make_path(char *path, size_t capacity, const char *before, uint64_t number, const char *behind) {
    vcc_text text;
    vcc_text_begin(&text, path, capacity);
    vcc_text_add(&text, before);
    vcc_text_add_number(&text, number);
    vcc_text_add(&text, behind);
}

/// Calls `visit` with each number that is an entry of a directory.
static void each_number(const char *path, void (*visit)(vcc_snapshot *, uint64_t, int), vcc_snapshot *snapshot) {
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    _Alignas(struct dirent64) char entries[8192];
    for (;;) {
        long count = syscall(SYS_getdents64, directory, entries, sizeof entries);
        if (count <= 0) break;
        for (long at = 0; at < count;) {
            const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
            at += entry->d_reclen;
            if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
            visit(snapshot, strtoull(entry->d_name, NULL, 10), directory);
        }
    }
    close(directory);
}

// MARK: Lists

static uint64_t hash_of(const char *text, size_t length) {
    uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ull;
    return hash;
}

static void add_descriptor(vcc_snapshot *snapshot, uint64_t number, int directory) {
    if ((int)number == directory) return;
    snapshot->vitals.descriptors++;
    if (snapshot->descriptor_count == DESCRIPTORS_MAX) return;
    struct descriptor *descriptor = &snapshot->descriptors[snapshot->descriptor_count++];
    char path[64], target[4096];
    make_path(path, sizeof path, "/proc/self/fd/", number, "");
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    descriptor->number = (int32_t)number;
    descriptor->status_flags = fcntl((int)number, F_GETFL);
    descriptor->descriptor_flags = fcntl((int)number, F_GETFD);
    descriptor->hash = hash_of(target, strlen(target));
    vcc_copy_text(descriptor->target, target, sizeof descriptor->target);
}

static void add_children_of(vcc_snapshot *snapshot, uint64_t thread) {
    char path[64], list[2048];
    make_path(path, sizeof path, "/proc/self/task/", thread, "/children");
    read_text(path, list, sizeof list);
    char *at = list;
    for (;;) {
        char *end;
        uint64_t id = strtoull(at, &end, 10);
        if (end == at) return;
        at = end;
        snapshot->vitals.children++;
        if (snapshot->child_count == CHILDREN_MAX) continue;
        struct child *child = &snapshot->children[snapshot->child_count++];
        child->id = (int32_t)id;
        make_path(path, sizeof path, "/proc/", id, "/comm");
        read_text(path, child->name, sizeof child->name);
        child->name[strcspn(child->name, "\n")] = 0;
    }
}

static void add_thread(vcc_snapshot *snapshot, uint64_t id, int directory) {
    (void)directory;
    char path[64], text[4096];
    add_children_of(snapshot, id);
    make_path(path, sizeof path, "/proc/self/task/", id, "/stat");
    if (read_text(path, text, sizeof text) == 0) return;  // ended meanwhile
    // "id (name) state ppid pgrp session tty tpgid flags …": the name may hold spaces and brackets.
    const char *fields = strrchr(text, ')');
    if (fields == NULL) return;
    for (int skipped = 0; skipped < 7 && fields != NULL; skipped++) fields = strchr(fields + 1, ' ');
    uint64_t flags = fields != NULL ? strtoull(fields, NULL, 10) : 0;
    bool is_ending = (flags & 0x4) != 0;  // PF_EXITING, include/linux/sched.h
    if (!is_ending) snapshot->vitals.threads++;
    if (snapshot->thread_count == THREADS_MAX) return;
    vcc_thread *thread = &snapshot->threads[snapshot->thread_count++];
    *thread = (vcc_thread){0};
    thread->id = (int32_t)id;
    thread->is_ending = is_ending;
    make_path(path, sizeof path, "/proc/self/task/", id, "/status");
    read_text(path, text, sizeof text);
    thread->blocked = number_after(text, "SigBlk:\t", 16);
    const char *name = after(text, "Name:\t");
    if (name == NULL) return;
    size_t length = strcspn(name, "\n");
    if (length > sizeof thread->name - 1) length = sizeof thread->name - 1;
    memcpy(thread->name, name, length);
}

static void add_environment(vcc_snapshot *snapshot) {
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        size_t bytes = strlen(*entry) + 1;
        if (snapshot->environment_bytes + bytes > ENVIRONMENT_BYTES) return;
        memcpy(snapshot->environment + snapshot->environment_bytes, *entry, bytes);
        snapshot->environment_bytes += (uint32_t)bytes;
        snapshot->environment_count++;
    }
}

// MARK: Single values

#if defined(__x86_64__)

static void add_floating_point(vcc_vitals *vitals) {
    uint16_t control;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    vitals->x87_control = control;
    vitals->fp_control = _mm_getcsr() & 0xffc0;  // without the six sticky flags
}

bool vcc_flush_denormals(bool is_on) {
    uint32_t control = _mm_getcsr(), both = 0x8040;  // flush to zero, denormals are zero
    _mm_setcsr(is_on ? control | both : control & ~both);
    return (control & both) == both;
}

#elif defined(__aarch64__)

static void add_floating_point(vcc_vitals *vitals) {
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    vitals->fp_control = (uint32_t)control;
}

bool vcc_flush_denormals(bool is_on) {
    uint64_t control, flush = 1ull << 24;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("msr fpcr, %0" : : "r"(is_on ? control | flush : control & ~flush));
    return (control & flush) != 0;
}

#else
#error "the floating-point control word is known for x86-64 and arm64 only"
#endif

uint64_t vcc_heap_bytes_in_use(void) {
    struct mallinfo2 heap = mallinfo2();
    return heap.uordblks + heap.hblkhd;
}

static uint64_t cpu_ns(clockid_t clock) {
    struct timespec time;
    return clock_gettime(clock, &time) == 0 ? (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec : 0;
}

uint64_t vcc_process_cpu_ns(void) { return cpu_ns(CLOCK_PROCESS_CPUTIME_ID); }
uint64_t vcc_thread_cpu_ns(void) { return cpu_ns(CLOCK_THREAD_CPUTIME_ID); }

static void add_memory(vcc_vitals *vitals) {
    char text[8192];
    read_text("/proc/self/smaps_rollup", text, sizeof text);
    vitals->private_dirty_kib = number_after(text, "Private_Dirty:", 10);
    vitals->resident_kib = number_after(text, "Rss:", 10);
    read_text("/proc/self/io", text, sizeof text);
    vitals->written_bytes = number_after(text, "wchar:", 10);
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t count; maps >= 0 && (count = read(maps, text, sizeof text)) > 0;) {
        for (ssize_t i = 0; i < count; i++) vitals->mappings += text[i] == '\n';
    }
    if (maps >= 0) close(maps);
}

static void add_process(vcc_snapshot *snapshot) {
    char text[4096];
    read_text("/proc/self/status", text, sizeof text);
    snapshot->vitals.umask = (uint32_t)number_after(text, "Umask:\t", 8);
    for (int number = 1; number <= SIGNALS; number++) {
        syscall(SYS_rt_sigaction, number, NULL, &snapshot->dispositions[number - 1], sizeof(uint64_t));
    }
    syscall(SYS_rt_sigprocmask, 0, NULL, &snapshot->mask, sizeof snapshot->mask);
    for (int which = 0; which < LIMITS; which++) getrlimit((__rlimit_resource_t)which, &snapshot->limits[which]);
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
        struct itimerval timer = {0};
        getitimer((__itimer_which_t)which, &timer);
        if (timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0) snapshot->timers |= 1u << which;
    }
    if (getcwd(snapshot->directory, sizeof snapshot->directory) == NULL) {
        vcc_copy_text(snapshot->directory, "(gone)", sizeof snapshot->directory);
    }
    const char *locale = setlocale(LC_ALL, NULL);
    vcc_copy_text(snapshot->locale, locale != NULL ? locale : "", sizeof snapshot->locale);
    snapshot->thread_locale = uselocale((locale_t)0);
    struct sched_param parameters = {0};
    snapshot->policy = sched_getscheduler(0);
    sched_getparam(0, &parameters);
    snapshot->static_priority = parameters.sched_priority;
    sched_getaffinity(0, sizeof snapshot->affinity, &snapshot->affinity);
    snapshot->vitals.nice_value = getpriority(PRIO_PROCESS, 0);
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    snapshot->vitals.minor_faults = (uint64_t)usage.ru_minflt;
}

static vcc_vitals measure(void) {
    vcc_vitals vitals = {0};
    vitals.process_cpu_ns = vcc_process_cpu_ns();
    vitals.thread_cpu_ns = vcc_thread_cpu_ns();
    vitals.heap_bytes = vcc_heap_bytes_in_use();
    add_floating_point(&vitals);
    add_memory(&vitals);
    return vitals;
}

static void fill(vcc_snapshot *snapshot, vcc_vitals vitals) {
    snapshot->vitals = vitals;
    int reason = errno;
    each_number("/proc/self/fd", add_descriptor, snapshot);
    each_number("/proc/self/task", add_thread, snapshot);
    add_environment(snapshot);
    add_process(snapshot);
    errno = reason;
}

vcc_snapshot *vcc_snapshot_take(void) {
    // Before the mapping, so that it does not count itself.
    vcc_vitals vitals = measure();
    vcc_snapshot *snapshot =
        mmap(NULL, sizeof *snapshot, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (snapshot == MAP_FAILED) return NULL;
    fill(snapshot, vitals);
    return snapshot;
}

vcc_vitals vcc_vitals_take(void) {
    // In static memory: after the first time it costs no page more.
    static vcc_snapshot scratch;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    vcc_vitals measured = measure();
    scratch.descriptor_count = scratch.thread_count = scratch.child_count = 0;
    scratch.environment_count = scratch.environment_bytes = 0;
    fill(&scratch, measured);
    vcc_vitals vitals = scratch.vitals;
    pthread_mutex_unlock(&lock);
    return vitals;
}

void vcc_snapshot_free(vcc_snapshot *snapshot) {
    if (snapshot != NULL) munmap(snapshot, sizeof *snapshot);
}

vcc_vitals vcc_snapshot_vitals(const vcc_snapshot *snapshot) { return snapshot->vitals; }

bool vcc_snapshot_thread(const vcc_snapshot *snapshot, uint32_t index, vcc_thread *thread) {
    if (index >= snapshot->thread_count) return false;
    *thread = snapshot->threads[index];
    return true;
}
