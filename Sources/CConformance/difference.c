// The difference of two snapshots, in words that stand in a report as they are: what, which one, and how it differs.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "page.h"
#include "state.h"

/// The lines so far. Counting goes on when the text is full.
struct lines {
    vcc_text text;
    uint32_t count;
};

static vcc_text *line(struct lines *lines) {
    if (lines->count++ > 0) vcc_text_add(&lines->text, "\n");
    return &lines->text;
}

static void add_signed(vcc_text *text, int64_t number) {
    if (number < 0) vcc_text_add(text, "-");
    vcc_text_add_number(text, number < 0 ? (uint64_t)-number : (uint64_t)number);
}

static void add_octal(vcc_text *text, uint32_t number) {
    char digits[5] = "0000";
    for (int i = 3; i >= 0; i--, number >>= 3) digits[i] = (char)('0' + (number & 7));
    vcc_text_add(text, digits);
}

// MARK: Descriptors

static const struct descriptor *descriptor_of(const vcc_snapshot *snapshot, int32_t number) {
    for (uint32_t i = 0; i < snapshot->descriptor_count; i++) {
        if (snapshot->descriptors[i].number == number) return &snapshot->descriptors[i];
    }
    return NULL;
}

static void add_descriptor(vcc_text *text, const struct descriptor *descriptor) {
    vcc_text_add(text, "descriptor ");
    vcc_text_add_number(text, (uint64_t)descriptor->number);
    vcc_text_add(text, " (");
    vcc_text_add(text, descriptor->target);
    vcc_text_add(text, ")");
}

static void compare_descriptors(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    for (uint32_t i = 0; i < after->descriptor_count; i++) {
        const struct descriptor *now = &after->descriptors[i], *then = descriptor_of(before, now->number);
        if (then == NULL) {
            vcc_text *text = line(lines);
            add_descriptor(text, now);
            vcc_text_add(text, " left open");
        } else if (then->hash != now->hash) {
            vcc_text *text = line(lines);
            add_descriptor(text, now);
            vcc_text_add(text, " was ");
            vcc_text_add(text, then->target);
        } else if (then->status_flags != now->status_flags || then->descriptor_flags != now->descriptor_flags) {
            vcc_text *text = line(lines);
            add_descriptor(text, now);
            vcc_text_add(text, " has other flags than before");
        }
    }
    for (uint32_t i = 0; i < before->descriptor_count; i++) {
        if (descriptor_of(after, before->descriptors[i].number) != NULL) continue;
        vcc_text *text = line(lines);
        add_descriptor(text, &before->descriptors[i]);
        vcc_text_add(text, " was closed");
    }
}

// MARK: Threads and children

static void compare_threads(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    for (uint32_t i = 0; i < after->thread_count; i++) {
        const vcc_thread *thread = &after->threads[i];
        bool is_known = thread->is_ending != 0;
        for (uint32_t k = 0; k < before->thread_count && !is_known; k++) {
            is_known = before->threads[k].id == thread->id;
        }
        if (is_known) continue;
        vcc_text *text = line(lines);
        vcc_text_add(text, "thread ");
        vcc_text_add(text, thread->name);
        vcc_text_add(text, " left running");
    }
}

static void compare_children(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    for (uint32_t i = 0; i < after->child_count; i++) {
        bool is_known = false;
        for (uint32_t k = 0; k < before->child_count && !is_known; k++) {
            is_known = before->children[k].id == after->children[i].id;
        }
        if (is_known) continue;
        vcc_text *text = line(lines);
        vcc_text_add(text, "process ");
        vcc_text_add(text, after->children[i].name);
        vcc_text_add(text, " left behind");
    }
}

// MARK: Signals

static void add_handler(vcc_text *text, const struct disposition *disposition) {
    vcc_text_add(text, disposition->handler == 0 ? "default" : disposition->handler == 1 ? "ignored" : "handled");
}

static void compare_handlers(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    for (int number = 1; number <= SIGNALS; number++) {
        // The C library's own: it takes them when the first thread is made.
        if (number == 32 || number == 33) continue;
        const struct disposition *then = &before->dispositions[number - 1], *now = &after->dispositions[number - 1];
        if (memcmp(then, now, sizeof *then) == 0) continue;
        char name[VCC_NAME_BYTES];
        vcc_signal_name(number, name, sizeof name);
        vcc_text *text = line(lines);
        vcc_text_add(text, name);
        bool is_same_sort = then->handler == now->handler || (then->handler > 1 && now->handler > 1);
        if (is_same_sort) {
            vcc_text_add(text, then->handler == now->handler ? " has other flags or another mask than before"
                                                             : " has another handler than before");
            continue;
        }
        vcc_text_add(text, " is ");
        add_handler(text, now);
        vcc_text_add(text, " and was ");
        add_handler(text, then);
    }
}

static void compare_mask(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    for (int number = 1; number <= SIGNALS; number++) {
        uint64_t bit = 1ull << (number - 1);
        if (((before->mask ^ after->mask) & bit) == 0) continue;
        char name[VCC_NAME_BYTES];
        vcc_signal_name(number, name, sizeof name);
        vcc_text *text = line(lines);
        vcc_text_add(text, name);
        vcc_text_add(text, after->mask & bit ? " is blocked and was not" : " is no longer blocked");
    }
}

// MARK: Environment

/// The entry of this name, found in the list of the other snapshot.
static const char *entry_named(const vcc_snapshot *snapshot, const char *name, size_t length) {
    const char *entry = snapshot->environment, *end = entry + snapshot->environment_bytes;
    for (; entry < end; entry += strlen(entry) + 1) {
        if (strncmp(entry, name, length) == 0 && (entry[length] == '=' || entry[length] == 0)) return entry;
    }
    return NULL;
}

