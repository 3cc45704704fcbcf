/// @file Imports that are counted: which functions of the system a plugin calls, how often, and inside which call.
///
/// After the plugin is loaded, its own relocations of the functions below are redirected to stubs that count and go on
/// to the real function. Only what the plugin itself calls is seen, never the host beside it; LD_PRELOAD or a symbol of
/// the program would see both. Two counts are kept: `armed`, of threads that have armed the watch (so that "an
/// allocation in vad.process" is exactly that), and `total`, of every thread at any time (so that "setenv" is found
/// wherever it is).
///
/// What it does not see: system calls made without the library, functions found by dlsym (dlsym itself is counted), a
/// static copy inside the plugin, and constructors, which run before the watch is there.
#ifndef VCC_WATCH_H
#define VCC_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// What a watched function does; a function may have several of these.
enum {
    VCC_ALLOCATES = 1u << 0,     ///< malloc, operator new, swift_allocObject, strdup, mmap, …
    VCC_RELEASES = 1u << 1,      ///< free, operator delete, munmap.
    VCC_ENDS_PROCESS = 1u << 2,  ///< exit, _exit, abort, quick_exit.
    VCC_SPAWNS = 1u << 3,        ///< fork, execve, posix_spawn, system, popen.
    VCC_SIGNALS = 1u << 4,       ///< Changes dispositions or masks, or sends signals.
    VCC_ENVIRONMENT = 1u << 5,   ///< setenv, putenv, unsetenv, clearenv.
    VCC_LOCALE = 1u << 6,        ///< setlocale, uselocale.
    VCC_PLACE = 1u << 7,         ///< chdir, umask, setrlimit, setpriority and others of the whole process.
    VCC_PRINTS = 1u << 8,        ///< printf, puts, fwrite, write, …
    VCC_SLEEPS = 1u << 9,        ///< nanosleep, usleep, sleep, clock_nanosleep.
    VCC_TELLS_TIME = 1u << 10,   ///< clock_gettime, gettimeofday, time.
    VCC_LOCKS = 1u << 11,        ///< Takes a lock, whether or not it is free.
    VCC_WAITS = 1u << 12,        ///< Waits for another thread or a descriptor: conditions, semaphores, poll, join.
    VCC_THREADS = 1u << 13,      ///< pthread_create, pthread_setname_np, …
    VCC_NETWORK = 1u << 14,      ///< socket, connect, bind, getaddrinfo, …
    VCC_FILES = 1u << 15,        ///< open, fopen, read, unlink, mkdir, …
    VCC_LOADS = 1u << 16,        ///< dlopen, dlclose, dlsym.
    VCC_EXIT_HANDLER = 1u << 17, ///< atexit, __cxa_atexit, on_exit.
    VCC_ANY_CLASS = 0xffffffffu,
};

/// Redirects the imports of one loaded library, from its dlopen handle. Works with full RELRO and with lazy binding, on
/// x86-64 and arm64. Again for the same library is harmless. Returns the number of places redirected, or -1 when the
/// handle is none or its tables cannot be written.
int vcc_watch_install(void *_Nonnull handle);

/// The same for every library that is loaded at this moment but the program, the C library and the dynamic linker: for
/// plugins that allocate through libstdc++ or the shared Swift runtime. Host code that runs while a thread is armed
/// then counts too, so suspend the watch in the host's callbacks.
int vcc_watch_install_libraries(void);

// MARK: Counting

/// Begins and ends the counting of this thread's calls as armed; nests.
void vcc_watch_arm(void);
void vcc_watch_disarm(void);

/// Between these, calls on this thread are neither counted nor failed: around what a plugin asks the host to do. Nests.
void vcc_watch_suspend(void);
void vcc_watch_resume(void);

/// Whether every thread's calls count as armed, plugin's own threads included.
void vcc_watch_arm_everywhere(bool is_on);

/// Sets all counts to zero.
void vcc_watch_reset(void);

/// Calls of one function; 0 for a name that is not watched, "malloc".
uint64_t vcc_watch_armed_count(const char *_Nonnull function);
uint64_t vcc_watch_total_count(const char *_Nonnull function);

/// Calls of all functions that are in any of these classes.
uint64_t vcc_watch_armed_calls(uint32_t classes);
uint64_t vcc_watch_total_calls(uint32_t classes);

/// Whether a name is in the table at all.
bool vcc_watch_knows(const char *_Nonnull function);

/// Which functions of these classes were called, most calls first: "malloc 3 times (first from plugin.so+0x11d4), free
/// 3 times (…)". Cut at `capacity`, always NUL-terminated; returns its length, 0 when there were none.
size_t vcc_watch_report(uint32_t classes, bool is_armed_only, char *_Nonnull text, size_t capacity);

/// How often pthread_mutex_lock found the lock taken while armed: the wait itself, where the call alone may be
/// harmless.
uint64_t vcc_watch_contended_locks(void);

// MARK: Failing and lying

/// Lets allocations of this thread fail while it is armed: the `first`th of them (1 is the next) and `count - 1` after
/// it. malloc and its relatives return NULL with ENOMEM, operator new throws std::bad_alloc. Swift's allocations are
/// counted and never failed, because Swift would trap. `first` 0 ends it.
void vcc_watch_fail_allocations(uint64_t first, uint64_t count);

/// Allocations of this thread while armed since vcc_watch_fail_allocations, failed ones included.
uint64_t vcc_watch_allocations(void);

/// Allocations that were failed, of all threads.
uint64_t vcc_watch_failures(void);

/// Shifts the wall clock that plugins see (CLOCK_REALTIME, gettimeofday, time), in nanoseconds; the monotonic clock
/// stays. A plugin that measures durations with it then shows.
void vcc_watch_shift_wall_clock(int64_t nanoseconds);

#endif
