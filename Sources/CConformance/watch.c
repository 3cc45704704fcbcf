// Counting: the table of watched functions, the counters, and the words in which they are reported.
//
// Counters are global and arming is per thread, so that a rule can drive one slot on one thread and ask afterwards what
// exactly that call did, whatever the plugin's own threads do meanwhile.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch.h"

#include <dlfcn.h>
#include <string.h>

#include "watched.h"

struct function {
    const char *name;
    uint32_t classes;
};

#define ROW(name, classes) {#name, classes},
static const struct function functions[] = {VCC_WATCHED(ROW, ROW)};
#undef ROW

struct counters {
    _Atomic uint64_t total, armed;
    _Atomic uintptr_t first, first_armed;  // return addresses
};

static struct counters counters[VCC_WATCHED_COUNT];
_Atomic uintptr_t vcc_real[VCC_WATCHED_COUNT];
_Atomic uintptr_t vcc_bad_alloc_thrower;
_Atomic bool vcc_everywhere;
VCC_THREAD_LOCAL struct vcc_watch_thread vcc_watch_state;

// MARK: On the way of every call

static void count(_Atomic uint64_t *counter, _Atomic uintptr_t *first, uintptr_t caller) {
    if (atomic_fetch_add_explicit(counter, 1, memory_order_relaxed) == 0) atomic_store(first, caller);
}

bool vcc_watch_count(uint32_t index, uintptr_t caller) {
    const struct vcc_watch_thread *thread = &vcc_watch_state;
    if (thread->nested > 0 || thread->suspended > 0) return false;
    count(&counters[index].total, &counters[index].first, caller);
    if (functions[index].classes & VCC_ENDS_PROCESS) vcc_parting(functions[index].name);
    if (thread->armed == 0 && !atomic_load_explicit(&vcc_everywhere, memory_order_relaxed)) return false;
    count(&counters[index].armed, &counters[index].first_armed, caller);
    return true;
}

uintptr_t vcc_watch_note(uint32_t index, uintptr_t caller) {
    vcc_watch_count(index, caller);
    return atomic_load_explicit(&vcc_real[index], memory_order_acquire);
}

// MARK: The rules' side

void vcc_watch_arm(void) { vcc_watch_state.armed++; }

void vcc_watch_disarm(void) {
    if (vcc_watch_state.armed > 0) vcc_watch_state.armed--;
}

void vcc_watch_suspend(void) { vcc_watch_state.suspended++; }

void vcc_watch_resume(void) {
    if (vcc_watch_state.suspended > 0) vcc_watch_state.suspended--;
}

void vcc_watch_arm_everywhere(bool is_on) { vcc_everywhere = is_on; }

void vcc_watch_reset(void) {
    for (uint32_t i = 0; i < VCC_WATCHED_COUNT; i++) {
        counters[i].total = counters[i].armed = 0;
        counters[i].first = counters[i].first_armed = 0;
    }
    vcc_contended = 0;
    vcc_failed = 0;
}

static uint32_t index_of(const char *function) {
    for (uint32_t i = 0; i < VCC_WATCHED_COUNT; i++) {
        if (strcmp(functions[i].name, function) == 0) return i;
    }
    return VCC_WATCHED_COUNT;
}

int vcc_watched_index(const char *function) {
    uint32_t index = index_of(function);
    return index < VCC_WATCHED_COUNT ? (int)index : -1;
}

bool vcc_watch_knows(const char *function) { return index_of(function) < VCC_WATCHED_COUNT; }

static uint64_t calls(uint32_t index, bool is_armed_only) {
    return is_armed_only ? counters[index].armed : counters[index].total;
}

static uint64_t calls_of(uint32_t classes, bool is_armed_only) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < VCC_WATCHED_COUNT; i++) {
        if (functions[i].classes & classes) sum += calls(i, is_armed_only);
    }
    return sum;
}

uint64_t vcc_watch_armed_count(const char *function) {
    uint32_t index = index_of(function);
    return index < VCC_WATCHED_COUNT ? calls(index, true) : 0;
}

uint64_t vcc_watch_total_count(const char *function) {
    uint32_t index = index_of(function);
    return index < VCC_WATCHED_COUNT ? calls(index, false) : 0;
}

uint64_t vcc_watch_armed_calls(uint32_t classes) { return calls_of(classes, true); }
uint64_t vcc_watch_total_calls(uint32_t classes) { return calls_of(classes, false); }
uint64_t vcc_watch_contended_locks(void) { return vcc_contended; }

static void add_caller(vcc_text *text, uintptr_t caller) {
    Dl_info image;
    if (caller == 0 || dladdr((void *)caller, &image) == 0 || image.dli_fname == NULL) return;
    const char *slash = strrchr(image.dli_fname, '/');
    vcc_text_add(text, " (first from ");
    vcc_text_add(text, slash != NULL ? slash + 1 : image.dli_fname);
    vcc_text_add(text, "+");
    vcc_text_add_hex(text, caller - (uintptr_t)image.dli_fbase);
    vcc_text_add(text, ")");
}

size_t vcc_watch_report(uint32_t classes, bool is_armed_only, char *buffer, size_t capacity) {
    vcc_text text;
    vcc_text_begin(&text, buffer, capacity);
    bool is_told[VCC_WATCHED_COUNT] = {false};
    for (;;) {
        uint32_t most = VCC_WATCHED_COUNT;
        for (uint32_t i = 0; i < VCC_WATCHED_COUNT; i++) {
            if (is_told[i] || (functions[i].classes & classes) == 0 || calls(i, is_armed_only) == 0) continue;
            if (most == VCC_WATCHED_COUNT || calls(i, is_armed_only) > calls(most, is_armed_only)) most = i;
        }
        if (most == VCC_WATCHED_COUNT) return text.length;
        is_told[most] = true;
        uint64_t times = calls(most, is_armed_only);
        if (text.length > 0) vcc_text_add(&text, ", ");
        vcc_text_add(&text, functions[most].name);
        vcc_text_add(&text, " ");
        vcc_text_add_number(&text, times);
        vcc_text_add(&text, times == 1 ? " time" : " times");
        add_caller(&text, is_armed_only ? counters[most].first_armed : counters[most].first);
    }
}

// MARK: Failing and lying

void vcc_watch_fail_allocations(uint64_t first, uint64_t failures) {
    struct vcc_watch_thread *thread = &vcc_watch_state;
    thread->allocations = 0;
    thread->fail_first = first;
    bool is_endless = failures == 0 || first > UINT64_MAX - failures;
    thread->fail_last = first == 0 ? 0 : is_endless ? UINT64_MAX : first + failures - 1;
}

uint64_t vcc_watch_allocations(void) { return vcc_watch_state.allocations; }
uint64_t vcc_watch_failures(void) { return vcc_failed; }
void vcc_watch_shift_wall_clock(int64_t nanoseconds) { vcc_wall_shift = nanoseconds; }