static void add_variable(struct lines *lines, const char *entry, size_t length, const char *what) {
    char name[VCC_LABEL_BYTES];
    vcc_copy_text(name, entry, length + 1 < sizeof name ? length + 1 : sizeof name);
    vcc_text *text = line(lines);
    vcc_text_add(text, "environment variable ");
    vcc_text_add(text, name);
    vcc_text_add(text, what);
}

static void compare_environment(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    const char *entry = after->environment, *end = entry + after->environment_bytes;
    for (; entry < end; entry += strlen(entry) + 1) {
        size_t length = strcspn(entry, "=");
        const char *then = entry_named(before, entry, length);
        if (then == NULL) {
            add_variable(lines, entry, length, " was set");
        } else if (strcmp(then, entry) != 0) {
            add_variable(lines, entry, length, " was changed");
        }
    }
    entry = before->environment;
    end = entry + before->environment_bytes;
    for (; entry < end; entry += strlen(entry) + 1) {
        size_t length = strcspn(entry, "=");
        if (entry_named(after, entry, length) == NULL) add_variable(lines, entry, length, " was removed");
    }
}

// MARK: The rest

static void add_text_change(struct lines *lines, const char *what, const char *now, const char *then) {
    if (strcmp(now, then) == 0) return;
    vcc_text *text = line(lines);
    vcc_text_add(text, what);
    vcc_text_add(text, now);
    vcc_text_add(text, " and was ");
    vcc_text_add(text, then);
}

static void compare_limits(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    static const char *const names[LIMITS] = {
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
        "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"};
    for (int which = 0; which < LIMITS; which++) {
        const struct rlimit *then = &before->limits[which], *now = &after->limits[which];
        if (then->rlim_cur == now->rlim_cur && then->rlim_max == now->rlim_max) continue;
        vcc_text *text = line(lines);
        vcc_text_add(text, "RLIMIT_");
        vcc_text_add(text, names[which]);
        vcc_text_add(text, " was changed");
    }
}

static void compare_umask(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    if (before->vitals.umask == after->vitals.umask) return;
    vcc_text *text = line(lines);
    vcc_text_add(text, "the umask is ");
    add_octal(text, after->vitals.umask);
    vcc_text_add(text, " and was ");
    add_octal(text, before->vitals.umask);
}

static void compare_locale(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    add_text_change(lines, "the locale is ", after->locale, before->locale);
    if (before->thread_locale != after->thread_locale) {
        vcc_text_add(line(lines), "the thread has another locale than before");
    }
}

static void compare_floating_point(struct lines *lines, const vcc_vitals *before, const vcc_vitals *after) {
    if (before->fp_control != after->fp_control) {
        vcc_text *text = line(lines);
        vcc_text_add(text, "the floating-point mode is ");
        vcc_text_add_hex(text, after->fp_control);
        vcc_text_add(text, " and was ");
        vcc_text_add_hex(text, before->fp_control);
    }
    if (before->x87_control != after->x87_control) {
        vcc_text *text = line(lines);
        vcc_text_add(text, "the x87 control word is ");
        vcc_text_add_hex(text, after->x87_control);
        vcc_text_add(text, " and was ");
        vcc_text_add_hex(text, before->x87_control);
    }
}

static void compare_priority(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    if (before->vitals.nice_value != after->vitals.nice_value) {
        vcc_text *text = line(lines);
        vcc_text_add(text, "the nice value is ");
        add_signed(text, after->vitals.nice_value);
        vcc_text_add(text, " and was ");
        add_signed(text, before->vitals.nice_value);
    }
    if (before->policy != after->policy || before->static_priority != after->static_priority) {
        vcc_text_add(line(lines), "the thread has another scheduling policy than before");
    }
    if (!CPU_EQUAL(&before->affinity, &after->affinity)) {
        vcc_text_add(line(lines), "the thread may run on other processors than before");
    }
}

static void compare_timers(struct lines *lines, const vcc_snapshot *before, const vcc_snapshot *after) {
    static const char *const names[] = {"ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"};
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
        if ((after->timers & ~before->timers & 1u << which) == 0) continue;
        vcc_text *text = line(lines);
        vcc_text_add(text, names[which]);
        vcc_text_add(text, " left running");
    }
}

uint32_t vcc_snapshot_difference(
    const vcc_snapshot *before, const vcc_snapshot *after, uint32_t subjects, char *buffer, size_t capacity) {
    struct lines lines = {.count = 0};
    vcc_text_begin(&lines.text, buffer, capacity);
    if (subjects & VCC_DESCRIPTORS) compare_descriptors(&lines, before, after);
    if (subjects & VCC_THREADS_LEFT) compare_threads(&lines, before, after);
    if (subjects & VCC_CHILDREN) compare_children(&lines, before, after);
    if (subjects & VCC_SIGNAL_HANDLERS) compare_handlers(&lines, before, after);
    if (subjects & VCC_SIGNAL_MASK) compare_mask(&lines, before, after);
    if (subjects & VCC_ENVIRONMENT_CHANGED) compare_environment(&lines, before, after);
    if (subjects & VCC_DIRECTORY) add_text_change(&lines, "the directory is ", after->directory, before->directory);
    if (subjects & VCC_UMASK) compare_umask(&lines, before, after);
    if (subjects & VCC_LOCALE_CHANGED) compare_locale(&lines, before, after);
    if (subjects & VCC_LIMITS) compare_limits(&lines, before, after);
    if (subjects & VCC_FLOATING_POINT) compare_floating_point(&lines, &before->vitals, &after->vitals);
    if (subjects & VCC_PRIORITY) compare_priority(&lines, before, after);
    if (subjects & VCC_TIMERS) compare_timers(&lines, before, after);
    return lines.count;
}
