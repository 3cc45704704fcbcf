/*  What was seen: faults and calls, in the log at once and in a report file in the end.

    Faults are noted on any thread, also where no lock may be taken, so they are counted by atomics and their words are
    put into places that are taken once and never given back.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hostcheck.h"

#define RULE_ID(name, id, sentence) id,
#define RULE_SENTENCE(name, id, sentence) sentence,
#define SLOT_ID(name, id) id,
static const char *const rule_ids[] = {RULES(RULE_ID)};
static const char *const rule_sentences[] = {RULES(RULE_SENTENCE)};
static const char *const slot_ids[] = {SLOTS(SLOT_ID)};

/// Of each rule so many are told in words; the rest is counted.
enum { TOLD_MAX = 8, WORDS_MAX = 320, PATH_MAX_BYTES = 512 };

static _Atomic uint32_t faults[RULE_COUNT];
static char words[RULE_COUNT][TOLD_MAX][WORDS_MAX];
static _Atomic uint32_t is_written[RULE_COUNT][TOLD_MAX];
static _Atomic uint64_t calls[SLOT_COUNT];
static _Atomic int sessions_open, providers_open;
static _Atomic uint32_t sessions_ever, providers_ever;
static char path[PATH_MAX_BYTES];

uint64_t now_ns(void) {
    const vc_clock *clock = host->service(VC_SERVICE_CLOCK);
    return clock ? clock->now_ns() : 0;
}

static vc_str text_of(const char *text) { return (vc_str){text, strlen(text)}; }

void fault(int rule, const object *object, const char *format, ...) {
    const uint32_t number = atomic_fetch_add(&faults[rule], 1);
    if (number >= TOLD_MAX) return;
    char what[WORDS_MAX - 16];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    const char *kind = object ? kind_names[object->kind] : "plugin";
    snprintf(words[rule][number], WORDS_MAX, "%s: %s", kind, what);
    atomic_store(&is_written[rule][number], 1);

    const vc_log *log = host->service(VC_SERVICE_LOG);
    if (!log) return;
    char message[WORDS_MAX * 2];
    snprintf(message, sizeof message, "%s; the contract: %s", words[rule][number], rule_sentences[rule]);
    const vc_field fields[] = {{VC_STR("rule"), text_of(rule_ids[rule])}};
    log->write(object ? object->handle : 0, VC_LOG_HOST_FAULT, text_of(message), fields, 1);
}

void count(int slot) { atomic_fetch_add_explicit(&calls[slot], 1, memory_order_relaxed); }

void count_session(int by) {
    atomic_fetch_add(&sessions_open, by);
    if (by > 0) atomic_fetch_add(&sessions_ever, 1);
}

void count_provider(int by) {
    atomic_fetch_add(&providers_open, by);
    if (by > 0) atomic_fetch_add(&providers_ever, 1);
}

void report_to(vc_str name) {
    if (name.length == 0 || name.length >= sizeof path) return;
    memcpy(path, name.data, name.length);
    path[name.length] = 0;
}

static void write_string(FILE *file, const char *text) {
    fputc('"', file);
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') fprintf(file, "\\%c", byte);
        else if (byte < 0x20 || byte > 0x7e) fprintf(file, "\\u%04x", byte);
        else fputc(byte, file);
    }
    fputc('"', file);
}

/// One JSON object: {"calls":{slot:n},"faults":{rule:[n,[words]]},"open":{...},"ever":{...}}.
void write_report(void) {
    FILE *file = *path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "{\"calls\": {");
    for (int slot = 0; slot < SLOT_COUNT; slot++)
        fprintf(file, "%s\"%s\": %llu", slot ? ", " : "", slot_ids[slot],
                (unsigned long long)atomic_load(&calls[slot]));
    fprintf(file, "},\n\"faults\": {");
    const char *separator = "";
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        if (!atomic_load(&faults[rule])) continue;
        fprintf(file, "%s\n  \"%s\": [%u, [", separator, rule_ids[rule], atomic_load(&faults[rule]));
        for (int told = 0; told < TOLD_MAX && atomic_load(&is_written[rule][told]); told++) {
            fputs(told ? ", " : "", file);
            write_string(file, words[rule][told]);
        }
        fputs("]]", file);
        separator = ",";
    }
    fprintf(file,
            "},\n\"open\": {\"sessions\": %d, \"providers\": %d},\n\"ever\": {\"sessions\": %u, \"providers\": %u}}\n",
            atomic_load(&sessions_open), atomic_load(&providers_open), atomic_load(&sessions_ever),
            atomic_load(&providers_ever));
    fclose(file);
}
