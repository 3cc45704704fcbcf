// The wrappers of functions that a stub is not enough for: allocations, which can be made to fail; the clocks, which
// can be shifted; and the lock, of which the wait is told from the call.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "watched.h"

#define CALLER ((uintptr_t)__builtin_return_address(0))
#define REAL(name, type) ((type)atomic_load_explicit(&vcc_real[VCC_AT_##name], memory_order_acquire))

_Atomic uint64_t vcc_contended, vcc_failed;
_Atomic int64_t vcc_wall_shift;

/// Counts an allocation; whether it shall fail.
static bool shall_fail(uint32_t index, uintptr_t caller) {
    struct vcc_watch_thread *thread = &vcc_watch_state;
    if (!vcc_watch_count(index, caller)) return false;
    uint64_t number = ++thread->allocations;
    if (thread->fail_first == 0 || number < thread->fail_first || number > thread->fail_last) return false;
    atomic_fetch_add_explicit(&vcc_failed, 1, memory_order_relaxed);
    return true;
}

static void *refuse(void) {
    errno = ENOMEM;
    return NULL;
}

// What the real function allocates in its turn is not counted again. None of them throws or jumps out.
#define INSIDE(call)                \
    do {                            \
        vcc_watch_state.nested++;   \
        result = (call);            \
        vcc_watch_state.nested--;   \
    } while (0)

#define ALLOCATOR(name, parameters, arguments)                       \
    static void *wrap_##name parameters {                            \
        if (shall_fail(VCC_AT_##name, CALLER)) return refuse();      \
        void *result;                                                \
        INSIDE(REAL(name, void *(*) parameters)arguments);           \
        return result;                                               \
    }

ALLOCATOR(malloc, (size_t bytes), (bytes))
ALLOCATOR(calloc, (size_t count, size_t bytes), (count, bytes))
ALLOCATOR(realloc, (void *old, size_t bytes), (old, bytes))
ALLOCATOR(reallocarray, (void *old, size_t count, size_t bytes), (old, count, bytes))
ALLOCATOR(aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
ALLOCATOR(memalign, (size_t alignment, size_t bytes), (alignment, bytes))
ALLOCATOR(valloc, (size_t bytes), (bytes))
ALLOCATOR(strdup, (const char *text), (text))
ALLOCATOR(strndup, (const char *text, size_t bytes), (text, bytes))
ALLOCATOR(_ZnwmRKSt9nothrow_t, (size_t bytes, const void *tag), (bytes, tag))
ALLOCATOR(_ZnamRKSt9nothrow_t, (size_t bytes, const void *tag), (bytes, tag))

static int wrap_posix_memalign(void **memory, size_t alignment, size_t bytes) {
    if (shall_fail(VCC_AT_posix_memalign, CALLER)) return ENOMEM;
    int result;
    INSIDE(REAL(posix_memalign, int (*)(void **, size_t, size_t))(memory, alignment, bytes));
    return result;
}

/// Throws std::bad_alloc through the frame of the wrapper, which the unwinder knows from its table: there is nothing in
/// it to clean up. Found at run time, since no program in C links libstdc++.
static void *throw_bad_alloc(void) {
    uintptr_t function = vcc_bad_alloc_thrower;
    if (function != 0) ((void (*)(void))function)();
    return refuse();
}

// The real operator new may throw, and an exception would leave `nested` raised; so it is not marked as inside. Its
// malloc is libstdc++'s own, which counts a second time only where libstdc++ is watched too.
static void *wrap__Znwm(size_t bytes) {
    if (shall_fail(VCC_AT__Znwm, CALLER)) return throw_bad_alloc();
    return REAL(_Znwm, void *(*)(size_t))(bytes);
}

static void *wrap__Znam(size_t bytes) {
    if (shall_fail(VCC_AT__Znam, CALLER)) return throw_bad_alloc();
    return REAL(_Znam, void *(*)(size_t))(bytes);
}

// MARK: Clocks

static int64_t wall_shift(void) { return atomic_load_explicit(&vcc_wall_shift, memory_order_relaxed); }

static struct timespec shifted(struct timespec now) {
    int64_t shift = wall_shift();
    now.tv_sec += shift / 1000000000;
    now.tv_nsec += shift % 1000000000;
    if (now.tv_nsec < 0) now.tv_nsec += 1000000000, now.tv_sec--;
    if (now.tv_nsec >= 1000000000) now.tv_nsec -= 1000000000, now.tv_sec++;
    return now;
}

static int wrap_clock_gettime(clockid_t clock, struct timespec *now) {
    vcc_watch_count(VCC_AT_clock_gettime, CALLER);
    int result = REAL(clock_gettime, int (*)(clockid_t, struct timespec *))(clock, now);
    bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
    if (result == 0 && is_wall && wall_shift() != 0) *now = shifted(*now);
    return result;
}

static int wrap_gettimeofday(struct timeval *now, void *zone) {
    vcc_watch_count(VCC_AT_gettimeofday, CALLER);
    int result = REAL(gettimeofday, int (*)(struct timeval *, void *))(now, zone);
    if (result == 0 && now != NULL && wall_shift() != 0) {
        struct timespec wall = shifted((struct timespec){now->tv_sec, now->tv_usec * 1000});
        *now = (struct timeval){wall.tv_sec, wall.tv_nsec / 1000};
    }
    return result;
}

static time_t wrap_time(time_t *now) {
    vcc_watch_count(VCC_AT_time, CALLER);
    time_t result = REAL(time, time_t (*)(time_t *))(NULL) + wall_shift() / 1000000000;
    if (now != NULL) *now = result;
    return result;
}

// MARK: Locks

static int wrap_pthread_mutex_lock(pthread_mutex_t *mutex) {
    bool is_armed = vcc_watch_count(VCC_AT_pthread_mutex_lock, CALLER);
    // A free lock is taken at once, with every answer that the lock itself would give; only a taken one is waited for.
    int result = is_armed ? pthread_mutex_trylock(mutex) : EBUSY;
    if (result != EBUSY) return result;
    if (is_armed) atomic_fetch_add_explicit(&vcc_contended, 1, memory_order_relaxed);
    return REAL(pthread_mutex_lock, int (*)(pthread_mutex_t *))(mutex);
}

#define NONE(name, classes) 0,
#define WRAPPER(name, classes) (uintptr_t)wrap_##name,

uintptr_t vcc_wrapper_of(uint32_t index) {
    static const uintptr_t wrappers[] = {VCC_WATCHED(NONE, WRAPPER)};
    return index < VCC_WATCHED_COUNT ? wrappers[index] : 0;
}
