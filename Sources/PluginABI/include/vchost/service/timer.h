/// @file Service "vc.timer/1": one call back, later.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_TIMER_H
#define VCHOST_SERVICE_TIMER_H

#include "../abi.h"

#define VC_SERVICE_TIMER "vc.timer/1"

VC_BEGIN_DECLS

/// Called as VC_CONTROL of the timer's owner.
typedef void (*vc_timer_fn)(void *VC_NULLABLE context, vc_handle timer);

typedef struct vc_timer {
    uint32_t size;
    uint32_t reserved;

    /// Calls `fire` once, at `at_ns` or up to 2 ms later. `*timer` is its handle; it is stale once it fired.
    /// VC_E_AGAIN: the owner has 64 timers already. A timer dies with its owner.
    vc_status (*arm)(vc_handle owner, uint64_t at_ns, vc_timer_fn fire, void *VC_NULLABLE context,
                     vc_handle *timer) VC_ANY;

    /// The timer does not fire after this returned, unless it is firing right now on another thread.
    vc_status (*disarm)(vc_handle timer) VC_ANY;
} vc_timer;

VC_END_DECLS

#endif
