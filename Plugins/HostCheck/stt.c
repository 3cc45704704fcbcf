/*  The recogniser: understands the configured text in whatever it hears, and looks at how it is asked.

    It takes 16 kHz alone, so that a telephone call's audio comes through the host's resampler. Half a second of an
    utterance is worth a partial transcript, from which a judge of turns gets its words.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "hostcheck.h"
#include "poison.h"

enum { PARTIAL_FRAMES = 25 };

static session *entered(vc_self self, int slot) {
    session *session = session_of(self);
    if (!session) fault(RULE_NULL_POINTER, NULL, "a slot of stt came with a pointer that is no session's");
    return session && enter_active(session, slot) ? session : NULL;
}

/// The text, from a place that is poisoned as soon as the host was told.
static void say_text(session *session, uint64_t request, uint64_t position, uint32_t final) {
    const uint64_t epoch = session->epoch;
    char text[TEXT_SETTING_MAX];
    const size_t length = strlen(session->provider->text);
    memcpy(text, session->provider->text, length);
    const vc_event_transcript event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TRANSCRIPT, .epoch = epoch, .request = request},
        .utterance = session->utterance, .start = session->utterance_begin, .end = position, .text = {text, length},
        .final = final, .confidence = 1, .stability = 1};
    const vc_status status = say(&session->object, &event.head);
    was_taken(session, status, epoch, "a transcript");
    memset(text, POISON, length);
}

static vc_status begin(vc_self self, uint64_t utterance, uint64_t position) {
    session *session = entered(self, SLOT_STT_BEGIN);
    if (!session) return VC_E_STATE;
    if (utterance <= session->utterance || position < session->utterance_begin)
        fault(RULE_UTTERANCE, &session->object,
              "utterance %llu began at %llu, after utterance %llu at %llu, in call %s",
              (unsigned long long)utterance, (unsigned long long)position, (unsigned long long)session->utterance,
              (unsigned long long)session->utterance_begin, session->object.name);
    session->utterance = utterance;
    session->utterance_begin = position;
    leave(&session->object);
    return VC_OK;
}

static vc_status push(vc_self self, const vc_frame *frame) {
    session *session = entered(self, SLOT_STT_PUSH);
    if (!session) return VC_E_STATE;
    const int is_good = check_frame(session, frame);
    if (session->frames % PARTIAL_FRAMES == 0) say_text(session, 0, session->audio_end, 0);
    leave(&session->object);
    return is_good ? VC_OK : VC_E_ARGUMENT;
}

/// Nothing was heard, and so nothing said: FINALIZED comes all the same.
static void answer(session *session, uint64_t request, uint64_t position) {
    const uint64_t epoch = session->epoch;
    if (session->has_audio && session->audio_end > session->utterance_begin) say_text(session, request, position, 1);
    was_taken(session, say_plain(&session->object, VC_EVENT_FINALIZED, epoch, request), epoch, "FINALIZED");
}

static vc_status finalize(vc_self self, uint64_t request, uint64_t position, uint32_t flags) {
    session *session = entered(self, SLOT_STT_FINALIZE);
    if (!session) return VC_E_STATE;
    check_request(session, request);
    if (flags & ~(uint32_t)VC_STT_TENTATIVE)
        fault(RULE_STRUCT_SIZE, &session->object, "finalize came with flags %#x, of which 1.0 knows only 1", flags);
    const uint64_t known = session->audio_end > session->utterance_begin ? session->audio_end
        : session->utterance_begin;
    if (position > known)
        fault(RULE_BEYOND_AUDIO, &session->object,
              "finalize asks up to %llu, and audio up to %llu was pushed, in call %s",
              (unsigned long long)position, (unsigned long long)known, session->object.name);
    if (position < session->utterance_begin)
        fault(RULE_UTTERANCE, &session->object, "finalize asks up to %llu, and the utterance began at %llu",
              (unsigned long long)position, (unsigned long long)session->utterance_begin);
    answer(session, request, position);
    leave(&session->object);
    return VC_OK;
}

const vc_stt_ops stt_ops = {.size = sizeof stt_ops, .begin = begin, .push = push, .finalize = finalize};
