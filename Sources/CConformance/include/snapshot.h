/// @file The state of a process as the kernel and the C library see it, before and after, and the difference in words.
///
/// Taking one allocates nothing on the heap and leaves no descriptor open, so that it does not find itself. What
/// belongs to a thread (locale of the thread, floating-point mode, CPU time) is that of the thread that takes it: take
/// both on the thread that drives the plugin.
#ifndef VCC_SNAPSHOT_H
#define VCC_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The subjects of a difference, for a rule that judges one thing.
enum {
    VCC_DESCRIPTORS = 1u << 0,       ///< Opened, closed, exchanged for another file, flags changed.
    VCC_THREADS_LEFT = 1u << 1,      ///< Threads that were not there before. One that is just ending does not count.
    VCC_SIGNAL_HANDLERS = 1u << 2,   ///< Dispositions of all signals but the C library's own two.
    VCC_SIGNAL_MASK = 1u << 3,       ///< Of the thread that took the snapshots.
    VCC_ENVIRONMENT_CHANGED = 1u << 4,  ///< By name; values are never told, they may be secret.
    VCC_DIRECTORY = 1u << 5,         ///< The current directory.
    VCC_UMASK = 1u << 6,
    VCC_LOCALE_CHANGED = 1u << 7,    ///< Of the process and of this thread.
    VCC_LIMITS = 1u << 8,            ///< All RLIMITs.
    VCC_FLOATING_POINT = 1u << 9,    ///< Rounding, flush to zero, exception masks; not the sticky flags.
    VCC_CHILDREN = 1u << 10,         ///< Processes left behind.
    VCC_PRIORITY = 1u << 11,         ///< Nice value, scheduling policy and affinity of this thread.
    VCC_TIMERS = 1u << 12,           ///< Interval timers that are running: alarm, setitimer.
    VCC_EVERYTHING = 0x1fff,
};

/// What is measured and not judged here: the slopes of a leak check are Swift's.
typedef struct vcc_vitals {
    uint32_t descriptors;
    uint32_t threads;  ///< Without those that are just ending.
    uint32_t children;
    uint32_t mappings;
    uint64_t private_dirty_kib;  ///< Private_Dirty of /proc/self/smaps_rollup.
    uint64_t resident_kib;
    uint64_t heap_bytes;         ///< As vcc_heap_bytes_in_use.
    uint64_t process_cpu_ns;
    uint64_t thread_cpu_ns;
    uint64_t written_bytes;      ///< wchar of /proc/self/io: through any descriptor. 0 where the kernel does not tell.
    uint64_t minor_faults;
    uint32_t umask;
    uint32_t fp_control;         ///< MXCSR without its flags, or FPCR.
    uint32_t x87_control;        ///< 0 on arm64.
    int32_t nice_value;
} vcc_vitals;

typedef struct vcc_thread {
    int32_t id;
    uint32_t is_ending;  ///< It has left its function and is about to disappear.
    uint64_t blocked;    ///< Signals that it blocks, bit n - 1 for signal n.
    char name[16];
} vcc_thread;

typedef struct vcc_snapshot vcc_snapshot;

/// Takes one; NULL without memory. Costs about a millisecond.
vcc_snapshot *_Nullable vcc_snapshot_take(void);
void vcc_snapshot_free(vcc_snapshot *_Nullable snapshot);

/// The vitals alone, for slopes: a snapshot that is kept is a mapping of its own, which the next one would find. Call
/// it once before the first measurement, so that its own memory is there.
vcc_vitals vcc_vitals_take(void);

vcc_vitals vcc_snapshot_vitals(const vcc_snapshot *_Nonnull snapshot);

/// The threads, by index; false past the last one. At most 512 are kept.
bool vcc_snapshot_thread(const vcc_snapshot *_Nonnull snapshot, uint32_t index, vcc_thread *_Nonnull thread);

/// Writes one line for each difference in the given subjects: "descriptor 7 (/tmp/x) left open". Returns how many there
/// are, also when not all of them found room; the text is cut at `capacity` and always NUL-terminated.
uint32_t vcc_snapshot_difference(
    const vcc_snapshot *_Nonnull before, const vcc_snapshot *_Nonnull after, uint32_t subjects,
    char *_Nonnull text, size_t capacity);

// MARK: Single measurements, for slopes

/// Bytes that malloc has handed out, of all arenas and mappings.
uint64_t vcc_heap_bytes_in_use(void);

/// CPU time of the process and of the calling thread.
uint64_t vcc_process_cpu_ns(void);
uint64_t vcc_thread_cpu_ns(void);

/// Whether this thread's floating point flushes denormals to zero; returns what it was.
bool vcc_flush_denormals(bool is_on);

#endif
