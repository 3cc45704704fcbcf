/// @file The page that parent and probe share: where the probe was, and what its crash handler found.
///
/// The probe writes it without system calls, so that a breadcrumb before every frame costs nothing that a rule would
/// measure; the parent reads it after a crash or a hang. A plugin can scribble over it, so the parent copies it with
/// pread (a mapping could be truncated under it), takes nothing for granted, and every text it hands on is printable.
#ifndef VCC_BREADCRUMB_H
#define VCC_BREADCRUMB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VCC_PAGE_BYTES = 4096,
    VCC_WHERE_BYTES = 240,  ///< Room for `where`, its NUL included; what is longer is cut.
    VCC_LABEL_BYTES = 64,
    VCC_NAME_BYTES = 32,
};

/// What lies at the address that a fault names.
typedef enum vcc_region {
    VCC_REGION_NONE = 0,       ///< Nothing that we know of.
    VCC_REGION_NULL = 1,       ///< The first 64 KiB: a field of a struct that is not there.
    VCC_REGION_STACK = 2,      ///< Just below the stack pointer: the stack is used up.
    VCC_REGION_BEYOND = 3,     ///< The guard after an input.
    VCC_REGION_BEFORE = 4,     ///< The guard before an input.
    VCC_REGION_READ_ONLY = 5,  ///< An input that may be read and not written.
    VCC_REGION_RETIRED = 6,    ///< An input whose call has returned.
    VCC_REGION_IMAGE = 7,      ///< The plugin's own code or constants.
} vcc_region;

typedef enum vcc_access {
    VCC_ACCESS_UNKNOWN = 0,
    VCC_ACCESS_READ = 1,
    VCC_ACCESS_WRITE = 2,
    VCC_ACCESS_EXECUTE = 3,
} vcc_access;

/// The page as it lies in memory. Only the probe's own functions write it.
typedef struct vcc_page {
    uint64_t magic;
    uint32_t sequence;  ///< Odd while `where` is being written.
    uint32_t crash;     ///< 0 none, 1 being written, 2 complete.
    char where[VCC_WHERE_BYTES];

    int32_t signal;
    int32_t code;  ///< si_code.
    uint32_t region;
    uint32_t access;
    uint64_t address;
    uint64_t instruction;
    uint64_t image_offset;  ///< The instruction within the plugin's file, or UINT64_MAX outside it.
    int32_t thread;
    uint32_t reserved;
    char label[VCC_LABEL_BYTES];
    char thread_name[VCC_NAME_BYTES];
    char crash_where[VCC_WHERE_BYTES];  ///< Where the thread that crashed was.

    uint32_t is_parting;  ///< 1 when `parting` is complete.
    uint32_t reserved2;
    char parting[VCC_NAME_BYTES];  ///< The function by which the process was ended: exit, _exit, abort, …
    char parting_where[VCC_WHERE_BYTES];
} vcc_page;

/// What the parent read. Texts are NUL-terminated and hold nothing but printable ASCII and valid UTF-8.
typedef struct vcc_crumb {
    bool is_attached;  ///< The probe got as far as mapping the page.
    bool has_crashed;
    int32_t signal;
    int32_t code;
    vcc_region region;
    vcc_access access;
    uint64_t address;
    uint64_t instruction;
    uint64_t image_offset;
    int32_t thread;
    char where[VCC_WHERE_BYTES];  ///< Of the thread that crashed or ended the process, or else the last one written.
    char label[VCC_LABEL_BYTES];  ///< Of the region: "frame", "text", …
    char thread_name[VCC_NAME_BYTES];
    char parting[VCC_NAME_BYTES];
} vcc_crumb;

// MARK: The parent's side

/// Makes the page: a memory file of VCC_PAGE_BYTES that can neither shrink nor grow. Returns a descriptor that is
/// closed on exec, or -errno.
int vcc_page_create(void);

/// Copies the page. False with errno when it could not be read; whatever a plugin left in it is made harmless.
bool vcc_page_read(int descriptor, vcc_crumb *_Nonnull crumb);

/// Writes one line about a crash or an end, "SIGSEGV at push frame=17: reads beyond the frame" or "exit() at create",
/// or only "at push frame=17" when there was neither. Cut at `capacity`, always NUL-terminated; returns its length.
size_t vcc_crumb_sentence(const vcc_crumb *_Nonnull crumb, char *_Nonnull text, size_t capacity);

/// Writes what the sentence leaves out because it differs from run to run: thread, address, place in the plugin's file.
size_t vcc_crumb_details(const vcc_crumb *_Nonnull crumb, char *_Nonnull text, size_t capacity);

/// "reads beyond the frame", "writes its input (frame)", "keeps its input (frame)", …; "" when there is nothing to say.
size_t vcc_region_verb(
    vcc_region region, vcc_access access, const char *_Nonnull label, char *_Nonnull text, size_t capacity);

/// "SIGSEGV"; "signal 99" of what has no name. Any thread; the text is cut at `capacity`.
size_t vcc_signal_name(int number, char *_Nonnull text, size_t capacity);

// MARK: The probe's side

/// Maps the page. Once for each process; false with errno.
bool vcc_page_attach(int descriptor);

/// Says where the calling thread is. No system call, no lock, no allocation; may be called in a signal handler.
void vcc_where(const char *_Nonnull text);

/// The same with a number after it, `vcc_where_number("push frame=", 17)`, so that a media thread formats nothing.
void vcc_where_number(const char *_Nonnull text, uint64_t number);

/// Says by which function the process is about to end. The first one counts.
void vcc_parting(const char *_Nonnull function);

#endif
