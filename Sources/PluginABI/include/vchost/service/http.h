/// @file Service "vc.http/1": requests to a vendor. Pooled, prewarmed, cancelled with their epoch.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_HTTP_H
#define VCHOST_SERVICE_HTTP_H

#include "../abi.h"

#define VC_SERVICE_HTTP "vc.http/1"

VC_BEGIN_DECLS

/// A request. All of it is copied before `start` returns.
typedef struct vc_http_request {
    uint32_t size;
    uint32_t deadline_ms; ///< For the whole exchange; 0: 30 s.
    uint64_t epoch;       ///< The host cancels the request when the owner's epoch passes it; UINT64_MAX: never.
    vc_str method;        ///< "GET", "POST".
    vc_str url;           ///< http or https, absolute.
    const vc_field *VC_NULLABLE headers;
    uint32_t header_count;
    uint32_t first_byte_ms; ///< Give up when no byte of the answer came in this time; 0: no such limit.
    vc_str body;
} vc_http_request;

/// How the answer arrives: `response` once, `data` as it comes, `done` once and last. All as VC_CONTROL of the owner.
///
/// After `cancel`, after the end of the request's epoch, or when the owner is destroyed, nothing more is called,
/// `done` included.
typedef struct vc_http_events {
    uint32_t size;
    uint32_t reserved;
    void (*VC_NULLABLE response)(void *VC_NULLABLE context, vc_handle request, uint32_t http_status,
                                 const vc_field *VC_NULLABLE headers, uint32_t header_count);
    void (*VC_NULLABLE data)(void *VC_NULLABLE context, vc_handle request, vc_str bytes);
    /// `error` is NULL when the answer is complete, whatever its status was.
    void (*VC_NULLABLE done)(void *VC_NULLABLE context, vc_handle request, const vc_error *VC_NULLABLE error);
} vc_http_events;

typedef struct vc_http {
    uint32_t size;
    uint32_t reserved;

    /// Starts a request for a session or a provider. VC_E_AGAIN: 32 requests of this owner are under way already.
    /// A header value may contain `${secret:NAME}`.
    vc_status (*start)(vc_handle owner, const vc_http_request *request, const vc_http_events *events,
                       void *VC_NULLABLE context, vc_handle *handle) VC_ANY;

    /// Stops it and closes its connection, which is what tells a vendor to stop working.
    vc_status (*cancel)(vc_handle handle) VC_ANY;

    /// Opens a connection to the origin of `url` ahead of the request that will need it. Best effort.
    void (*prewarm)(vc_handle owner, vc_str url) VC_ANY;
} vc_http;

VC_END_DECLS

#endif
