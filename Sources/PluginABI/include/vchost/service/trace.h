/// @file Service "vc.trace/1": where the time of a turn went.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_TRACE_H
#define VCHOST_SERVICE_TRACE_H

#include "../abi.h"

#define VC_SERVICE_TRACE "vc.trace/1"

VC_BEGIN_DECLS

typedef struct vc_trace {
    uint32_t size;
    uint32_t reserved;

    /// Begins a span of work for a session; `request` ties it to a turn. It shows in the turn's waterfall.
    vc_status (*begin)(vc_handle session, uint64_t request, const char *name, vc_handle *span) VC_ANY;

    /// Ends it. `detail` says what the operator wants to know, "cached" or "retry 2", or is empty.
    void (*end)(vc_handle span, vc_str detail) VC_ANY;

    /// The W3C `traceparent` of the session's call, for a request to a vendor. Lives until the session is destroyed.
    vc_status (*context)(vc_handle session, vc_str *traceparent) VC_ANY;
} vc_trace;

VC_END_DECLS

#endif
