// The shared page. The writer's half may run in a signal handler and before every frame, so it is plain stores; the
// reader's half trusts nothing, because a plugin that scribbles over memory scribbles over this too.
//
// `where` is kept twice: in the page, for the parent of a probe that hangs, and for each thread, so that a crash is
// told by the thread that crashed and not by the one that spoke last.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "breadcrumb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page.h"

_Static_assert(sizeof(vcc_page) <= VCC_PAGE_BYTES, "the breadcrumb page is one page");

vcc_page *vcc_the_page;
VCC_THREAD_LOCAL char vcc_this_where[VCC_WHERE_BYTES];

// MARK: Text without stdio

void vcc_copy_text(char *to, const char *from, size_t capacity) {
    size_t i = 0;
    for (; i + 1 < capacity && from[i] != 0; i++) to[i] = from[i];
    to[i] = 0;
}

void vcc_text_begin(vcc_text *text, char *buffer, size_t capacity) {
    *text = (vcc_text){buffer, capacity, 0};
    if (capacity > 0) buffer[0] = 0;
}

void vcc_text_add(vcc_text *text, const char *words) {
    while (*words != 0 && text->length + 1 < text->capacity) text->at[text->length++] = *words++;
    if (text->capacity > 0) text->at[text->length] = 0;
}

void vcc_text_add_number(vcc_text *text, uint64_t number) {
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    vcc_text_add(text, digits + at);
}

void vcc_text_add_hex(vcc_text *text, uint64_t number) {
    char digits[19];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = "0123456789abcdef"[number & 15];
    while ((number >>= 4) > 0);
    vcc_text_add(text, "0x");
    vcc_text_add(text, digits + at);
}

// MARK: The probe's side

bool vcc_page_attach(int descriptor) {
    void *mapped = mmap(NULL, VCC_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) return false;
    vcc_the_page = mapped;
    vcc_the_page->magic = VCC_PAGE_MAGIC;
    return true;
}

static void publish(const char *text) {
    vcc_page *page = vcc_the_page;
    if (page == NULL) return;
    _Atomic uint32_t *sequence = (_Atomic uint32_t *)&page->sequence;
    uint32_t even = atomic_load_explicit(sequence, memory_order_relaxed) & ~1u;
    // Another thread is writing: its place is as good as ours, and nobody waits for it.
    if (!atomic_compare_exchange_strong(sequence, &even, even + 1)) return;
    vcc_copy_text(page->where, text, VCC_WHERE_BYTES);
    atomic_store_explicit(sequence, even + 2, memory_order_release);
}

void vcc_where(const char *text) {
    vcc_copy_text(vcc_this_where, text, VCC_WHERE_BYTES);
    publish(vcc_this_where);
}

void vcc_where_number(const char *text, uint64_t number) {
    vcc_text where;
    vcc_text_begin(&where, vcc_this_where, VCC_WHERE_BYTES);
    vcc_text_add(&where, text);
    vcc_text_add_number(&where, number);
    publish(vcc_this_where);
}

void vcc_parting(const char *function) {
    vcc_page *page = vcc_the_page;
    if (page == NULL || page->is_parting != 0) return;
    vcc_copy_text(page->parting, function, VCC_NAME_BYTES);
    vcc_copy_text(page->parting_where, vcc_this_where[0] != 0 ? vcc_this_where : page->where, VCC_WHERE_BYTES);
    atomic_store_explicit((_Atomic uint32_t *)&page->is_parting, 1, memory_order_release);
}

// MARK: The parent's side

int vcc_page_create(void) {
    int descriptor = memfd_create("vchost-conform", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) return -errno;
    if (ftruncate(descriptor, VCC_PAGE_BYTES) != 0
        || fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int reason = errno;
        close(descriptor);
        return -reason;
    }
    return descriptor;
}

