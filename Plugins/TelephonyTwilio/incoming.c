/*  A call comes in: from the webhook to the session that takes it, or to the refusal. The webhook waits meanwhile,
    which Twilio allows for 15 s and our listener for 10, and the caller hears it ring.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "objects.h"

static const char XML[] = "text/xml; charset=utf-8";
enum { SWEEP_MS = 500 };

/// The length of the UTF-8 sequence at `at`, or 0 when there is none (RFC 3629).
static size_t sequence_length(const unsigned char *at, size_t left) {
    if (at[0] < 0x80) return 1;
    const size_t length = at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                        : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : 0;
    if (length == 0 || length > left) return 0;
    for (size_t index = 1; index < length; index++)
        if ((at[index] & 0xc0) != 0x80) return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return length;
}

/// What a caller wrote, made fit for logs and JSON: no control characters, no broken UTF-8, at most TWILIO_MAX_VALUE
/// bytes.
/// It is changed where it stands, in the provider's copy of the form.
static vc_str tidy(tw_text text) {
    unsigned char *at = (unsigned char *)(uintptr_t)text.at;
    size_t length = text.length, kept = 0;
    for (size_t index = 0; index < length;) {
        const size_t bytes = sequence_length(at + index, length - index);
        if (kept + bytes > TWILIO_MAX_VALUE) break;
        if (bytes == 0 || at[index] < ' ' || at[index] == 0x7f) at[index] = bytes ? ' ' : '?';
        index += bytes ? bytes : 1;
        kept = index;
    }
    return (vc_str){text.at, kept};
}

static bool is_told_apart(tw_text name) {
    static const char *const known[] = {"AccountSid", "CallSid", "From", "To", "Caller", "Called", "CallerName",
                                        "ApiVersion", "CallToken", "StirPassportToken"};
    for (size_t index = 0; index < sizeof known / sizeof *known; index++)
        if (tw_text_is(name, known[index])) return true;
    return false;
}

/// Twilio repeats a webhook whose answer it missed. The call is the same, and so is its document.
static bool is_repeated(twilio_provider *provider, const vc_server_request *request, tw_text sid) {
    vc_handle older = 0;
    bool is_known = false, is_waiting = false;
    char twiml[TW_TWIML_MAX];
    size_t length = 0;
    pthread_mutex_lock(&provider->lock);
    for (twilio_call *call = provider->calls; call && !is_known; call = call->next) {
        if (!tw_text_is(sid, call->sid)) continue;
        is_known = true;
        is_waiting = call->exchange != 0;
        older = call->exchange;
        if (is_waiting) call->exchange = request->exchange;
        else if (call->ticket[0]) length = twilio_call_document(call, twiml);
    }
    pthread_mutex_unlock(&provider->lock);
    if (!is_known) return false;
    if (older) twilio_respond(provider, older, 503, XML, "");
    if (is_waiting) return true;
    if (length == 0) tw_twiml_hangup(twiml);
    twilio_respond(provider, request->exchange, 200, XML, twiml);
    return true;
}

void twilio_incoming(twilio_provider *provider, const vc_server_request *request, tw_field *fields, int count) {
    const tw_text sid = tw_form_value(fields, count, "CallSid");
    if (is_repeated(provider, request, sid)) return;
    twilio_call *call = twilio_desk_make(provider, VC_CALL_INBOUND);
    if (!call) {
        char twiml[TW_TWIML_MAX];
        tw_twiml_reject(twiml, true);
        twilio_count(provider, TWILIO_REFUSED_FULL);
        twilio_respond(provider, request->exchange, 200, XML, twiml);
        return;
    }
    vc_field headers[TWILIO_MAX_HEADERS];
    vc_event_incoming event = {.head = {.size = sizeof event, .type = VC_EVENT_INCOMING}, .headers = headers};
    for (int index = 0; index < count && event.header_count < TWILIO_MAX_HEADERS; index++) {
        if (is_told_apart(fields[index].name) || !fields[index].name.length || !fields[index].value.length) continue;
        headers[event.header_count++] = (vc_field){tidy(fields[index].name), tidy(fields[index].value)};
    }
    event.key = twilio_str(call->key);
    event.from = tidy(tw_form_value(fields, count, "From"));
    event.to = tidy(tw_form_value(fields, count, "To"));
    event.display = tidy(tw_form_value(fields, count, "CallerName"));
    event.peer = request->peer;
    event.protocol_call = (vc_str){sid.at, sid.length};
    pthread_mutex_lock(&provider->lock);
    memcpy(call->sid, sid.at, sid.length);
    call->exchange = request->exchange;
    pthread_mutex_unlock(&provider->lock);
    if (provider->host->emit(provider->handle, &event.head) != VC_OK) {
        char twiml[TW_TWIML_MAX];
        tw_twiml_reject(twiml, true);
        twilio_respond_to_call(call, twiml);
        twilio_desk_destroy(call);
        return;
    }
    twilio_sweep_soon(provider);
}

/// Ends a call that has no session: the webhook is answered, and the host forgets the key.
void twilio_withdraw(twilio_call *call, const char *twiml) {
    twilio_provider *provider = call->provider;
    twilio_respond_to_call(call, twiml);
    const vc_event_withdrawn event = {.head = {.size = sizeof event, .type = VC_EVENT_WITHDRAWN},
                                      .key = twilio_str(call->key)};
    if (provider->host->emit(provider->handle, &event.head) == VC_E_AGAIN)
        twilio_count(provider, TWILIO_EVENTS_DROPPED);
    twilio_desk_destroy(call);
}

/// Looks after the calls that wait for their session. One timer for all of them, and none when there are none.
static void sweep(void *context, vc_handle timer) {
    (void)timer;
    twilio_provider *provider = context;
    provider->is_sweeping = false;
    char twiml[TW_TWIML_MAX];
    bool is_any_left = false;
    for (;;) {
        const uint64_t now = provider->clock->now_ns();
        twilio_call *due = NULL;
        is_any_left = false;
        pthread_mutex_lock(&provider->lock);
        for (twilio_call *call = provider->calls; call && !due; call = call->next) {
            if (call->session || call->direction != VC_CALL_INBOUND) continue;
            is_any_left = true;
            const bool is_late = now - call->offered_ns > TWILIO_OPEN_DEADLINE_MS * 1000000ull;
            if (is_late || call->news & TWILIO_NEWS_OVER) due = call;
        }
        const bool is_gone = due && due->news & TWILIO_NEWS_OVER;
        pthread_mutex_unlock(&provider->lock);
        if (!due) break;
        if (!is_gone) {
            twilio_count(provider, TWILIO_OPEN_TIMEOUTS);
            twilio_log(provider, VC_LOG_HOST_FAULT, 0, "key", due->key,
                       "the host neither opened a session nor declined within %d ms; the contract says 2 s",
                       TWILIO_OPEN_DEADLINE_MS);
        }
        tw_twiml_reject(twiml, true);
        twilio_withdraw(due, twiml);
    }
    if (is_any_left) twilio_sweep_soon(provider);
}

void twilio_sweep_soon(twilio_provider *provider) {
    if (provider->is_sweeping) return;
    vc_handle timer = 0;
    const uint64_t at = provider->clock->now_ns() + SWEEP_MS * 1000000ull;
    provider->is_sweeping = provider->timer->arm(provider->handle, at, sweep, provider, &timer) == VC_OK;
}
