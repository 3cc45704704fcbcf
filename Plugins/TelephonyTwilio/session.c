/*  The slots of a session. What a call is told is done at once where it can be: everything here runs on the session,
    as the stream's messages do.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "objects.h"

static void session_cancel(vc_self self, uint64_t epoch) {
    twilio_call *call = self;
    uint64_t known = atomic_load(&call->epoch);
    do
        if (epoch <= known) return;
    while (!atomic_compare_exchange_weak(&call->epoch, &known, epoch));
    // What is to be silent is flushed; nothing else is made for an epoch here.
    twilio_emit_plain(call->provider, call->session, VC_EVENT_CANCELED, epoch);
}

static void session_credit(vc_self self, uint32_t events, uint64_t bytes) {
    (void)events, (void)bytes;
    twilio_emit_waiting(self);
}

static void session_close(vc_self self) {
    twilio_call *call = self;
    call->is_closing = true;
    // An agent's last word is still being played: its end is the call's, and comes within the second.
    if (call->state == TWILIO_ENDING && !call->is_transferred) return;
    if (call->state == TWILIO_OVER) {
        if (!call->socket) return twilio_call_closed(call);
        twilio_call_deadline(call, TWILIO_GOODBYE_MS);
        return;
    }
    call->is_unheard = false;
    if (call->state < TWILIO_ENDING) twilio_call_hangup(call, 0);
    else twilio_call_over(call, VC_HANGUP_AGENT, 0, "Transferred");
}

static void session_destroy(vc_self self) { twilio_desk_destroy(self); }

static vc_status session_answer(vc_self self) {
    twilio_call *call = self;
    char twiml[TW_TWIML_MAX];
    if (call->direction != VC_CALL_INBOUND || call->state != TWILIO_TAKEN) return VC_E_STATE;
    if (!twilio_call_document(call, twiml)) return VC_E_CONFIG;
    // The stream may come before `respond` has returned.
    call->state = TWILIO_CONNECTING;
    if (!twilio_respond_to_call(call, twiml)) {
        twilio_call_over(call, VC_HANGUP_CANCELED, 0, "Twilio no longer waits for an answer");
        return VC_OK;
    }
    twilio_call_deadline(call, call->provider->settings.stream_timeout_ms);
    return VC_OK;
}

static vc_status session_hangup(vc_self self, uint32_t code, vc_str reason) {
    (void)reason; // Twilio has no place for it.
    if (code && (code < 300 || code > 699)) return VC_E_ARGUMENT;
    twilio_call_hangup(self, code);
    return VC_OK;
}

static bool is_address(vc_str text) {
    if (!text.data || text.length == 0 || text.length > 512) return false;
    for (uint64_t index = 0; index < text.length; index++)
        if ((unsigned char)text.data[index] <= ' ' || text.data[index] == 0x7f) return false;
    return true;
}

static vc_status session_transfer(vc_self self, vc_str target) {
    twilio_call *call = self;
    twilio_provider *provider = call->provider;
    char twiml[TW_TWIML_MAX], form[3 * TW_TWIML_MAX] = "", sid[TW_SID_MAX];
    if (call->state != TWILIO_UP || call->is_transferring) return VC_E_STATE;
    if (!is_address(target)) return VC_E_ARGUMENT;
    const size_t length = tw_twiml_dial(twiml, (tw_text){target.data, target.length},
                                        provider->settings.transfer_caller_id, provider->settings.transfer_timeout_s);
    if (!length || !tw_form_append(form, sizeof form, "Twiml", (tw_text){twiml, length})) return VC_E_ARGUMENT;
    pthread_mutex_lock(&provider->lock);
    memcpy(sid, call->sid, sizeof sid);
    pthread_mutex_unlock(&provider->lock);
    const vc_status status = twilio_rest(provider, TWILIO_TRANSFER, call->number, sid, form);
    if (status != VC_OK) return status;
    call->is_transferring = true;
    twilio_call_deadline(call, TWILIO_TRANSFER_MS);
    return VC_OK;
}

static vc_status frames_play(vc_self self, const vc_frame *frame) {
    twilio_call *call = self;
    if (call->state != TWILIO_UP) return VC_E_STATE;
    const bool is_mulaw = frame->format == VC_FORMAT_PCMU;
    if ((!is_mulaw && frame->format != VC_FORMAT_S16) || frame->rate_hz != 8000 || frame->channels != 1 ||
        frame->samples == 0 || frame->samples > TW_MEDIA_BYTES_MAX || !frame->data ||
        frame->bytes != (uint64_t)frame->samples * (is_mulaw ? 1 : 2))
        return VC_E_ARGUMENT;
    if (call->must_clear) twilio_stream_clear(call);
    if (call->must_clear) return VC_E_AGAIN;
    uint8_t codes[TW_MEDIA_BYTES_MAX];
    const uint8_t *audio = frame->data;
    if (!is_mulaw) {
        const int16_t *samples = frame->data;
        for (uint32_t index = 0; index < frame->samples; index++) codes[index] = tw_mulaw_encode(samples[index]);
        audio = codes;
    }
    char message[TW_MESSAGE_ROOM];
    const size_t length =
        tw_write_media(message, (tw_text){call->stream_sid, call->stream_sid_length}, audio, frame->samples);
    vc_status status;
    if (!twilio_stream_send(call, message, length, &status)) return status == VC_E_AGAIN ? VC_E_AGAIN : VC_E_CLOSED;
    call->is_unheard = true;
    twilio_count(call->provider, TWILIO_MEDIA_OUT);
    return VC_OK;
}

static vc_status frames_mark(vc_self self, uint64_t mark) {
    twilio_call *call = self;
    if (call->state != TWILIO_UP) return VC_E_STATE;
    if (call->mark_count == TWILIO_MAX_MARKS) return VC_E_AGAIN;
    char name[24], message[TW_MESSAGE_ROOM];
    snprintf(name, sizeof name, "m%llu", (unsigned long long)mark);
    const size_t length = tw_write_mark(message, (tw_text){call->stream_sid, call->stream_sid_length}, name);
    vc_status status;
    if (!twilio_stream_send(call, message, length, &status)) return status == VC_E_AGAIN ? VC_E_AGAIN : VC_E_CLOSED;
    call->marks[call->mark_count++] = mark;
    return VC_OK;
}

static vc_status frames_flush(vc_self self) {
    twilio_call *call = self;
    // There is nothing to throw away; and an agent that has hung up is heard to its last word.
    if (call->state != TWILIO_UP) return VC_OK;
    twilio_stream_clear(call);
    for (uint32_t index = 0; index < call->mark_count; index++)
        twilio_emit(call, &(twilio_event){.type = VC_EVENT_PLAYED, .mark = call->marks[index], .cause = 1});
    call->mark_count = 0;
    return VC_OK;
}

static const vc_telephony_frames_ops frames_ops = {
    .size = sizeof frames_ops,
    .play = frames_play,
    .mark = frames_mark,
    .flush = frames_flush,
};

const vc_session_ops twilio_session_ops = {
    .size = sizeof twilio_session_ops,
    .cancel = session_cancel,
    .credit = session_credit,
    .close = session_close,
    .destroy = session_destroy,
};

const vc_telephony_ops twilio_telephony_ops = {
    .size = sizeof twilio_telephony_ops,
    .answer = session_answer,
    .hangup = session_hangup,
    .transfer = session_transfer,
    .frames = &frames_ops,
};
