/// @file Service "vc.task/1": work that computes or waits, on the host's threads.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_TASK_H
#define VCHOST_SERVICE_TASK_H

#include "../abi.h"

#define VC_SERVICE_TASK "vc.task/1"

VC_BEGIN_DECLS

/// Called as VC_TASK: neither on a thread of the owner's slots nor one at a time with them.
typedef void (*vc_task_fn)(void *VC_NULLABLE context);

typedef struct vc_task {
    uint32_t size;
    uint32_t reserved;

    /// Runs `work` once on a thread of the host's pool. VC_E_AGAIN: 256 tasks of this provider wait already.
    /// The owner is not destroyed while a task of it runs; tasks that have not begun by then are not run at all, so
    /// `context` must not be the only holder of something that needs freeing: free it in `destroy`.
    vc_status (*run)(vc_handle owner, vc_task_fn work, void *VC_NULLABLE context) VC_ANY;
} vc_task;

VC_END_DECLS

#endif
