/// @file End of turn: has the caller finished, or only paused? kind "vc.turn/1".
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_KIND_TURN_H
#define VCHOST_KIND_TURN_H

#include "../audio.h"
#include "../session.h"

#define VC_KIND_TURN "vc.turn/1"

VC_BEGIN_DECLS

/// Asked at a pause, after the detector said silence and before the host decides.
typedef struct vc_turn_ops {
    uint32_t size;
    uint32_t reserved;

    /// Takes 20 ms of the caller's audio. Optional: without it the provider judges by text alone.
    vc_status (*VC_NULLABLE push)(vc_self self, const vc_frame *frame) VC_CONTROL;

    /// The words of the turn so far. Optional: without it the provider judges by audio alone.
    vc_status (*VC_NULLABLE transcript)(vc_self self, vc_str text, uint32_t final) VC_CONTROL;

    /// Asks whether the turn ended at `position`. Answered by one VERDICT with this `request`; a late one is ignored.
    vc_status (*VC_NULLABLE decide)(vc_self self, uint64_t request, uint64_t position) VC_CONTROL;
} vc_turn_ops;

enum {
    VC_EVENT_VERDICT = VC_EVENT_TURN + 0, ///< `vc_event_verdict`.
};

typedef struct vc_event_verdict {
    vc_event head;
    float probability; ///< 0 ... 1 that the turn is over.
    float backchannel; ///< 0 ... 1 that it was only a sign of listening; negative when unknown.
} vc_event_verdict;

VC_END_DECLS

#endif
