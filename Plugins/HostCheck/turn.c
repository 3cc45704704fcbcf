/*  The judge of turns: every pause is the end of a turn, with the probability of a coin that never lies.  */
// SPDX-License-Identifier: Apache-2.0
#include "hostcheck.h"

static session *entered(vc_self self, int slot) {
    session *session = session_of(self);
    if (!session) fault(RULE_NULL_POINTER, NULL, "a slot of turn came with a pointer that is no session's");
    return session && enter_active(session, slot) ? session : NULL;
}

static vc_status push(vc_self self, const vc_frame *frame) {
    session *session = entered(self, SLOT_TURN_PUSH);
    if (!session) return VC_E_STATE;
    const int is_good = check_frame(session, frame);
    leave(&session->object);
    return is_good ? VC_OK : VC_E_ARGUMENT;
}

static vc_status transcript(vc_self self, vc_str text, uint32_t final) {
    session *session = entered(self, SLOT_TURN_TRANSCRIPT);
    if (!session) return VC_E_STATE;
    check_text(&session->object, "a transcript", text, TEXT_MAX_BYTES);
    if (final > 1) fault(RULE_TEXT, &session->object, "transcript came with final = %u; it is 0 or 1", final);
    leave(&session->object);
    return VC_OK;
}

static vc_status decide(vc_self self, uint64_t request, uint64_t position) {
    session *session = entered(self, SLOT_TURN_DECIDE);
    if (!session) return VC_E_STATE;
    check_request(session, request);
    if (position > session->audio_end)
        fault(RULE_BEYOND_AUDIO, &session->object,
              "decide asks about %llu, and audio up to %llu was pushed, in call %s",
              (unsigned long long)position, (unsigned long long)session->audio_end, session->object.name);
    const uint64_t epoch = session->epoch;
    const vc_event_verdict event = {
        .head = {.size = sizeof event, .type = VC_EVENT_VERDICT, .epoch = epoch, .request = request},
        .probability = 0.9f, .backchannel = -1};
    was_taken(session, say(&session->object, &event.head), epoch, "a verdict");
    leave(&session->object);
    return VC_OK;
}

const vc_turn_ops turn_ops = {.size = sizeof turn_ops, .push = push, .transcript = transcript, .decide = decide};
