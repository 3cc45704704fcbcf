// The guardian, and the handler of a dying worker. In C, because both run where Swift must not: the guardian is one
// half of a fork, and the handler interrupts whatever crashed.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "worker.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// MARK: Shared memory

void vch_futex_wait(void *word, uint32_t expected, int64_t timeout_ns) {
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
}

void vch_futex_wake(void *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }

int vch_memory_file(const char *name, uint64_t bytes) {
    int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return -1;
    if (ftruncate(file, (off_t)bytes) == 0 && fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return file;
    close(file);
    return -1;
}

// MARK: The guardian

static void say(int life, const char *what, int first, int second, long third) {
    char line[96];
    int length = snprintf(line, sizeof line, "%s %d %d %ld\n", what, first, second, third);
    // Whoever does not read it is gone; there is nobody to tell.
    (void)!write(life, line, (size_t)length);
}

/// Ends every child of this process. Returns how many there were.
static int kill_children(void) {
    int found = 0;
    DIR *processes = opendir("/proc");
    if (processes == NULL) return 0;
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        pid_t process = (pid_t)atoi(entry->d_name);
        if (process <= 1) continue;
        char path[64], line[512];
        snprintf(path, sizeof path, "/proc/%d/stat", process);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        ssize_t length = read(file, line, sizeof line - 1);
        close(file);
        if (length <= 0) continue;
        line[length] = 0;
        // "PID (NAME) STATE PARENT ...", and NAME may hold anything, a parenthesis too.
        char *end = strrchr(line, ')');
        char state;
        int parent;
        if (end != NULL && sscanf(end + 1, " %c %d", &state, &parent) == 2 && parent == getpid()) {
            kill(process, SIGKILL);
            found++;
        }
    }
    closedir(processes);
    return found;
}

/// Whoever loses its parent below us becomes our child: so it goes on until there is none.
static void end_descendants(void) {
    for (int round = 0; round < 2000; round++) {
        kill_children();
        pid_t reaped;
        while ((reaped = waitpid(-1, NULL, WNOHANG)) > 0) {}
        if (reaped < 0 && errno == ECHILD) return;
        usleep(1000);
    }
}

static void close_all_but(int kept, int also) {
    if (kept > also) {
        int other = kept;
        kept = also;
        also = other;
    }
    close_range(3, (unsigned)kept - 1, 0);
    if (kept + 1 <= also - 1) close_range((unsigned)kept + 1, (unsigned)also - 1, 0);
    close_range((unsigned)also + 1, UINT_MAX, 0);
}

static _Noreturn void guard(int life, pid_t worker, int children) {
    prctl(PR_SET_NAME, "vchost-guardian");
    int null = open("/dev/null", O_RDWR);
    for (int file = 0; file < 3; file++) dup2(null, file);
    close_all_but(life, children);
    say(life, "started", worker, 0, 0);
    int status = 0, is_over = 0;
    struct rusage used = {0};
    while (!is_over) {
        struct pollfd waiting[2] = {{.fd = children, .events = POLLIN}, {.fd = life, .events = POLLIN | POLLRDHUP}};
        if (poll(waiting, 2, -1) < 0 && errno != EINTR) break;
        struct signalfd_siginfo which;
        while (read(children, &which, sizeof which) == (ssize_t)sizeof which) {}
        int one;
        struct rusage its;
        for (pid_t reaped; (reaped = wait4(-1, &one, WNOHANG, &its)) > 0;) {
            if (reaped != worker) continue;
            status = one;
            used = its;
            is_over = 1;
        }
        if (!is_over && waiting[1].revents != 0) {
            kill(worker, SIGKILL);
            wait4(worker, &status, 0, &used);
            is_over = 1;
        }
    }
    kill(-worker, SIGKILL);
    say(life, "ended", WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        used.ru_maxrss);
    end_descendants();
    _exit(0);
}

int vch_guard(int life) {
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return errno;
    sigset_t child, before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    int children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0) return errno;
    pid_t guardian = getpid();
    pid_t worker = fork();
    if (worker < 0) return errno;
    if (worker > 0) {
        setpgid(worker, worker);
        guard(life, worker, children);
    }
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(children);
    close(life);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // It may have died before we asked to be told.
    if (getppid() != guardian) _exit(0);
    return 0;
}

static void limit(int what, uint64_t value) {
    struct rlimit old;
    if (getrlimit((__rlimit_resource_t)what, &old) != 0) return;
    if (old.rlim_max != RLIM_INFINITY && value > old.rlim_max) value = old.rlim_max;
    struct rlimit ours = {.rlim_cur = value, .rlim_max = value};
    setrlimit((__rlimit_resource_t)what, &ours);
}

void vch_limit_this_process(uint64_t address_bytes, uint64_t files) {
    limit(RLIMIT_CORE, 0);
    if (files > 0) limit(RLIMIT_NOFILE, files);
    if (address_bytes > 0) limit(RLIMIT_AS, address_bytes);
}

void vch_close_from(int first) { close_range((unsigned)first, UINT_MAX, 0); }

int vch_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int vch_process_open(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

void vch_process_kill(int descriptor) { syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, NULL, 0); }

// MARK: Last words

static _Thread_local struct {
    uint32_t slot;
    uint64_t object;
} here;

static struct {
    vch_last_words *words;
    int descriptor;
} last;

void vch_breadcrumb(uint32_t slot, uint64_t object) {
    here.slot = slot;
    here.object = object;
}

/// The first thread that dies speaks; those that die of its death do not.
static int write_words(uint32_t how, uint32_t number) {
    uint32_t nobody = 0;
    if (!__atomic_compare_exchange_n(&last.words->how, &nobody, how, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 0;
    last.words->number = number;
    last.words->slot = here.slot;
    last.words->object = here.object;
    return 1;
}

static void on_crash(int signal_number) {
    if (write_words(VCH_ENDED_BY_SIGNAL, (uint32_t)signal_number)) {
        void *frames[48];
        int count = backtrace(frames, 48);
        backtrace_symbols_fd(frames, count, last.descriptor);
    }
    // The handler was for once: returning runs into the fault again, and raising is for those that came from outside.
    raise(signal_number);
}

static void on_leaving(int code, void *nothing) {
    (void)nothing;
    write_words(VCH_ENDED_BY_EXIT, (uint32_t)code);
    // Not through the destructors of libraries that still have threads.
    _exit(code);
}

void vch_leave_last_words(void *words, int descriptor) {
    last.words = words;
    last.descriptor = descriptor;
    // The first call loads the unwinder, which must not happen in a handler.
    void *frames[4];
    backtrace(frames, 4);
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_ONSTACK | SA_NODEFER};
    const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaction(signals[i], &action, NULL);
    on_exit(on_leaving, NULL);
}

void vch_use_alternate_stack(void) {
    const size_t bytes = 64 << 10;
    void *memory = malloc(bytes);
    if (memory == NULL) return;
    stack_t stack = {.ss_sp = memory, .ss_size = bytes};
    sigaltstack(&stack, NULL);
}
