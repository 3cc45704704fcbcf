/*  What becomes of a call from its session on. The end has one door, `twilio_call_over`: whoever ends the call, the
    host is told once, the ticket is void, and the stream is closed.

    An agent hangs up when the host's clock has played the last of its words; the carrier, which got them over a
    network, may still be playing. So a mark is sent behind them, and the stream is closed when it comes back, or
    after 400 ms.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "objects.h"

/// The document that brings the call's audio here. It holds the ticket and the token. 0: it does not fit.
size_t twilio_call_document(twilio_call *call, char *twiml) {
    const twilio_settings *settings = &call->provider->settings;
    char path[TWILIO_TEXT_MAX + TWILIO_SECRET_LENGTH], url[1200];
    const int length = snprintf(path, sizeof path, "%s%s", settings->media_path, call->ticket);
    if (!tw_origin_url(&settings->origin, true, 0, (tw_text){path, (size_t)length}, (tw_text){"", 0}, url, sizeof url))
        return 0;
    return tw_twiml_connect(twiml, url, call->token, settings->status_url);
}

static void end_by_rest(twilio_call *call) {
    char sid[TW_SID_MAX];
    pthread_mutex_lock(&call->provider->lock);
    memcpy(sid, call->sid, sizeof sid);
    pthread_mutex_unlock(&call->provider->lock);
    // Without a sid the answer that brings it finds nobody, and ends the call itself (`rest.c`).
    if (sid[0]) twilio_rest(call->provider, TWILIO_END, call->number, sid, "Status=completed");
}

void twilio_call_closed(twilio_call *call) {
    if (!call->is_closing || call->is_closed) return;
    call->is_closed = true;
    twilio_emit(call, &(twilio_event){.type = VC_EVENT_CLOSED});
}

void twilio_call_over(twilio_call *call, uint32_t cause, uint32_t code, const char *reason) {
    twilio_provider *provider = call->provider;
    if (call->state == TWILIO_OVER) return;
    // Where the call was sent on, its stream is the carrier's to close.
    const bool closes = call->socket && !call->is_transferred;
    call->state = TWILIO_OVER;
    twilio_call_deadline(call, 0);
    pthread_mutex_lock(&provider->lock);
    call->ticket[0] = 0;
    pthread_mutex_unlock(&provider->lock);
    if (closes) provider->ws->close(call->socket, 1000, twilio_str("over"));
    if (call->is_transferring) {
        call->is_transferring = false;
        twilio_emit(call, &(twilio_event){.type = VC_EVENT_TRANSFERRED, .code = code, .text = "The call ended before"});
    }
    twilio_event event = {.type = VC_EVENT_HANGUP, .cause = cause, .code = code};
    snprintf(event.text, sizeof event.text, "%s", reason);
    twilio_emit(call, &event);
    if (!call->is_closing) return;
    if (call->socket) twilio_call_deadline(call, TWILIO_GOODBYE_MS);
    else twilio_call_closed(call);
}

static void transferred(twilio_call *call, bool succeeded, uint32_t code, const char *text) {
    if (!call->is_transferring) return;
    call->is_transferring = false;
    twilio_call_deadline(call, 0);
    twilio_event event = {.type = VC_EVENT_TRANSFERRED, .cause = succeeded, .code = code};
    snprintf(event.text, sizeof event.text, "%s", text);
    if (succeeded) {
        // Twilio ends the stream now; we only see to it that the session does not wait for ever.
        call->is_transferred = true;
        call->state = TWILIO_ENDING;
        twilio_call_deadline(call, 2000);
    }
    twilio_emit(call, &event);
    if (call->is_stopped && succeeded) twilio_call_over(call, VC_HANGUP_AGENT, 0, "Transferred");
    else if (call->is_stopped) twilio_call_over(call, VC_HANGUP_CALLER, 0, "");
}

static void on_deadline(void *context, vc_handle timer) {
    twilio_call *call = context;
    if (timer != call->deadline) return;
    call->deadline = 0;
    switch (call->state) {
        case TWILIO_TAKEN: {
            char twiml[TW_TWIML_MAX];
            tw_twiml_reject(twiml, true);
            twilio_respond_to_call(call, twiml);
            twilio_call_over(call, VC_HANGUP_NO_ANSWER, 480, "Not answered in time");
            return;
        }
        case TWILIO_CONNECTING:
            twilio_count(call->provider, TWILIO_STREAM_TIMEOUTS);
            end_by_rest(call);
            if (call->direction == VC_CALL_OUTBOUND)
                twilio_call_over(call, VC_HANGUP_NO_ANSWER, 408, "Not answered within the ring timeout");
            else
                twilio_call_over(call, VC_HANGUP_FAILED, 408,
                                 "Twilio opened no stream: see its debugger, and whether public_url is reached");
            return;
        case TWILIO_UP:
            transferred(call, false, 408, "No answer of the API");
            return;
        case TWILIO_ENDING:
            twilio_call_over(call, VC_HANGUP_AGENT, 0, call->is_transferred ? "Transferred" : "");
            return;
        case TWILIO_OVER: twilio_call_closed(call); return;
        default: return;
    }
}

void twilio_call_deadline(twilio_call *call, uint32_t after_ms) {
    const vc_timer *timer = call->provider->timer;
    if (call->deadline) timer->disarm(call->deadline);
    call->deadline = 0;
    if (!after_ms) return;
    const uint64_t at = call->provider->clock->now_ns() + after_ms * 1000000ull;
    timer->arm(call->session, at, on_deadline, call, &call->deadline);
}

void twilio_call_hangup(twilio_call *call, uint32_t code) {
    char twiml[TW_TWIML_MAX];
    switch (call->state) {
        case TWILIO_OFFERED:
        case TWILIO_TAKEN:
            tw_twiml_reject(twiml, code == 0 || code == 486 || code == 503 || code == 600);
            twilio_respond_to_call(call, twiml);
            twilio_call_over(call, VC_HANGUP_AGENT, code, "");
            return;
        case TWILIO_CONNECTING:
            end_by_rest(call);
            twilio_call_over(call, VC_HANGUP_AGENT, code, "");
            return;
        case TWILIO_UP: {
            char message[TW_MESSAGE_ROOM];
            const size_t length =
                tw_write_mark(message, (tw_text){call->stream_sid, call->stream_sid_length}, "end");
            vc_status status;
            call->state = TWILIO_ENDING;
            if (call->is_unheard && twilio_stream_send(call, message, length, &status))
                twilio_call_deadline(call, TWILIO_TAIL_MS);
            else
                twilio_call_over(call, VC_HANGUP_AGENT, code, "");
            return;
        }
        case TWILIO_ENDING:
        case TWILIO_OVER: return;
    }
}

static void over_by_status(twilio_call *call, tw_call_status status, uint32_t code) {
    if (call->state == TWILIO_ENDING || status == TW_CALL_COMPLETED) {
        const bool is_ours = call->state == TWILIO_ENDING;
        twilio_call_over(call, is_ours ? VC_HANGUP_AGENT : VC_HANGUP_CALLER, code, "");
        return;
    }
    const bool is_inbound = call->direction == VC_CALL_INBOUND;
    switch (status) {
        case TW_CALL_BUSY: twilio_call_over(call, VC_HANGUP_REFUSED, code ? code : 486, "busy"); return;
        case TW_CALL_NO_ANSWER:
            twilio_call_over(call, is_inbound ? VC_HANGUP_CANCELED : VC_HANGUP_NO_ANSWER, code ? code : 480,
                             "no-answer");
            return;
        case TW_CALL_CANCELED:
            twilio_call_over(call, is_inbound ? VC_HANGUP_CANCELED : VC_HANGUP_REFUSED, code ? code : 487, "canceled");
            return;
        default: twilio_call_over(call, VC_HANGUP_FAILED, code, "failed"); return;
    }
}

void twilio_on_news(void *context, vc_handle timer) {
    (void)timer;
    twilio_call *call = context;
    uint32_t code = 0;
    tw_call_status status = TW_CALL_UNKNOWN;
    char text[160];
    const uint32_t news = twilio_desk_take_news(call, &code, &status, text);
    if (call->state == TWILIO_OVER) return;
    if (news & TWILIO_NEWS_RINGING && call->direction == VC_CALL_OUTBOUND && call->state == TWILIO_CONNECTING)
        twilio_emit(call, &(twilio_event){.type = VC_EVENT_RINGING});
    if (news & TWILIO_NEWS_ANSWERED && call->direction == VC_CALL_OUTBOUND && call->state == TWILIO_CONNECTING)
        twilio_call_deadline(call, call->provider->settings.stream_timeout_ms);
    if (news & TWILIO_NEWS_TRANSFERRED) transferred(call, true, code, text);
    if (news & TWILIO_NEWS_NOT_TRANSFERRED) transferred(call, false, code, text);
    if (news & TWILIO_NEWS_REFUSED) {
        twilio_event event = {.type = VC_EVENT_ERROR, .cause = (uint32_t)VC_E_VENDOR, .code = code};
        snprintf(event.text, sizeof event.text, "Twilio did not place the call: %.120s", text);
        snprintf(event.vendor_code, sizeof event.vendor_code, "%.*s", (int)strcspn(text, " "), text);
        twilio_emit(call, &event);
        twilio_call_over(call, VC_HANGUP_FAILED, code, text);
    }
    if (news & TWILIO_NEWS_OVER) over_by_status(call, status, code);
}
