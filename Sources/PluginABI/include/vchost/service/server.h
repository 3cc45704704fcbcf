/// @file Service "vc.server/1": a path on the host's own listener, for vendors that call us.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_SERVER_H
#define VCHOST_SERVICE_SERVER_H

#include "../abi.h"
#include "ws.h"

#define VC_SERVICE_SERVER "vc.server/1"

VC_BEGIN_DECLS

/// A request that came in. It lives until the callback returns; `exchange` is answered then or later.
typedef struct vc_server_request {
    uint32_t size;
    uint32_t header_count;
    vc_handle exchange;
    vc_str method;
    vc_str path;  ///< Without the query.
    vc_str query; ///< As it came, percent-encoded, without the question mark.
    vc_str peer;  ///< The network address of the client.
    const vc_field *VC_NULLABLE headers;
    vc_str body;
} vc_server_request;

/// As VC_CONTROL of the provider that owns the route.
typedef void (*vc_server_request_fn)(void *VC_NULLABLE context, const vc_server_request *request);

typedef struct vc_server {
    uint32_t size;
    uint32_t reserved;

    /// Serves `path` (exact, or a prefix when it ends with "/") for a provider. VC_E_ARGUMENT: taken already.
    /// The route goes away with its owner.
    vc_status (*route)(vc_handle provider, const char *path, vc_server_request_fn handle,
                       void *VC_NULLABLE context) VC_CONTROL;

    /// Answers an exchange, once. Without an answer within 10 s the host sends 504.
    vc_status (*respond)(vc_handle exchange, uint32_t http_status, const vc_field *VC_NULLABLE headers,
                         uint32_t header_count, vc_str body) VC_ANY;

    /// Answers the exchange of a WebSocket upgrade by accepting it for `owner`, a provider or a session. From then on
    /// it is a socket of "vc.ws/1".
    vc_status (*upgrade)(vc_handle exchange, vc_handle owner, const char *protocol, const vc_ws_events *events,
                         void *VC_NULLABLE context, vc_handle *socket) VC_ANY;
} vc_server;

VC_END_DECLS

#endif
