/// @file What a plugin tells the host: one header, then the body of the type.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_EVENT_H
#define VCHOST_EVENT_H

#include "abi.h"

VC_BEGIN_DECLS

/// The head of every event. The body follows it in the same struct, so that whoever records or forwards an event copies
/// `size` bytes without knowing the type; the strings and the audio that a body points to follow the rule of `vc_str`.
typedef struct vc_event {
    uint32_t size; ///< Of the whole event, body included.
    uint32_t type; ///< VC_EVENT_...
    uint32_t flags;
    uint32_t reserved;
    uint64_t epoch;   ///< The epoch for which it was made. The host drops what is older than the session's.
    uint64_t request; ///< The request that it answers, or 0.
} vc_event;

enum {
    /// In `flags`: a host that does not know the type ignores the event. Without it, an unknown type is logged as a fault.
    VC_EVENT_OPTIONAL = 1u << 0,
};

/// The events of every kind. Those of one kind stand in its header, each kind in its own hundred.
enum {
    VC_EVENT_READY = 1,    ///< The object can work. Once, after `open` or `start`. No body.
    VC_EVENT_ERROR = 2,    ///< `vc_event_error`. With `fatal`, the session does nothing more and waits for `close`.
    VC_EVENT_CANCELED = 3, ///< Answers `cancel`: nothing older than `epoch` will come. No body.
    VC_EVENT_CLOSED = 4,   ///< Answers `close`: the last event of the session, exactly once. No body.
    VC_EVENT_DRAINED = 5,  ///< From a provider, answers `drain`: it holds no port and no work any more. No body.

    VC_EVENT_TELEPHONY = 100,
    VC_EVENT_STT = 200,
    VC_EVENT_TURN = 300,
    VC_EVENT_LLM = 400,
    VC_EVENT_TTS = 500,
};

/// Something went wrong. `error` lives until `emit` returns.
///
/// With a request in its head, and not fatal, it ends that request in place of its DONE, and the session goes on. With
/// `fatal`, the session emits nothing more and waits for `close`.
typedef struct vc_event_error {
    vc_event head;
    const vc_error *VC_NULLABLE error;
    uint32_t fatal; ///< 1 when the session cannot go on.
    uint32_t reserved;
} vc_event_error;

VC_END_DECLS

#endif