/// How many bytes of valid UTF-8 begin here, 0 when it is none. RFC 3629, section 4.
static size_t scalar_bytes(const unsigned char *at, size_t left) {
    if (at[0] < 0x80) return 1;
    size_t count = at[0] >= 0xc2 && at[0] <= 0xdf ? 2 : at[0] >= 0xe0 && at[0] <= 0xef ? 3 : 0;
    if (at[0] >= 0xf0 && at[0] <= 0xf4) count = 4;
    if (count == 0 || count > left) return 0;
    for (size_t i = 1; i < count; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    // C1 controls: a terminal may obey them.
    if (at[0] == 0xc2 && at[1] < 0xa0) return 0;
    return count;
}

/// Copies a text that may hold anything; a byte that cannot be shown becomes a question mark.
static void copy_harmless(char *to, const char *from, size_t capacity) {
    size_t length = strnlen(from, capacity - 1);
    const unsigned char *bytes = (const unsigned char *)from;
    for (size_t i = 0; i < length;) {
        size_t count = bytes[i] < 0x20 || bytes[i] == 0x7f ? 0 : scalar_bytes(bytes + i, length - i);
        if (count == 0) {
            to[i++] = '?';
            continue;
        }
        memcpy(to + i, from + i, count);
        i += count;
    }
    to[length] = 0;
}

bool vcc_page_read(int descriptor, vcc_crumb *crumb) {
    memset(crumb, 0, sizeof *crumb);
    crumb->image_offset = UINT64_MAX;
    vcc_page page;
    // A probe that hangs may be writing at this moment; one that died in the middle leaves an odd sequence for good.
    for (int attempt = 0; attempt < 8; attempt++) {
        ssize_t count = pread(descriptor, &page, sizeof page, 0);
        if (count < 0) return false;
        if (count < (ssize_t)sizeof page) {
            errno = EIO;
            return false;
        }
        if ((page.sequence & 1) == 0) break;
    }
    crumb->is_attached = page.magic == VCC_PAGE_MAGIC;
    if (!crumb->is_attached) return true;
    bool is_parted = page.is_parting == 1;
    crumb->has_crashed = page.crash == 2 && page.signal > 0 && page.signal <= 64;
    copy_harmless(crumb->where, page.where, VCC_WHERE_BYTES);
    if (is_parted) {
        copy_harmless(crumb->parting, page.parting, VCC_NAME_BYTES);
        copy_harmless(crumb->where, page.parting_where, VCC_WHERE_BYTES);
    }
    if (!crumb->has_crashed) return true;
    crumb->signal = page.signal;
    crumb->code = page.code;
    crumb->region = page.region <= VCC_REGION_IMAGE ? (vcc_region)page.region : VCC_REGION_NONE;
    crumb->access = page.access <= VCC_ACCESS_EXECUTE ? (vcc_access)page.access : VCC_ACCESS_UNKNOWN;
    crumb->address = page.address;
    crumb->instruction = page.instruction;
    crumb->image_offset = page.image_offset;
    crumb->thread = page.thread;
    copy_harmless(crumb->label, page.label, VCC_LABEL_BYTES);
    copy_harmless(crumb->thread_name, page.thread_name, VCC_NAME_BYTES);
    if (page.crash_where[0] != 0) copy_harmless(crumb->where, page.crash_where, VCC_WHERE_BYTES);
    return true;
}

size_t vcc_signal_name(int number, char *text, size_t capacity) {
    vcc_text name;
    vcc_text_begin(&name, text, capacity);
    const char *abbreviation = number > 0 && number < NSIG ? sigabbrev_np(number) : NULL;
    vcc_text_add(&name, abbreviation != NULL ? "SIG" : "signal ");
    if (abbreviation != NULL) {
        vcc_text_add(&name, abbreviation);
    } else {
        vcc_text_add_number(&name, number < 0 ? 0 : (uint64_t)number);
    }
    return name.length;
}

size_t vcc_region_verb(vcc_region region, vcc_access access, const char *label, char *text, size_t capacity) {
    vcc_text verb;
    vcc_text_begin(&verb, text, capacity);
    const char *touches = access == VCC_ACCESS_WRITE ? "writes " : access == VCC_ACCESS_EXECUTE ? "jumps " : "reads ";
    switch (region) {
    case VCC_REGION_NONE: return 0;
    case VCC_REGION_NULL:
        vcc_text_add(&verb, access == VCC_ACCESS_EXECUTE ? "calls" : access == VCC_ACCESS_WRITE ? "writes" : "reads");
        vcc_text_add(&verb, " through a NULL pointer");
        return verb.length;
    case VCC_REGION_STACK: vcc_text_add(&verb, "uses up its stack"); return verb.length;
    case VCC_REGION_IMAGE:
        vcc_text_add(&verb, touches);
        vcc_text_add(&verb, access == VCC_ACCESS_EXECUTE ? "into its own data" : "its own code or constants");
        return verb.length;
    case VCC_REGION_BEYOND:
    case VCC_REGION_BEFORE:
        vcc_text_add(&verb, touches);
        vcc_text_add(&verb, region == VCC_REGION_BEYOND ? "beyond the " : "before the ");
        vcc_text_add(&verb, label);
        return verb.length;
    case VCC_REGION_READ_ONLY:
        vcc_text_add(&verb, access == VCC_ACCESS_EXECUTE ? "jumps into its input (" : "writes its input (");
        break;
    case VCC_REGION_RETIRED: vcc_text_add(&verb, "keeps its input ("); break;
    }
    vcc_text_add(&verb, label);
    vcc_text_add(&verb, ")");
    return verb.length;
}

size_t vcc_crumb_sentence(const vcc_crumb *crumb, char *text, size_t capacity) {
    vcc_text line;
    vcc_text_begin(&line, text, capacity);
    if (crumb->has_crashed) {
        char name[VCC_NAME_BYTES];
        vcc_signal_name(crumb->signal, name, sizeof name);
        vcc_text_add(&line, name);
        vcc_text_add(&line, " ");
    } else if (crumb->parting[0] != 0) {
        vcc_text_add(&line, crumb->parting);
        vcc_text_add(&line, "() ");
    }
    vcc_text_add(&line, "at ");
    vcc_text_add(&line, crumb->where[0] != 0 ? crumb->where : "the start");
    char verb[VCC_LABEL_BYTES * 2];
    if (crumb->has_crashed && vcc_region_verb(crumb->region, crumb->access, crumb->label, verb, sizeof verb) > 0) {
        vcc_text_add(&line, ": ");
        vcc_text_add(&line, verb);
    }
    return line.length;
}

size_t vcc_crumb_details(const vcc_crumb *crumb, char *text, size_t capacity) {
    vcc_text line;
    vcc_text_begin(&line, text, capacity);
    if (!crumb->has_crashed) return 0;
    vcc_text_add(&line, "thread ");
    vcc_text_add(&line, crumb->thread_name[0] != 0 ? crumb->thread_name : "without a name");
    // A signal that was sent, by kill or abort, has no address.
    if (crumb->code > 0) {
        vcc_text_add(&line, ", address ");
        vcc_text_add_hex(&line, crumb->address);
    }
    if (crumb->image_offset != UINT64_MAX) {
        vcc_text_add(&line, ", at the plugin's offset ");
        vcc_text_add_hex(&line, crumb->image_offset);
    }
    return line.length;
}
