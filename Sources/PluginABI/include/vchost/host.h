/// @file The host, as a plugin sees it: one door out, and services by name.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_HOST_H
#define VCHOST_HOST_H

#include "event.h"

VC_BEGIN_DECLS

/// Given to the entry function. It is valid for the life of the process, and the same for every plugin in it.
typedef struct vc_host {
    uint32_t size;
    uint32_t minor; ///< VC_ABI_MINOR of the host.

    /// Hands over an event of the session or provider behind `object`.
    ///
    /// The host copies the event and all that it points to before it returns; it never blocks and never calls back into
    /// the plugin. It may be called from the moment in which `open` or `create` was called: what comes before they
    /// returned is held until then, and forgotten if they fail.
    ///
    /// Its answer is the plugin's second way to learn that it should stop, so that a plugin which never looks at
    /// `cancel` stops within one event all the same: VC_E_CANCELED, that epoch is over; VC_E_AGAIN, no credit: keep the
    /// event and offer it again after `credit`; VC_E_STALE or VC_E_CLOSED, the object is gone; VC_E_ARGUMENT, the event
    /// breaks the contract and the log says how.
    vc_status (*VC_NONNULL emit)(vc_handle object, const vc_event *event) VC_ANY;

    /// Finds a service by its id, "vc.log/1" for one. NULL when this host does not offer it.
    ///
    /// The table lives as long as the process. A plugin that cannot work without a service refuses in `create` with
    /// VC_E_UNSUPPORTED and names it.
    const void *VC_NULLABLE (*VC_NONNULL service)(const char *id) VC_ANY;
} vc_host;

VC_END_DECLS

#endif
