/// @file Service "vc.clock/1": the one clock. Virtual under `vchost conform`.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_CLOCK_H
#define VCHOST_SERVICE_CLOCK_H

#include "../abi.h"

#define VC_SERVICE_CLOCK "vc.clock/1"

VC_BEGIN_DECLS

typedef struct vc_clock {
    uint32_t size;
    uint32_t reserved;

    /// Nanoseconds since an arbitrary moment; never goes back. The time of `captured_ns` and of every deadline.
    uint64_t (*now_ns)(void) VC_ANY;

    /// Nanoseconds since 1970-01-01 UTC, for what leaves the machine. It may jump.
    uint64_t (*wall_ns)(void) VC_ANY;
} vc_clock;

VC_END_DECLS

#endif
