/// @file Speech to text: audio in, words out. kind "vc.stt/1".
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_KIND_STT_H
#define VCHOST_KIND_STT_H

#include "../audio.h"
#include "../session.h"

#define VC_KIND_STT "vc.stt/1"

VC_BEGIN_DECLS

/*  Positions are samples of the session, at the rate with which it was opened: never wall time.

    The session lives as long as the call. A barge-in does not cancel it: it is hearing the interrupter.

        begin(u, p) ─► push push push ... finalize(r, p') ─► TRANSCRIPT... FINALIZED(r) ... begin(u + 1, p'')  */

typedef struct vc_stt_ops {
    uint32_t size;
    uint32_t reserved;

    /// The caller's utterance number `utterance` begins at `position`, which may lie in audio that was pushed already.
    /// Audio before it is needed no more, and later transcripts carry this number. Optional: a recogniser that finds
    /// utterances by itself numbers them as it goes.
    vc_status (*VC_NULLABLE begin)(vc_self self, uint64_t utterance, uint64_t position) VC_CONTROL;

    /// Takes 20 ms of the caller's audio, in order and without gaps. The frame lives until the call returns.
    /// VC_E_AGAIN: not taken; the host keeps at most 200 ms back, then drops the oldest and counts it.
    vc_status (*VC_NULLABLE push)(vc_self self, const vc_frame *frame) VC_CONTROL;

    /// Asks for the final text of the utterance up to `position`. Answered by final TRANSCRIPT events with this
    /// `request`, and then FINALIZED; also when there was no speech.
    ///
    /// With VC_STT_TENTATIVE the caller may well go on: the utterance stays open, and may be finalized again. The host
    /// uses it only where the manifest says `"tentative": true`.
    vc_status (*VC_NULLABLE finalize)(vc_self self, uint64_t request, uint64_t position, uint32_t flags) VC_CONTROL;
} vc_stt_ops;

enum {
    VC_STT_TENTATIVE = 1u << 0,
};

enum {
    VC_EVENT_TRANSCRIPT = VC_EVENT_STT + 0, ///< `vc_event_transcript`.
    VC_EVENT_FINALIZED = VC_EVENT_STT + 1,  ///< Ends the answer to a `finalize`. No body.
    VC_EVENT_STT_TURN = VC_EVENT_STT + 2,   ///< `vc_event_stt_turn`: the recogniser's own opinion on the turn.
};

/// A word and where it was said.
typedef struct vc_word {
    vc_str text;
    uint64_t start;   ///< Position of its first sample.
    uint64_t end;     ///< Position after its last sample.
    float confidence; ///< 0 ... 1; negative when unknown.
    uint32_t reserved;
} vc_word;

/// Words of the caller. A partial transcript replaces the one before it; a final one is never taken back.
typedef struct vc_event_transcript {
    vc_event head;
    uint64_t utterance;
    uint64_t start; ///< Position where the text begins.
    uint64_t end;   ///< Position up to which audio was used.
    vc_str text;
    vc_str language;    ///< What was recognised, BCP 47, or empty.
    uint32_t final;     ///< 1: this text will not change.
    float confidence;   ///< 0 ... 1; negative when unknown.
    float stability;    ///< Of a partial: 0 ... 1; negative when unknown.
    uint32_t word_count;
    const vc_word *VC_NULLABLE words; ///< `word_count` of them, or NULL.
} vc_event_transcript;

enum {
    VC_STT_TURN_START = 1,   ///< The caller began to speak.
    VC_STT_TURN_EAGER = 2,   ///< The caller is probably done. `text` is what END would say if it came now.
    VC_STT_TURN_RESUMED = 3, ///< After EAGER: the caller went on.
    VC_STT_TURN_END = 4,     ///< The caller is done. Its text equals that of the last EAGER, or RESUMED came between.
};

/// For recognisers that decide turns themselves, with `"turns": true` in the manifest. The host stays the judge.
typedef struct vc_event_stt_turn {
    vc_event head;
    uint64_t utterance;
    uint64_t position;
    vc_str text;
    uint32_t turn; ///< VC_STT_TURN_...
    float confidence;
} vc_event_stt_turn;

VC_END_DECLS

#endif
