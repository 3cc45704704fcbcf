/// @file Starting a probe and keeping hold of everything that it starts: the calls that Swift's Glibc does not import.
#ifndef VCC_SUPERVISE_H
#define VCC_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/// What a probe is started with. Descriptors are the parent's; the probe sees them as the number behind each.
typedef struct vcc_probe_plan {
    const char *_Nonnull program;
    char *_Nullable const *_Nonnull arguments;
    char *_Nullable const *_Nonnull environment;
    const char *_Nonnull directory;  ///< Where it runs.
    int standard_output;             ///< 1
    int standard_error;              ///< 2
    int verdict;                     ///< 3
    int page;                        ///< 4
    int peer;                        ///< 5
} vcc_probe_plan;

/// Starts it in a session of its own, with /dev/null as its input and no other descriptor open. Returns 0 or an errno.
///
/// All descriptors of the plan must be above 5, or one would be overwritten before it is taken.
int vcc_probe_spawn(const vcc_probe_plan *_Nonnull plan, pid_t *_Nonnull child);

/// A descriptor that becomes readable when `child` ends, closed on exec. Or -errno.
int vcc_child_descriptor(pid_t child);

/// From now on orphans among the descendants of this process become its children. Returns 0 or an errno.
int vcc_adopt_orphans(void);

/// Marks a child with a number that its own children inherit through fork, setsid and exec with an empty environment:
/// the soft limit of bytes in POSIX message queues, which nobody here uses. Returns 0 or an errno.
int vcc_child_mark(pid_t child, uint32_t mark);

/// Bounds what a child and all that it starts may take of the machine: `cpu_seconds` of processor time each, files of
/// VCC_FILE_BYTES_MAX, memory of VCC_MEMORY_BYTES_MAX, VCC_DESCRIPTORS_MAX descriptors, and no core file. Returns 0 or
/// an errno.
int vcc_child_confine(pid_t child, uint64_t cpu_seconds);

enum {
    /// Host and shipped plugins alike live with 1024, the system's usual bound.
    VCC_DESCRIPTORS_MAX = 1024,
};
/// A local model's weights are mapped from files and do not count; what is left fits here by far.
#define VCC_MEMORY_BYTES_MAX ((uint64_t)4 << 30)
#define VCC_FILE_BYTES_MAX ((uint64_t)1 << 30)

/// For a probe, first of all: it ends with the thread that started it, however that ends. Returns 0 or an errno.
int vcc_die_with_parent(void);

/// Whether `process` bears the mark.
bool vcc_is_marked(pid_t process, uint32_t mark);

/// The processor time of all threads of a living child, in nanoseconds; 0 when it cannot be told.
uint64_t vcc_child_cpu_ns(pid_t child);

#endif
