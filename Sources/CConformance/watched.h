// The table of watched functions, and what its stubs, its wrappers and the counting share.
//
// S is a function that is counted by a stub, whatever its signature; W has a wrapper of its own that can fail or answer
// otherwise. One list, expanded where an enum, the table or the wrappers' declarations are needed.

#ifndef VCC_WATCHED_H
#define VCC_WATCHED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "page.h"
#include "watch.h"

// clang-format off
#define VCC_WATCHED(S, W) \
    W(malloc, VCC_ALLOCATES) W(calloc, VCC_ALLOCATES) W(realloc, VCC_ALLOCATES) W(reallocarray, VCC_ALLOCATES) \
    W(posix_memalign, VCC_ALLOCATES) W(aligned_alloc, VCC_ALLOCATES) W(memalign, VCC_ALLOCATES) \
    W(valloc, VCC_ALLOCATES) W(strdup, VCC_ALLOCATES) W(strndup, VCC_ALLOCATES) \
    W(_Znwm, VCC_ALLOCATES) W(_Znam, VCC_ALLOCATES) \
    W(_ZnwmRKSt9nothrow_t, VCC_ALLOCATES) W(_ZnamRKSt9nothrow_t, VCC_ALLOCATES) \
    S(_ZnwmSt11align_val_t, VCC_ALLOCATES) S(_ZnamSt11align_val_t, VCC_ALLOCATES) \
    S(__strdup, VCC_ALLOCATES) S(asprintf, VCC_ALLOCATES) S(vasprintf, VCC_ALLOCATES) \
    S(__asprintf_chk, VCC_ALLOCATES) S(__vasprintf_chk, VCC_ALLOCATES) \
    S(swift_allocObject, VCC_ALLOCATES) S(swift_slowAlloc, VCC_ALLOCATES) S(swift_slowAllocTyped, VCC_ALLOCATES) \
    S(swift_allocBox, VCC_ALLOCATES) S(swift_allocError, VCC_ALLOCATES) \
    S(mmap, VCC_ALLOCATES) S(mmap64, VCC_ALLOCATES) S(mremap, VCC_ALLOCATES) S(brk, VCC_ALLOCATES) \
    S(sbrk, VCC_ALLOCATES) \
    S(free, VCC_RELEASES) S(cfree, VCC_RELEASES) S(munmap, VCC_RELEASES) \
    S(_ZdlPv, VCC_RELEASES) S(_ZdaPv, VCC_RELEASES) S(_ZdlPvm, VCC_RELEASES) S(_ZdaPvm, VCC_RELEASES) \
    S(_ZdlPvSt11align_val_t, VCC_RELEASES) S(_ZdaPvSt11align_val_t, VCC_RELEASES) \
    S(_ZdlPvmSt11align_val_t, VCC_RELEASES) S(swift_slowDealloc, VCC_RELEASES) \
    S(swift_deallocClassInstance, VCC_RELEASES) \
    S(exit, VCC_ENDS_PROCESS) S(_exit, VCC_ENDS_PROCESS) S(_Exit, VCC_ENDS_PROCESS) \
    S(quick_exit, VCC_ENDS_PROCESS) S(abort, VCC_ENDS_PROCESS) S(__assert_fail, VCC_ENDS_PROCESS) \
    S(fork, VCC_SPAWNS) S(vfork, VCC_SPAWNS) S(_Fork, VCC_SPAWNS) S(clone, VCC_SPAWNS) S(daemon, VCC_SPAWNS) \
    S(posix_spawn, VCC_SPAWNS) S(posix_spawnp, VCC_SPAWNS) S(system, VCC_SPAWNS) S(popen, VCC_SPAWNS) \
    S(execve, VCC_SPAWNS) S(execv, VCC_SPAWNS) S(execvp, VCC_SPAWNS) S(execvpe, VCC_SPAWNS) S(execl, VCC_SPAWNS) \
    S(execlp, VCC_SPAWNS) S(execle, VCC_SPAWNS) S(fexecve, VCC_SPAWNS) S(forkpty, VCC_SPAWNS) \
    S(waitpid, VCC_SPAWNS | VCC_WAITS) S(wait, VCC_SPAWNS | VCC_WAITS) S(wait4, VCC_SPAWNS | VCC_WAITS) \
    S(signal, VCC_SIGNALS) S(sigaction, VCC_SIGNALS) S(sigset, VCC_SIGNALS) S(siginterrupt, VCC_SIGNALS) \
    S(pthread_sigmask, VCC_SIGNALS) S(sigprocmask, VCC_SIGNALS) S(sigaltstack, VCC_SIGNALS) S(raise, VCC_SIGNALS) \
    S(kill, VCC_SIGNALS) S(pthread_kill, VCC_SIGNALS) S(alarm, VCC_SIGNALS) S(setitimer, VCC_SIGNALS) \
    S(setenv, VCC_ENVIRONMENT) S(putenv, VCC_ENVIRONMENT) S(unsetenv, VCC_ENVIRONMENT) \
    S(clearenv, VCC_ENVIRONMENT) \
    S(setlocale, VCC_LOCALE) S(uselocale, VCC_LOCALE) S(newlocale, VCC_LOCALE) \
    S(chdir, VCC_PLACE) S(fchdir, VCC_PLACE) S(chroot, VCC_PLACE) S(umask, VCC_PLACE) S(setrlimit, VCC_PLACE) \
    S(setrlimit64, VCC_PLACE) S(prlimit, VCC_PLACE) S(prlimit64, VCC_PLACE) S(setpriority, VCC_PLACE) \
    S(nice, VCC_PLACE) S(sched_setscheduler, VCC_PLACE) S(sched_setaffinity, VCC_PLACE) S(setsid, VCC_PLACE) \
    S(setpgid, VCC_PLACE) S(setuid, VCC_PLACE) S(setgid, VCC_PLACE) S(prctl, VCC_PLACE) S(tzset, VCC_PLACE) \
    S(printf, VCC_PRINTS) S(__printf_chk, VCC_PRINTS) S(vprintf, VCC_PRINTS) S(__vprintf_chk, VCC_PRINTS) \
    S(fprintf, VCC_PRINTS) S(__fprintf_chk, VCC_PRINTS) S(vfprintf, VCC_PRINTS) S(__vfprintf_chk, VCC_PRINTS) \
    S(dprintf, VCC_PRINTS) S(puts, VCC_PRINTS) S(putchar, VCC_PRINTS) S(fputs, VCC_PRINTS) S(fputc, VCC_PRINTS) \
    S(putc, VCC_PRINTS) S(fwrite, VCC_PRINTS) S(perror, VCC_PRINTS) S(write, VCC_PRINTS) S(writev, VCC_PRINTS) \
    S(pwrite, VCC_PRINTS) S(pwrite64, VCC_PRINTS) S(syslog, VCC_PRINTS) S(fflush, VCC_PRINTS) \
    S(nanosleep, VCC_SLEEPS) S(usleep, VCC_SLEEPS) S(sleep, VCC_SLEEPS) S(clock_nanosleep, VCC_SLEEPS) \
    S(thrd_sleep, VCC_SLEEPS) S(sched_yield, VCC_SLEEPS) S(pause, VCC_SLEEPS) \
    W(clock_gettime, VCC_TELLS_TIME) W(gettimeofday, VCC_TELLS_TIME) W(time, VCC_TELLS_TIME) \
    S(timespec_get, VCC_TELLS_TIME) S(clock, VCC_TELLS_TIME) \
    W(pthread_mutex_lock, VCC_LOCKS) S(pthread_mutex_timedlock, VCC_LOCKS) S(pthread_mutex_trylock, VCC_LOCKS) \
    S(pthread_rwlock_rdlock, VCC_LOCKS) S(pthread_rwlock_wrlock, VCC_LOCKS) S(pthread_spin_lock, VCC_LOCKS) \
    S(mtx_lock, VCC_LOCKS) \
    S(pthread_cond_wait, VCC_WAITS) S(pthread_cond_timedwait, VCC_WAITS) S(pthread_cond_clockwait, VCC_WAITS) \
    S(pthread_barrier_wait, VCC_WAITS) S(pthread_join, VCC_WAITS) S(sem_wait, VCC_WAITS) S(sem_timedwait, VCC_WAITS) \
    S(poll, VCC_WAITS) S(ppoll, VCC_WAITS) S(select, VCC_WAITS) S(epoll_wait, VCC_WAITS) \
    S(dispatch_semaphore_wait, VCC_WAITS) S(dispatch_sync, VCC_WAITS) S(syscall, VCC_WAITS) \
    S(pthread_create, VCC_THREADS) S(thrd_create, VCC_THREADS) S(pthread_setname_np, VCC_THREADS) \
    S(pthread_setschedparam, VCC_THREADS) S(pthread_setaffinity_np, VCC_THREADS) \
    S(socket, VCC_NETWORK) S(socketpair, VCC_NETWORK) S(connect, VCC_NETWORK) S(bind, VCC_NETWORK) \
    S(listen, VCC_NETWORK) S(accept, VCC_NETWORK) S(accept4, VCC_NETWORK) S(send, VCC_NETWORK) \
    S(sendto, VCC_NETWORK) S(sendmsg, VCC_NETWORK) S(recv, VCC_NETWORK) S(recvfrom, VCC_NETWORK) \
    S(recvmsg, VCC_NETWORK) S(getaddrinfo, VCC_NETWORK) S(gethostbyname, VCC_NETWORK) \
    S(open, VCC_FILES) S(open64, VCC_FILES) S(__open_2, VCC_FILES) S(__open64_2, VCC_FILES) S(openat, VCC_FILES) \
    S(openat64, VCC_FILES) S(creat, VCC_FILES) S(fopen, VCC_FILES) S(fopen64, VCC_FILES) S(freopen, VCC_FILES) \
    S(close, VCC_FILES) S(fclose, VCC_FILES) S(read, VCC_FILES) S(__read_chk, VCC_FILES) S(pread, VCC_FILES) \
    S(fread, VCC_FILES) S(unlink, VCC_FILES) S(rename, VCC_FILES) S(mkdir, VCC_FILES) S(rmdir, VCC_FILES) \
    S(mkstemp, VCC_FILES) S(tmpfile, VCC_FILES) S(opendir, VCC_FILES) S(stat, VCC_FILES) S(dup, VCC_FILES) \
    S(dup2, VCC_FILES) S(close_range, VCC_FILES) S(closefrom, VCC_FILES) \
    S(dlopen, VCC_LOADS) S(dlclose, VCC_LOADS) S(dlsym, VCC_LOADS) S(dlmopen, VCC_LOADS) \
    S(atexit, VCC_EXIT_HANDLER) S(__cxa_atexit, VCC_EXIT_HANDLER) S(on_exit, VCC_EXIT_HANDLER) \
    S(at_quick_exit, VCC_EXIT_HANDLER)
