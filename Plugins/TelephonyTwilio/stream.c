/*  The WebSocket of a call: fifty messages a second in each direction, and nothing on their way allocates, locks or
    copies more than the samples. What is sent is written into a buffer on the stack, and the host copies it.

    Marks come back in the order in which they were sent, so one that comes back answers for all before it. When the
    host flushes, ours are answered at once, as cleared; what Twilio then sends back is old news.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

enum { SAMPLES_MAX = 1500, RATE_HZ = 8000 };

/// False: the socket is full, or gone. `*status` says which.
bool twilio_stream_send(twilio_call *call, const char *message, size_t length, vc_status *status) {
    *status = call->socket ? call->provider->ws->send(call->socket, (vc_str){message, length}, 0) : VC_E_CLOSED;
    return *status == VC_OK;
}

void twilio_stream_clear(twilio_call *call) {
    char message[TW_MESSAGE_ROOM];
    const size_t length = tw_write_clear(message, (tw_text){call->stream_sid, call->stream_sid_length});
    vc_status status;
    // A clear that does not fit goes out before anything else does.
    call->must_clear = !twilio_stream_send(call, message, length, &status) && status == VC_E_AGAIN;
    call->is_unheard = false;
    twilio_count(call->provider, TWILIO_CLEARS);
}

static void bad_message(twilio_call *call) {
    twilio_count(call->provider, TWILIO_BAD_MESSAGES);
    if (++call->bad_messages < TWILIO_MAX_BAD_MESSAGES) return;
    twilio_call_over(call, VC_HANGUP_FAILED, 400, "The stream is not that of Media Streams");
}

static void on_opened(void *context, vc_handle socket) {
    twilio_call *call = context;
    // Hung up in between: nobody waits for this stream.
    if (call->state != TWILIO_CONNECTING) call->provider->ws->close(socket, 1000, twilio_str("over"));
    call->socket = socket;
}

static bool is_ours(const twilio_call *call, const tw_message *message, const char **problem) {
    const twilio_provider *provider = call->provider;
    if (!tw_texts_match(message->token, (tw_text){call->token, strlen(call->token)}))
        *problem = "its token is not the call's";
    else if (!tw_text_is(message->account_sid, provider->settings.account_sid))
        *problem = "it is another account's";
    else if (call->direction == VC_CALL_INBOUND && !tw_text_is(message->call_sid, call->sid))
        *problem = "it is another call's";
    else if (message->stream_sid.length == 0 || message->stream_sid.length >= TW_SID_MAX ||
             memchr(message->stream_sid.at, '\\', message->stream_sid.length))
        *problem = "it has no streamSid";
    else if (!tw_text_is(message->encoding, "audio/x-mulaw") || message->rate_hz != RATE_HZ || message->channels != 1)
        *problem = "its audio is not mu-law of 8000 Hz in one channel";
    else return true;
    return false;
}

static void on_start(twilio_call *call, const tw_message *message) {
    twilio_provider *provider = call->provider;
    const char *problem = NULL;
    if (call->state != TWILIO_CONNECTING) return bad_message(call);
    if (!is_ours(call, message, &problem)) {
        twilio_count(provider, TWILIO_BAD_TICKETS);
        twilio_log(provider, VC_LOG_WARNING, call->session, NULL, NULL, "the stream was refused: %s", problem);
        provider->ws->close(call->socket, 1008, twilio_str("refused"));
        twilio_call_over(call, VC_HANGUP_FAILED, 403, problem);
        return;
    }
    memcpy(call->stream_sid, message->stream_sid.at, message->stream_sid.length);
    call->stream_sid_length = message->stream_sid.length;
    pthread_mutex_lock(&provider->lock);
    if (!call->sid[0] && message->call_sid.length < sizeof call->sid)
        memcpy(call->sid, message->call_sid.at, message->call_sid.length);
    pthread_mutex_unlock(&provider->lock);
    call->state = TWILIO_UP;
    twilio_call_deadline(call, 0);
    twilio_count(provider, TWILIO_STREAMS);
    twilio_emit(call, &(twilio_event){.type = VC_EVENT_ANSWERED});
}

static void emit_frame(twilio_call *call, const int16_t *samples, uint32_t count) {
    twilio_provider *provider = call->provider;
    const vc_frame frame = {
        .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = RATE_HZ, .channels = 1, .samples = count,
        .flags = call->has_gap ? VC_FRAME_DISCONTINUITY : 0, .sequence = call->frame_count++,
        .position = call->position, .captured_ns = provider->clock->now_ns(), .epoch = atomic_load(&call->epoch),
        .data = samples, .bytes = count * sizeof *samples};
    const vc_event_frame event = {.head = {.size = sizeof event, .type = VC_EVENT_FRAME, .epoch = frame.epoch},
                                  .frame = &frame};
    call->position += count;
    call->has_gap = provider->host->emit(call->session, &event.head) == VC_E_AGAIN;
    if (call->has_gap) twilio_count(provider, TWILIO_FRAMES_DROPPED);
}

static void on_media(twilio_call *call, const tw_message *message) {
    if (call->state != TWILIO_UP || tw_text_is(message->track, "outbound")) return;
    twilio_count(call->provider, TWILIO_MEDIA_IN);
    // The time says how much is missing; TCP loses nothing, so it was Twilio that left it out.
    if (message->chunk > call->chunk + 1 && call->chunk > 0 && message->timestamp_ms * 8 > call->position &&
        message->timestamp_ms * 8 - call->position < 60ull * RATE_HZ) {
        call->position = message->timestamp_ms * 8;
        call->has_gap = true;
    }
    call->chunk = message->chunk;
    // Whole groups of four letters, so that every piece decodes by itself; an escaped slash is no reason for a copy.
    const bool is_plain = !memchr(message->payload.at ? message->payload.at : "", '\\', message->payload.length);
    const size_t piece = is_plain ? SAMPLES_MAX / 3 * 4 : message->payload.length;
    if (message->payload.length == 0 || message->payload.length > 16 * SAMPLES_MAX) return bad_message(call);
    for (size_t from = 0; from < message->payload.length; from += piece) {
        const size_t left = message->payload.length - from;
        uint8_t codes[SAMPLES_MAX];
        int16_t samples[SAMPLES_MAX];
        const tw_text letters = {message->payload.at + from, left < piece ? left : piece};
        const int32_t count = tw_base64_decode(letters, codes, sizeof codes);
        if (count <= 0) return bad_message(call);
        for (int32_t index = 0; index < count; index++) samples[index] = tw_mulaw_decode(codes[index]);
        emit_frame(call, samples, (uint32_t)count);
    }
}

static void on_mark(twilio_call *call, tw_text name) {
    if (tw_text_is(name, "end")) {
        if (call->state == TWILIO_ENDING && !call->is_transferred) twilio_call_over(call, VC_HANGUP_AGENT, 0, "");
        return;
    }
    if (name.length < 2 || name.at[0] != 'm') return;
    const uint64_t number = tw_text_number((tw_text){name.at + 1, name.length - 1}, UINT64_MAX);
    uint32_t played = 0;
    while (played < call->mark_count && call->marks[played] != number) played++;
    if (played == call->mark_count) return; // Cleared before, and answered then.
    played++;
    for (uint32_t index = 0; index < played; index++)
        twilio_emit(call, &(twilio_event){.type = VC_EVENT_PLAYED, .mark = call->marks[index]});
    call->mark_count -= played;
    memmove(call->marks, call->marks + played, call->mark_count * sizeof *call->marks);
}

static void on_dtmf(twilio_call *call, tw_text digit) {
    if (call->state != TWILIO_UP) return;
    if (digit.length != 1 || !strchr("0123456789*#ABCD", digit.at[0]) || !digit.at[0]) return bad_message(call);
    twilio_emit(call, &(twilio_event){.type = VC_EVENT_DTMF, .text = {digit.at[0]}});
}

static void on_stop(twilio_call *call) {
    // The new document has ended the stream, or the caller has: the answer that is under way tells (`call.c`).
    call->is_stopped = true;
    if (call->is_transferring) return;
    const bool is_ours = call->state == TWILIO_ENDING;
    twilio_call_over(call, is_ours ? VC_HANGUP_AGENT : VC_HANGUP_CALLER, 0, call->is_transferred ? "Transferred" : "");
}

static void on_message(void *context, vc_handle socket, vc_str bytes, uint32_t binary) {
    (void)socket;
    twilio_call *call = context;
    if (call->state == TWILIO_OVER) return;
    tw_message message;
    if (binary || !tw_message_read(bytes.data, bytes.length, &message)) return bad_message(call);
    if (message.event > TW_EVENT_CONNECTED) {
        if (message.sequence > call->sequence + 1) twilio_count(call->provider, TWILIO_SEQUENCE_GAPS);
        call->sequence = message.sequence;
        const bool is_known = tw_text_is(message.stream_sid, call->stream_sid);
        if (message.event != TW_EVENT_START && !is_known) return bad_message(call);
    }
    switch (message.event) {
        case TW_EVENT_START: return on_start(call, &message);
        case TW_EVENT_MEDIA: return on_media(call, &message);
        case TW_EVENT_MARK: return on_mark(call, message.name);
        case TW_EVENT_DTMF: return on_dtmf(call, message.digit);
        case TW_EVENT_STOP: return on_stop(call);
        case TW_EVENT_CONNECTED:
        case TW_EVENT_UNKNOWN: return;
    }
}

static void on_writable(void *context, vc_handle socket) {
    (void)socket;
    twilio_call *call = context;
    if (call->must_clear && call->state == TWILIO_UP) twilio_stream_clear(call);
}

static void on_closed(void *context, vc_handle socket, uint32_t code, vc_str reason, const vc_error *error) {
    (void)reason;
    twilio_call *call = context;
    if (socket != call->socket && call->socket) return;
    call->socket = 0;
    switch (call->state) {
        case TWILIO_OVER: return twilio_call_closed(call);
        case TWILIO_ENDING: return on_stop(call);
        case TWILIO_UP:
            // Twilio ends the call when its stream is gone, because nothing but a hang-up follows it.
            if (error) twilio_call_over(call, VC_HANGUP_FAILED, 0, "The stream broke without a stop");
            else on_stop(call);
            return;
        default: {
            char text[80];
            snprintf(text, sizeof text, "The stream was closed with %u before it started", code);
            twilio_call_over(call, VC_HANGUP_FAILED, 0, text);
        }
    }
}

const vc_ws_events twilio_stream_events = {
    .size = sizeof twilio_stream_events,
    .opened = on_opened,
    .message = on_message,
    .writable = on_writable,
    .closed = on_closed,
};
