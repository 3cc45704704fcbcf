/// @file Text to speech: clauses in, audio out. kind "vc.tts/1".
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_KIND_TTS_H
#define VCHOST_KIND_TTS_H

#include "../audio.h"
#include "../session.h"

#define VC_KIND_TTS "vc.tts/1"

VC_BEGIN_DECLS

typedef struct vc_tts_ops {
    uint32_t size;
    uint32_t reserved;

    /// Speaks `text`, which belongs to `request`. A request comes in one piece or in several, a clause each and in order,
    /// the last with VC_TTS_LAST; the text of the last piece may be empty. Requests are spoken in the order in which they
    /// came and never interleave. Text is plain: no markup, any Unicode; the voice does with it what it can.
    ///
    /// Answered by AUDIO and MARK events, and exactly one TTS_DONE after the last piece's audio, or an ERROR for
    /// this request.
    vc_status (*VC_NULLABLE speak)(vc_self self, uint64_t request, uint64_t epoch, vc_str text, uint32_t flags) VC_CONTROL;
} vc_tts_ops;

enum {
    VC_TTS_LAST = 1u << 0,
};

enum {
    VC_EVENT_AUDIO = VC_EVENT_TTS + 0,    ///< `vc_event_audio`.
    VC_EVENT_MARK = VC_EVENT_TTS + 1,     ///< `vc_event_mark`.
    VC_EVENT_TTS_DONE = VC_EVENT_TTS + 2, ///< `vc_event_tts_done`.
};

/// Speech, as fast as it can be made: the host plays it when it is due. At most 2 s are taken ahead of the playout; then
/// `emit` answers VC_E_AGAIN until `credit`. Frames of any length up to 1 s, any rate that the manifest names.
typedef struct vc_event_audio {
    vc_event head;
    const vc_frame *VC_NULLABLE frame; ///< Lives until `emit` returns. `position` counts from 0 in each request.
} vc_event_audio;

/// Where in the audio a stretch of the request's text is said: what lets the host know which words the caller has heard.
typedef struct vc_event_mark {
    vc_event head;
    uint64_t text_start; ///< Byte offset in the request's text, all pieces joined.
    uint64_t text_end;   ///< Byte offset after the stretch.
    uint64_t position;   ///< The sample, in the request, at which it begins.
    uint64_t end;        ///< The sample after its last.
} vc_event_mark;

enum {
    VC_TTS_COMPLETE = 1, ///< All of the text was spoken.
    VC_TTS_CANCELED = 2, ///< By `cancel`.
};

typedef struct vc_event_tts_done {
    vc_event head;
    uint32_t reason;  ///< VC_TTS_COMPLETE ...
    uint32_t reserved;
    uint64_t samples; ///< Of the whole request, at the rate of its frames.
} vc_event_tts_done;

VC_END_DECLS

#endif
