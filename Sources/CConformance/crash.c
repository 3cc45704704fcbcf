// The handler runs on an alternate stack, in a process that is already broken: it makes two system calls (the thread's
// id and name), touches static memory only, and dies of the same signal with the default action. A second thread that
// crashes meanwhile waits for the first to finish its report; a second fault in the handler itself kills the process at
// once, since every signal is blocked there.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "crash.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "guarded.h"
#include "page.h"

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
enum { CRASH_SIGNALS = sizeof crash_signals / sizeof crash_signals[0] };

/// Frames of a signal with AVX-512 state take 3 KiB; the rest is room for the handler.
enum { ALTERNATE_STACK_BYTES = 64 << 10 };

static _Atomic uintptr_t image_start, image_end;
static pthread_key_t stack_key;
static pthread_once_t stack_key_once = PTHREAD_ONCE_INIT;

// MARK: What the machine says about a fault

struct machine {
    uint64_t instruction, stack;
    vcc_access access;
};

#if defined(__x86_64__)

static struct machine machine_of(const ucontext_t *context) {
    const greg_t *registers = context->uc_mcontext.gregs;
    struct machine machine = {(uint64_t)registers[REG_RIP], (uint64_t)registers[REG_RSP], VCC_ACCESS_UNKNOWN};
    // A page fault (14) says in its error code what was tried: bit 4 fetch, bit 1 write (Intel SDM volume 3, 4.7).
    if (registers[REG_TRAPNO] == 14) {
        uint64_t error = (uint64_t)registers[REG_ERR];
        machine.access = error & 16 ? VCC_ACCESS_EXECUTE : error & 2 ? VCC_ACCESS_WRITE : VCC_ACCESS_READ;
    }
    return machine;
}

#elif defined(__aarch64__)

#include <asm/sigcontext.h>

static struct machine machine_of(const ucontext_t *context) {
    struct machine machine = {context->uc_mcontext.pc, context->uc_mcontext.sp, VCC_ACCESS_UNKNOWN};
    // Records follow each other in the reserved area; the one with the syndrome register says what was tried
    // (Arm Architecture Reference Manual, ESR_EL1: EC in bits 26 to 31, WnR in bit 6 of a data abort).
    const char *at = (const char *)context->uc_mcontext.__reserved;
    const char *end = at + sizeof context->uc_mcontext.__reserved;
    while (at + sizeof(struct _aarch64_ctx) <= end) {
        const struct _aarch64_ctx *head = (const struct _aarch64_ctx *)at;
        if (head->magic == 0 || head->size < sizeof *head || head->size > (size_t)(end - at)) break;
        if (head->magic == ESR_MAGIC) {
            uint64_t syndrome = ((const struct esr_context *)at)->esr;
            uint64_t class = syndrome >> 26 & 63;
            if (class == 0x20 || class == 0x21) machine.access = VCC_ACCESS_EXECUTE;
            if (class == 0x24 || class == 0x25) machine.access = syndrome & 64 ? VCC_ACCESS_WRITE : VCC_ACCESS_READ;
            break;
        }
        at += head->size;
    }
    return machine;
}

#else
#error "the registers of a signal frame are known for x86-64 and arm64 only"
#endif

static vcc_region region_of(const siginfo_t *info, const struct machine *machine, char *label) {
    uint64_t address = (uint64_t)(uintptr_t)info->si_addr;
    label[0] = 0;
    // Sent and not caused; or, on x86-64, an address that is none, of which the processor does not say which.
    if (info->si_code <= 0 || info->si_code == SI_KERNEL) return VCC_REGION_NONE;
    if (info->si_signo != SIGSEGV && info->si_signo != SIGBUS) return VCC_REGION_NONE;
    vcc_region region = vcc_region_at(address, label);
    if (region != VCC_REGION_NONE) return region;
    if (address < 64 << 10) return VCC_REGION_NULL;
    // What lies this near to the stack pointer is mapped unless the stack has reached its end.
    if (address + (64 << 10) >= machine->stack && address < machine->stack + 4096) return VCC_REGION_STACK;
    if (address >= image_start && address < image_end) return VCC_REGION_IMAGE;
    return VCC_REGION_NONE;
}

// MARK: The handler

