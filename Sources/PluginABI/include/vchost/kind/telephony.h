/// @file Telephony: calls in and out. kind "vc.telephony/1".
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_KIND_TELEPHONY_H
#define VCHOST_KIND_TELEPHONY_H

#include "../audio.h"
#include "../session.h"

#define VC_KIND_TELEPHONY "vc.telephony/1"

VC_BEGIN_DECLS

/*  Two profiles, declared in the manifest as `"profile"`:

    "signalling"  The plugin speaks a signalling protocol and never touches audio. It gives the SDP that it received to
                  the service "vc.media/1" and gets an answer and a running media session of the host's engine.
    "frames"      The transport carries the audio itself: a WebSocket, say. The plugin emits the caller's frames as
                  they come, and is given the agent's frames to send, at most 200 ms ahead of the playout.

    An incoming call has a key, chosen by the plugin and unique while the call lives:

        provider emits INCOMING{key} ─► the host opens a session with that key, within 2 s, or declines it
        session: ringing? ─► answer ─► ANSWERED ─► ... ─► HANGUP ─► close ─► CLOSED ─► destroy

    An outgoing call is a session opened without a key: RINGING?, then ANSWERED or HANGUP.  */

enum {
    VC_CALL_INBOUND = 1,
    VC_CALL_OUTBOUND = 2,
};

/// `vc_open.kind` of a telephony session.
typedef struct vc_telephony_open {
    uint32_t size;
    uint32_t direction; ///< VC_CALL_...
    vc_str key;         ///< Inbound: the key of the INCOMING event.
    vc_str to;          ///< Outbound: whom to call, as the plugin's addresses are written ("sip:...", "+90555...").
    vc_str from;        ///< Outbound: as whom, or empty for the plugin's default.
    const vc_field *VC_NULLABLE headers; ///< Outbound: additional headers, `header_count` of them.
    uint32_t header_count;
    uint32_t ring_timeout_ms; ///< Outbound: give up after this time without an answer.
} vc_telephony_open;

/// Slots of the profile "frames". All of them are mandatory there.
typedef struct vc_telephony_frames_ops {
    uint32_t size;
    uint32_t reserved;

    /// Sends a frame to the caller. VC_E_AGAIN: not taken, the transport is behind; the host waits for `credit`.
    vc_status (*VC_NULLABLE play)(vc_self self, const vc_frame *frame) VC_CONTROL;

    /// Asks for a PLAYED event with this `mark` when everything played before it was heard by the caller.
    vc_status (*VC_NULLABLE mark)(vc_self self, uint64_t mark) VC_CONTROL;

    /// Throws away what was played and not heard yet, the buffers on the carrier's side included. Marks that were
    /// outstanding are answered by PLAYED with `cleared` set.
    vc_status (*VC_NULLABLE flush)(vc_self self) VC_CONTROL;
} vc_telephony_frames_ops;

/// What a call can be told. Each is answered by the event named; a refusal by the peer is an ERROR that is not fatal.
typedef struct vc_telephony_ops {
    uint32_t size;
    uint32_t reserved;

    /// Inbound: tell the caller that it rings. Optional.
    vc_status (*VC_NULLABLE ringing)(vc_self self) VC_CONTROL;

    /// Inbound: accept the call. Answered by ANSWERED once the peer confirmed it, or by HANGUP.
    vc_status (*VC_NULLABLE answer)(vc_self self) VC_CONTROL;

    /// Ends the call in whatever state it is: refuses it before the answer, hangs up after it. `code` is a SIP status
    /// (486, 503, ...), or 0 for the usual one. Answered by HANGUP.
    vc_status (*VC_NULLABLE hangup)(vc_self self, uint32_t code, vc_str reason) VC_CONTROL;

    /// Sends the caller to somebody else, and ends this call if that works. Answered by TRANSFERRED.
    vc_status (*VC_NULLABLE transfer)(vc_self self, vc_str target) VC_CONTROL;

    /// Puts the caller on hold, or takes the caller back. Optional.
    vc_status (*VC_NULLABLE hold)(vc_self self, uint32_t on) VC_CONTROL;

    /// Sends digits by the signalling. Optional; with a media session the host sends them in RTP.
    vc_status (*VC_NULLABLE dtmf)(vc_self self, vc_str digits) VC_CONTROL;

    /// The slots of the profile "frames", else NULL.
    const vc_telephony_frames_ops *VC_NULLABLE frames;
} vc_telephony_ops;

