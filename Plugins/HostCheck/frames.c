/*  The audio that comes in: of the right shape, and one frame after the other.  */
// SPDX-License-Identifier: Apache-2.0
#include "hostcheck.h"

enum { FRAME_MS = 20 };

int check_frame(session *session, const vc_frame *frame) {
    const object *object = &session->object;
    if (!frame) {
        fault(RULE_NULL_POINTER, object, "push came without a frame");
        return 0;
    }
    check_struct(object, "vc_frame", frame->size, 72);
    if (frame->format != VC_FORMAT_S16 || frame->channels != 1 || frame->rate_hz != session->rate_hz)
        fault(RULE_FRAME_FORMAT, object,
              "a frame of format %u, %u channels and %u Hz came into a session of s16, 1 and %u Hz",
              frame->format, frame->channels, frame->rate_hz, session->rate_hz);
    if (!frame->data || frame->bytes != (uint64_t)frame->samples * frame->channels * 2 || (uintptr_t)frame->data % 2)
        fault(RULE_FRAME_BYTES, object, "a frame of %u samples has %llu bytes at %p", frame->samples,
              (unsigned long long)frame->bytes, frame->data);
    if (frame->samples != session->rate_hz * FRAME_MS / 1000)
        fault(RULE_FRAME_LENGTH, object, "a frame has %u samples at %u Hz", frame->samples, session->rate_hz);
    if (frame->flags & ~(uint32_t)(VC_FRAME_DISCONTINUITY | VC_FRAME_CONCEALED | VC_FRAME_LAST))
        fault(RULE_FRAME_FORMAT, object, "a frame has the flags %#x, of which 1.0 knows only 7", frame->flags);
    if (frame->sequence != session->frames)
        fault(RULE_FRAME_SEQUENCE, object, "a frame is number %llu, and %llu came before it",
              (unsigned long long)frame->sequence, (unsigned long long)session->frames);
    session->frames = frame->sequence + 1;

    if (session->has_audio && frame->position < session->audio_end)
        fault(RULE_FRAME_POSITION, object, "a frame begins at %llu, and audio up to %llu was pushed, in call %s",
              (unsigned long long)frame->position, (unsigned long long)session->audio_end, object->name);
    else if (session->has_audio && frame->position > session->audio_end && !(frame->flags & VC_FRAME_DISCONTINUITY))
        fault(RULE_FRAME_POSITION, object,
              "a frame begins at %llu, after %llu, and does not say DISCONTINUITY, in call %s",
              (unsigned long long)frame->position, (unsigned long long)session->audio_end, object->name);
    session->has_audio = 1;
    session->audio_end = frame->position + frame->samples;

    const uint64_t now = now_ns();
    if (frame->captured_ns < session->captured_ns || frame->captured_ns > now)
        fault(RULE_FRAME_CLOCK, object, "a frame was captured at %llu, after one of %llu, and it is %llu now",
              (unsigned long long)frame->captured_ns, (unsigned long long)session->captured_ns,
                  (unsigned long long)now);
    session->captured_ns = frame->captured_ns;
    check_epoch(session, frame->epoch, "a frame");
    return frame->data && frame->bytes >= (uint64_t)frame->samples * 2;
}
