/*  The voice: one tone, for as long as a person would need, 15 characters a second.

    As fast as the host takes it, so that the host's limit of 2 s ahead is met, and `credit` is needed to go on.  */
// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "hostcheck.h"
#include "poison.h"

enum { CHARACTERS_PER_SECOND = 15, FRAMES_PER_SECOND = 50, FRAME_MAX = 320, AMPLITUDE = 8000 };

static void drop_first(session *session) {
    memmove(session->waiting, session->waiting + 1, --session->waiting_count * sizeof session->waiting[0]);
}

static vc_status say_frame(session *session, pending *pending) {
    int16_t samples[FRAME_MAX];
    const uint32_t count = session->rate_hz / FRAMES_PER_SECOND;
    const double step = 2 * M_PI * session->provider->tone_hz / session->rate_hz;
    for (uint32_t index = 0; index < count; index++)
        samples[index] = (int16_t)(AMPLITUDE * sin(step * (double)(pending->position + index)));
    const vc_frame frame = {.size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = session->rate_hz, .channels = 1,
        .samples = count, .sequence = session->sequence, .position = pending->position, .epoch = pending->epoch,
        .data = samples, .bytes = count * sizeof samples[0]};
    const vc_event_audio audio = {
        .head = {.size = sizeof audio, .type = VC_EVENT_AUDIO, .epoch = pending->epoch, .request = pending->number},
        .frame = &frame};
    const vc_status status = say(&session->object, &audio.head);
    memset(samples, POISON, sizeof samples);
    if (status == VC_OK) session->sequence++, pending->position += count;
    return status;
}

static vc_status say_end(session *session, pending *pending) {
    const vc_event_mark mark = {
        .head = {.size = sizeof mark, .type = VC_EVENT_MARK, .epoch = pending->epoch, .request = pending->number},
        .text_end = pending->length, .end = pending->position};
    const vc_event_tts_done done = {
        .head = {.size = sizeof done, .type = VC_EVENT_TTS_DONE, .epoch = pending->epoch, .request = pending->number},
        .reason = VC_TTS_COMPLETE, .samples = pending->position};
    const vc_status status = pending->step ? VC_OK : say(&session->object, &mark.head);
    if (status != VC_OK) return status;
    pending->step = 1;
    return say(&session->object, &done.head);
}

void tts_work(session *session) {
    while (session->waiting_count > 0) {
        pending *pending = &session->waiting[0];
        const uint64_t wanted = pending->length * session->rate_hz / CHARACTERS_PER_SECOND;
        if (pending->position >= wanted && !pending->is_complete) return;
        const int is_end = pending->position >= wanted;
        const vc_status status = is_end ? say_end(session, pending) : say_frame(session, pending);
        if (status == VC_E_AGAIN) return; // `credit` goes on from here.
        if (!was_taken(session, status, pending->epoch, "speech") || is_end) drop_first(session);
    }
}

static vc_status speak(vc_self self, uint64_t number, uint64_t epoch, vc_str text, uint32_t flags) {
    session *session = session_of(self);
    if (!session) fault(RULE_NULL_POINTER, NULL, "tts.speak came with a pointer that is no session's");
    if (!session || !enter_active(session, SLOT_TTS_SPEAK)) return VC_E_STATE;
    check_text(&session->object, "a text to speak", text, TEXT_MAX_BYTES);
    check_epoch(session, epoch, "a text to speak");
    if (flags & ~(uint32_t)VC_TTS_LAST)
        fault(RULE_STRUCT_SIZE, &session->object, "speak came with flags %#x, of which 1.0 knows only 1", flags);

    pending *open = session->waiting_count ? &session->waiting[session->waiting_count - 1] : NULL;
    const uint64_t last = session->seen_count ? session->seen[(session->seen_count - 1) % REQUESTS_MAX] : 0;
    vc_status status = VC_OK;
    if (open && open->number == number && !open->is_complete) {
        open->length += text.length;
        open->is_complete = flags & VC_TTS_LAST;
    } else if (session->seen_count && last == number) {
        fault(RULE_AFTER_LAST, &session->object, "a text came for request %llu, whose last piece had come, in call %s",
              (unsigned long long)number, session->object.name);
        status = VC_E_ARGUMENT;
    } else {
        if (open && !open->is_complete && open->epoch >= atomic_load(&session->canceled) && open->epoch == epoch)
            fault(RULE_INTERLEAVED, &session->object, "request %llu began before the last piece of request %llu",
                  (unsigned long long)number, (unsigned long long)open->number);
        check_request(session, number);
        if (session->waiting_count == WAITING_MAX) status = VC_E_AGAIN;
        else
            session->waiting[session->waiting_count++] =
                (pending){.number = number, .epoch = epoch, .length = text.length, .is_complete = flags & VC_TTS_LAST};
    }
    tts_work(session);
    leave(&session->object);
    return status;
}

const vc_tts_ops tts_ops = {.size = sizeof tts_ops, .speak = speak};
