/// @file Inputs that answer for themselves: memory that a plugin may read while its call runs, and nothing around it.
///
/// An input lies against a guard that nobody may touch, is made read-only before the call and inaccessible after it.
/// What breaks the rule faults, and the crash handler looks the address up here and says which input it was and how.
/// It needs no instrumentation, so it works for plugins that come as binaries only.
///
/// From one slot at most one thread at a time may call protect, refill, retire and release; different slots are
/// independent.
#ifndef VCC_GUARDED_H
#define VCC_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "breadcrumb.h"

enum {
    /// Inputs at a time, retired ones included; when all are taken, the oldest retired one is used again.
    VCC_INPUTS_MAX = 1024,
    /// On each side. One page finds an error of one element; this much finds most wild strides too.
    VCC_GUARD_BYTES = 64 << 10,
    /// The largest input: a WebSocket message of 16 MiB.
    VCC_INPUT_BYTES_MAX = 16 << 20,
};

/// Which side of an input is exact. A page is the finest that the machine can guard, so it is one of the two.
typedef enum vcc_placement {
    VCC_ENDS_AT_GUARD = 0,      ///< The first byte beyond it faults.
    VCC_BEGINS_AFTER_GUARD = 1  ///< The byte before it faults.
} vcc_placement;

/// One input. `data` is NULL when there was no room.
typedef struct vcc_input {
    void *_Nullable data;
    size_t bytes;
    uint32_t slot;
    uint32_t generation;  ///< So that a slot that was used again is not taken for this one.
} vcc_input;

/// Copies `bytes` of `contents` (nothing when NULL: then it is zeroed) into a new input, still writable.
///
/// With VCC_ENDS_AT_GUARD the data is as aligned as its size: a struct whose size is a multiple of 8 is aligned to 8,
/// an odd text lies at an odd address. The rest of its page is filled with 0xA5. An input of no bytes points at the
/// guard. `label` is what the report calls it, at most 63 bytes: "frame", "options", "text".
vcc_input vcc_input_make(
    const void *_Nullable contents, size_t bytes, vcc_placement placement, const char *_Nonnull label);

/// From now on it may be read and not written.
bool vcc_input_protect(vcc_input input);

/// Makes it writable and copies new contents of the same size into it: for a stream of frames, where making each anew
/// would cost more than what is measured. Works for a retired one too. Protect it again afterwards.
bool vcc_input_refill(vcc_input input, const void *_Nonnull contents);

/// Its call has returned: from now on any touch is "keeps its input". It stays so until the slot is needed again.
bool vcc_input_retire(vcc_input input);

/// Gives the slot back without further watching.
void vcc_input_release(vcc_input input);

/// Whether its bytes are those given: for a plugin that made the memory writable before it wrote.
bool vcc_input_equals(vcc_input input, const void *_Nonnull contents);

typedef struct vcc_inputs_census {
    uint32_t live;
    uint32_t retired;
    uint64_t made;
    uint64_t recycled;  ///< Retired inputs that are no longer watched, because their slot was needed.
    uint64_t refused;   ///< Inputs for which there was no slot or no memory.
} vcc_inputs_census;

vcc_inputs_census vcc_inputs_count(void);

/// Looks an address up. No lock and no system call; may be called in a signal handler. `label` has VCC_LABEL_BYTES.
vcc_region vcc_region_at(uint64_t address, char *_Nonnull label);

#endif
