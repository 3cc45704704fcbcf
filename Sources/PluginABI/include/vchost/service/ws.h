/// @file Service "vc.ws/1": WebSocket connections to a vendor.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_WS_H
#define VCHOST_SERVICE_WS_H

#include "../abi.h"

#define VC_SERVICE_WS "vc.ws/1"

VC_BEGIN_DECLS

/// A connection to be made. All of it is copied before `connect` returns.
typedef struct vc_ws_connect {
    uint32_t size;
    uint32_t connect_ms; ///< Until the upgrade is done; 0: 5 s.
    vc_str url;          ///< ws or wss.
    vc_str protocols;    ///< Subprotocols, separated by commas, or empty.
    const vc_field *VC_NULLABLE headers; ///< As in "vc.http/1", secrets included.
    uint32_t header_count;
    uint32_t ping_ms; ///< Send a ping when nothing was heard for so long; 0: 20 s.
} vc_ws_connect;

/// How it goes: `opened` once, messages whole and in order, `closed` once and last. All as VC_CONTROL of the owner.
typedef struct vc_ws_events {
    uint32_t size;
    uint32_t reserved;
    void (*VC_NULLABLE opened)(void *VC_NULLABLE context, vc_handle socket);
    /// `binary` is 1 or 0. A message larger than 1 MiB closes the connection with 1009.
    void (*VC_NULLABLE message)(void *VC_NULLABLE context, vc_handle socket, vc_str bytes, uint32_t binary);
    /// What could not be sent before, can be now.
    void (*VC_NULLABLE writable)(void *VC_NULLABLE context, vc_handle socket);
    /// `code` is the peer's close code, or 0; `error` is NULL after a proper close.
    void (*VC_NULLABLE closed)(void *VC_NULLABLE context, vc_handle socket, uint32_t code, vc_str reason,
                               const vc_error *VC_NULLABLE error);
} vc_ws_events;

typedef struct vc_ws {
    uint32_t size;
    uint32_t reserved;

    /// Connects for a session or a provider. VC_E_AGAIN: the owner has 8 connections already.
    vc_status (*connect)(vc_handle owner, const vc_ws_connect *request, const vc_ws_events *events,
                         void *VC_NULLABLE context, vc_handle *socket) VC_ANY;

    /// Sends one message, which is copied. VC_E_AGAIN: 256 KiB wait to be sent already; `writable` follows.
    vc_status (*send)(vc_handle socket, vc_str bytes, uint32_t binary) VC_ANY;

    /// Sends a close frame; `closed` follows within 2 s.
    vc_status (*close)(vc_handle socket, uint32_t code, vc_str reason) VC_ANY;
} vc_ws;

VC_END_DECLS

#endif