// clang-format on

#define VCC_INDEX(name, classes) VCC_AT_##name,
enum { VCC_WATCHED(VCC_INDEX, VCC_INDEX) VCC_WATCHED_COUNT };
#undef VCC_INDEX

/// The stubs in stubs.S: so many, each of so many bytes.
enum { VCC_STUBS = 256, VCC_STUB_BYTES = 16 };
_Static_assert(VCC_WATCHED_COUNT <= VCC_STUBS, "stubs.S has a stub for each watched function");
extern const char vcc_stubs[] __attribute__((visibility("hidden")));

/// The real functions, by index; 0 until an import of one was redirected.
extern _Atomic uintptr_t vcc_real[VCC_WATCHED_COUNT];

/// The counting state of a thread.
struct vcc_watch_thread {
    uint32_t armed;
    uint32_t suspended;
    uint32_t nested;  ///< Inside the real function of a wrapper: what that calls is not the plugin's own doing.
    uint64_t allocations;
    uint64_t fail_first;
    uint64_t fail_last;
};
extern VCC_THREAD_LOCAL struct vcc_watch_thread vcc_watch_state;

/// Counts one call. Returns whether this thread is armed.
bool vcc_watch_count(uint32_t index, uintptr_t caller);

/// Counts one call and returns the function to go on to. Called by the stubs.
uintptr_t vcc_watch_note(uint32_t index, uintptr_t caller);

/// The place of a function in the table, -1 when it is not watched.
int vcc_watched_index(const char *function);

/// The wrapper of a function, 0 when it has none.
uintptr_t vcc_wrapper_of(uint32_t index);

extern _Atomic uint64_t vcc_contended, vcc_failed;
extern _Atomic int64_t vcc_wall_shift;
extern _Atomic bool vcc_everywhere;

/// std::__throw_bad_alloc of the C++ library that a plugin brought, 0 without one.
extern _Atomic uintptr_t vcc_bad_alloc_thrower;

#endif
