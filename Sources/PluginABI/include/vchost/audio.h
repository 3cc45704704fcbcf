/// @file A stretch of audio, and what is known about it.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_AUDIO_H
#define VCHOST_AUDIO_H

#include "abi.h"

VC_BEGIN_DECLS

enum {
    VC_FORMAT_S16 = 1,  ///< Signed 16 bit, the machine's byte order. Every plugin takes it.
    VC_FORMAT_PCMU = 2, ///< G.711 mu-law, one byte a sample.
    VC_FORMAT_PCMA = 3, ///< G.711 A-law, one byte a sample.
    VC_FORMAT_F32 = 4,  ///< 32 bit float in -1 ... 1.
};

enum {
    VC_FRAME_DISCONTINUITY = 1u << 0, ///< Audio is missing before this frame; `position` says how much.
    VC_FRAME_CONCEALED = 1u << 1,     ///< Made up by the jitter buffer for a packet that did not come.
    VC_FRAME_LAST = 1u << 2,          ///< The last frame of its request.
};

/// A few milliseconds of audio.
///
/// What every plugin must take, and may count on when its manifest lists nothing else: signed 16 bit, one channel, 8 or
/// 16 kHz, 20 ms. The host resamples and re-frames whatever goes through it, so no plugin ever does.
///
/// `bytes` is always `samples * channels * width of the format`: a sample is never split over two frames.
typedef struct vc_frame {
    uint32_t size;
    uint32_t format;      ///< One of VC_FORMAT_...
    uint32_t rate_hz;     ///< Samples a second.
    uint32_t channels;    ///< 1 in this version.
    uint32_t samples;     ///< Samples in each channel.
    uint32_t flags;       ///< VC_FRAME_...
    uint64_t sequence;    ///< Counts the frames of the session, from 0.
    uint64_t position;    ///< The first sample, counted in samples at `rate_hz` since the session opened.
    uint64_t captured_ns; ///< When it arrived, on the host's clock ("vc.clock/1"); 0 when it was not captured.
    uint64_t epoch;       ///< The epoch to which it belongs.
    const void *VC_NULLABLE data;
    uint64_t bytes;
} vc_frame;

VC_END_DECLS

#endif
