/// @file What a worker process needs of Linux: memory shared with the host, a guardian, and last words.
#ifndef CPLATFORM_WORKER_H
#define CPLATFORM_WORKER_H

#include <spawn.h>
#include <stdint.h>
#include <sys/types.h>

// MARK: Words in shared memory

// Swift's atomics are values of their own and cannot be laid over memory that another process writes.

static inline uint32_t vch_load32(const void *_Nonnull word) {
    return __atomic_load_n((const uint32_t *)word, __ATOMIC_ACQUIRE);
}
static inline uint64_t vch_load64(const void *_Nonnull word) {
    return __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE);
}
static inline void vch_store32(void *_Nonnull word, uint32_t value) {
    __atomic_store_n((uint32_t *)word, value, __ATOMIC_RELEASE);
}
static inline void vch_store64(void *_Nonnull word, uint64_t value) {
    __atomic_store_n((uint64_t *)word, value, __ATOMIC_RELEASE);
}
static inline uint32_t vch_exchange32(void *_Nonnull word, uint32_t value) {
    return __atomic_exchange_n((uint32_t *)word, value, __ATOMIC_SEQ_CST);
}
static inline uint32_t vch_add32(void *_Nonnull word, uint32_t value) {
    return __atomic_fetch_add((uint32_t *)word, value, __ATOMIC_SEQ_CST);
}
static inline uint64_t vch_add64(void *_Nonnull word, uint64_t value) {
    return __atomic_fetch_add((uint64_t *)word, value, __ATOMIC_RELAXED);
}
static inline void vch_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/// Sleeps while `*word` is `expected`, at most `timeout_ns`; negative: for ever. Works between processes.
void vch_futex_wait(void *_Nonnull word, uint32_t expected, int64_t timeout_ns);

/// Wakes one who sleeps on `word`.
void vch_futex_wake(void *_Nonnull word);

/// Memory that can be mapped by two processes and whose size neither can change any more, so that nobody can make the
/// other one read beyond its end. Returns a descriptor, or -1.
int vch_memory_file(const char *_Nonnull name, uint64_t bytes);

// MARK: Processes

/// Splits the process in two, and returns in the worker. The other one stays behind as its guardian, with one thread
/// and nothing to do but wait: when the worker ends, or the host does, or it is told to, it ends the worker's process
/// group and then every descendant, those included that left the group with setsid. `life` is its line to the host:
/// "started PID 0 0", then "ended SIGNAL CODE KIB", the most memory that the worker had at a
/// time; the host's end of it is the host's life.
///
/// To be called before the process has a second thread. Returns 0, or the errno of what failed.
int vch_guard(int life);

/// The worker's own limits: no core file, `files` descriptors, `address_bytes` of memory (0: as inherited).
void vch_limit_this_process(uint64_t address_bytes, uint64_t files);

/// Closes what the host had open and did not mean to hand on: `first` and all descriptors above.
void vch_close_from(int first);

/// Has a child that is about to be spawned close `first` and all descriptors above: libraries open some that an exec
/// does not close.
int vch_spawn_close_from(posix_spawn_file_actions_t *_Nonnull actions, int first);

/// A descriptor that stands for a process, and not for whoever has its number later. -1 when it is gone.
int vch_process_open(pid_t process);

/// kill -9 by such a descriptor.
void vch_process_kill(int descriptor);

// MARK: Last words

/// Where a thread is: kept for the crash's report.
void vch_breadcrumb(uint32_t slot, uint64_t object);

enum {
    /// In `vch_last_words.how`.
    VCH_ENDED_BY_SIGNAL = 1,
    VCH_ENDED_BY_EXIT = 2,
};

/// Written into shared memory by the thread that ends the process.
typedef struct vch_last_words {
    uint32_t how;
    uint32_t number; ///< The signal, or the exit code.
    uint32_t slot;
    uint32_t reserved;
    uint64_t object;
} vch_last_words;

/// From here on a crash of this process leaves its last words at `words`, writes a backtrace to `descriptor` and then
/// ends the process as it would have anyway. So does `exit`, but for the backtrace.
void vch_leave_last_words(void *_Nonnull words, int descriptor);

/// Gives the calling thread a stack on which it can still say something when its own has overflowed.
void vch_use_alternate_stack(void);

#endif
