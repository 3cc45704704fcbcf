// What the files of this module share about the page and do not show to others.

#ifndef VCC_PAGE_H
#define VCC_PAGE_H

#include "breadcrumb.h"

/// "VCCRUMB1", little-endian.
#define VCC_PAGE_MAGIC 0x31424d5552434356ull

/// A variable of each thread that a signal handler may touch: without this model the first touch may allocate. All of
/// this is linked into a program, never into a library that is loaded later.
#define VCC_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

/// The mapped page, or NULL before vcc_page_attach.
extern vcc_page *vcc_the_page;

/// Where this thread is, "" when it never said.
extern VCC_THREAD_LOCAL char vcc_this_where[VCC_WHERE_BYTES];

/// Copies at most `capacity - 1` bytes and the NUL. Safe in a signal handler.
void vcc_copy_text(char *to, const char *from, size_t capacity);

/// A text that grows in a buffer of someone else and is cut at its end.
typedef struct vcc_text {
    char *at;
    size_t capacity;
    size_t length;
} vcc_text;

void vcc_text_begin(vcc_text *text, char *buffer, size_t capacity);
void vcc_text_add(vcc_text *text, const char *words);
void vcc_text_add_number(vcc_text *text, uint64_t number);
void vcc_text_add_hex(vcc_text *text, uint64_t number);

#endif
