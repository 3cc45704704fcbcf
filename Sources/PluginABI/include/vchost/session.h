/// @file A session: one provider's work for one call, in one direction. What a barge-in cancels.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SESSION_H
#define VCHOST_SESSION_H

#include "host.h"

VC_BEGIN_DECLS

/*  The life of a session:

        open ──► [READY] ──► active ──► close ──► CLOSED (event, exactly one, the last) ──► destroy

    `open` answers at once; a connection is made behind it, and READY or a fatal ERROR follows within the manifest's
    `readyTimeoutMs`. Until then the host keeps the audio back (2 s of it) and sends it after READY.

    Epochs: a counter that only grows. The host raises it first, drops from that instant whatever is older, and then
    tells the plugin. There is no flag to be left armed, and nothing to race with.  */

/// What a session is opened with. The strings live until `open` returns.
typedef struct vc_open {
    uint32_t size;
    uint32_t rate_hz; ///< The rate of the call's audio, one of those in the manifest; 0 for kinds without audio.
    vc_handle session;
    uint64_t epoch; ///< The epoch in which the session begins.
    vc_str call;     ///< The call's id, the same in every session of the call and in the logs.
    vc_str leg;      ///< "caller" or "agent": whose audio or words these are.
    vc_str tenant;   ///< For whom the call is, or empty.
    vc_str language; ///< BCP 47, "en" or "tr-TR"; empty when unknown.
    vc_str config;   ///< JSON of this session's settings, checked by the manifest's `session` schema; "{}" at least.
    const void *VC_NULLABLE kind; ///< What only this kind needs: `vc_telephony_open` for telephony, else NULL.
} vc_open;

/// What every session can do, whatever its kind.
typedef struct vc_session_ops {
    uint32_t size;
    uint32_t reserved;

    /// Nothing older than `epoch` matters any more: stop what is under way for it, and emit CANCELED with this epoch
    /// within 100 ms. Wait-free, idempotent; smaller epochs than the last one are ignored. The session stays open.
    void (*VC_NULLABLE cancel)(vc_self self, uint64_t epoch) VC_ANY;

    /// The host has room for `events` more events and `bytes` more bytes of audio after `emit` said VC_E_AGAIN.
    void (*VC_NULLABLE credit)(vc_self self, uint32_t events, uint64_t bytes) VC_CONTROL;

    /// Begin to end. Emit CLOSED when nothing more will come: within 1 s, or the host gives the session up after 5 s,
    /// revokes its handle, and counts it against the plugin. Never fails; called once.
    void (*VC_NULLABLE close)(vc_self self) VC_CONTROL;

    /// Free the session. After CLOSED, or after a failure of the plugin; nothing is called on it afterwards.
    void (*VC_NULLABLE destroy)(vc_self self) VC_CONTROL;
} vc_session_ops;

/// What `open` fills in. The tables belong to the plugin, are constant, and live as long as the process.
typedef struct vc_session {
    uint32_t size;
    uint32_t reserved;
    vc_self state; ///< Passed back as `self` in every call of the tables.
    const vc_session_ops *VC_NULLABLE ops;
    const void *VC_NULLABLE kind_ops; ///< `vc_stt_ops`, `vc_llm_ops`, ... after the provider's kind.
} vc_session;

VC_END_DECLS

#endif