/// In `vc_provider.kind_ops`.
typedef struct vc_telephony_provider_ops {
    uint32_t size;
    uint32_t reserved;

    /// Refuses an incoming call for which no session will be opened: 503 when the host is full, with the seconds after
    /// which the peer may try again in `retry_after_s` (0: say nothing).
    vc_status (*VC_NULLABLE decline)(vc_self self, vc_str key, uint32_t code, uint32_t retry_after_s) VC_CONTROL;
} vc_telephony_provider_ops;

enum {
    VC_EVENT_INCOMING = VC_EVENT_TELEPHONY + 0,    ///< `vc_event_incoming`, from the provider.
    VC_EVENT_WITHDRAWN = VC_EVENT_TELEPHONY + 1,   ///< `vc_event_withdrawn`, from the provider: gone before a session.
    VC_EVENT_RINGING = VC_EVENT_TELEPHONY + 2,     ///< Outbound: the callee's phone rings. No body.
    VC_EVENT_ANSWERED = VC_EVENT_TELEPHONY + 3,    ///< The call is up. No body.
    VC_EVENT_HANGUP = VC_EVENT_TELEPHONY + 4,      ///< `vc_event_hangup`: the call is over, whoever ended it. Once.
    VC_EVENT_FRAME = VC_EVENT_TELEPHONY + 5,       ///< `vc_event_frame`: the caller's audio, profile "frames".
    VC_EVENT_PLAYED = VC_EVENT_TELEPHONY + 6,      ///< `vc_event_played`, profile "frames".
    VC_EVENT_DTMF = VC_EVENT_TELEPHONY + 7,        ///< `vc_event_dtmf`: digits that came by the signalling.
    VC_EVENT_HELD = VC_EVENT_TELEPHONY + 8,        ///< `vc_event_held`: the peer put the call on hold, or took it back.
    VC_EVENT_TRANSFERRED = VC_EVENT_TELEPHONY + 9, ///< `vc_event_transferred`.
};

/// Somebody calls.
typedef struct vc_event_incoming {
    vc_event head;
    vc_str key;
    vc_str from;     ///< Who calls, an address as the protocol writes it.
    vc_str display;  ///< The name that came with it, or empty.
    vc_str to;       ///< Whom the caller called: what chooses the profile.
    vc_str peer;     ///< The network address from which it came.
    vc_str protocol_call; ///< The protocol's own id of the call ("Call-ID"), for the logs.
    const vc_field *VC_NULLABLE headers; ///< What else came with it, `header_count` of them.
    uint32_t header_count;
    uint32_t reserved;
} vc_event_incoming;

typedef struct vc_event_withdrawn {
    vc_event head;
    vc_str key;
} vc_event_withdrawn;

enum {
    VC_HANGUP_CALLER = 1,  ///< The caller hung up.
    VC_HANGUP_AGENT = 2,   ///< `hangup` did.
    VC_HANGUP_CANCELED = 3, ///< The caller gave up before the answer.
    VC_HANGUP_REFUSED = 4, ///< Outbound: busy, declined, no such number. `code` says which.
    VC_HANGUP_NO_ANSWER = 5,
    VC_HANGUP_FAILED = 6, ///< The protocol or the network failed. `code` and `reason` say how.
};

typedef struct vc_event_hangup {
    vc_event head;
    uint32_t cause; ///< VC_HANGUP_...
    uint32_t code;  ///< The SIP status or Q.850 cause, or 0.
    vc_str reason;  ///< The peer's words, or empty.
} vc_event_hangup;

typedef struct vc_event_frame {
    vc_event head;
    const vc_frame *VC_NULLABLE frame; ///< Lives until `emit` returns.
} vc_event_frame;

typedef struct vc_event_played {
    vc_event head;
    uint64_t mark;
    uint32_t cleared; ///< 1: by `flush`, not heard.
    uint32_t reserved;
} vc_event_played;

typedef struct vc_event_dtmf {
    vc_event head;
    vc_str digits;        ///< Of 0-9 * # A-D.
    uint32_t duration_ms; ///< Of one digit; 0 when unknown.
    uint32_t reserved;
} vc_event_dtmf;

typedef struct vc_event_held {
    vc_event head;
    uint32_t on;
    uint32_t reserved;
} vc_event_held;

typedef struct vc_event_transferred {
    vc_event head;
    uint32_t succeeded;
    uint32_t code; ///< The peer's status.
    vc_str reason;
} vc_event_transferred;

VC_END_DECLS

#endif