static void report(vcc_page *page, int number, const siginfo_t *info, const ucontext_t *context) {
    struct machine machine = machine_of(context);
    page->signal = number;
    page->code = info->si_code;
    page->address = info->si_code > 0 && info->si_code != SI_KERNEL ? (uint64_t)(uintptr_t)info->si_addr : 0;
    page->region = region_of(info, &machine, page->label);
    page->access = machine.access;
    page->instruction = machine.instruction;
    bool is_inside = machine.instruction >= image_start && machine.instruction < image_end;
    page->image_offset = is_inside ? machine.instruction - image_start : UINT64_MAX;
    page->thread = (int32_t)syscall(SYS_gettid);
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    name[15] = 0;
    vcc_copy_text(page->thread_name, name, sizeof page->thread_name);
    vcc_copy_text(page->crash_where, vcc_this_where, sizeof page->crash_where);
}

static void on_crash(int number, siginfo_t *info, void *context) {
    vcc_page *page = vcc_the_page;
    if (page != NULL) {
        _Atomic uint32_t *crash = (_Atomic uint32_t *)&page->crash;
        uint32_t none = 0;
        if (atomic_compare_exchange_strong(crash, &none, 1)) {
            report(page, number, info, context);
            atomic_store_explicit(crash, 2, memory_order_release);
        } else {
            // 200 ms at most: the thread that reports needs microseconds, and may itself have died in it.
            struct timespec pause = {0, 2000000};
            for (int i = 0; i < 100 && atomic_load(crash) != 2; i++) nanosleep(&pause, NULL);
        }
    }
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(number, &action, NULL);
    // Blocked here, so it comes when the handler returns; a fault would come again by itself, a sent signal would not.
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}

static void on_exit_noted(void) { vcc_parting("exit"); }

bool vcc_crash_install(void) {
    static bool is_noted;
    if (!vcc_crash_adopt_thread()) return false;
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = on_crash;
    sigfillset(&action.sa_mask);
    for (int i = 0; i < CRASH_SIGNALS; i++) {
        if (sigaction(crash_signals[i], &action, NULL) != 0) return false;
    }
    if (!is_noted && atexit(on_exit_noted) != 0) return false;
    is_noted = true;
    return true;
}

int vcc_crash_replaced(void) {
    for (int i = 0; i < CRASH_SIGNALS; i++) {
        struct sigaction action;
        if (sigaction(crash_signals[i], NULL, &action) != 0 || (action.sa_flags & SA_SIGINFO) == 0
            || action.sa_sigaction != on_crash) {
            return crash_signals[i];
        }
    }
    return 0;
}

// MARK: Alternate stacks

static void give_back(void *stack) {
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    munmap(stack, ALTERNATE_STACK_BYTES);
}

static void make_stack_key(void) { pthread_key_create(&stack_key, give_back); }

bool vcc_crash_adopt_thread(void) {
    // A fault whose signal is blocked, perhaps by whoever started this process, kills without a word.
    sigset_t ours;
    sigemptyset(&ours);
    for (int i = 0; i < CRASH_SIGNALS; i++) sigaddset(&ours, crash_signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
    pthread_once(&stack_key_once, make_stack_key);
    if (pthread_getspecific(stack_key) != NULL) return true;
    void *stack = mmap(
        NULL, ALTERNATE_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return false;
    stack_t alternate = {.ss_sp = stack, .ss_size = ALTERNATE_STACK_BYTES};
    if (sigaltstack(&alternate, NULL) != 0 || pthread_setspecific(stack_key, stack) != 0) {
        int reason = errno;
        munmap(stack, ALTERNATE_STACK_BYTES);
        errno = reason;
        return false;
    }
    return true;
}

// MARK: The plugin's addresses

struct wanted {
    uintptr_t base;
    uintptr_t end;
};

static int measure(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    struct wanted *wanted = context;
    if (info->dlpi_addr != wanted->base) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
        if (end > wanted->end) wanted->end = end;
    }
    return 1;
}

bool vcc_crash_name_plugin(void *handle) {
    struct link_map *map = NULL;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == NULL) return false;
    struct wanted wanted = {map->l_addr, 0};
    if (dl_iterate_phdr(measure, &wanted) != 1) return false;
    image_start = wanted.base;
    image_end = wanted.end;
    return true;
}
