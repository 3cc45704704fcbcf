/*  A call leg from its beginning to its end. The end has one door, `sip_call_over`: whoever ends the call, the media
    stops, the host is told once, and what is left (the answer to a BYE) is sofia's affair and watched by a deadline.
    So no way of ending a call can forget a port or say HANGUP twice.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

sip_call *sip_call_make(sip_provider *provider, nua_handle_t *handle, uint32_t direction) {
    sip_call *call = calloc(1, sizeof *call);
    if (!call) return NULL;
    call->provider = provider;
    call->handle = handle;
    call->direction = direction;
    call->state = direction == VC_CALL_INBOUND ? SIP_CALL_OFFERED : SIP_CALL_WAITING;
    snprintf(call->key, sizeof call->key, "%llu", (unsigned long long)++provider->next_key);
    call->next = provider->calls;
    if (call->next) call->next->previous = call;
    provider->calls = call;
    provider->call_count++;
    if (direction == VC_CALL_INBOUND) sip_gauge(provider, SIP_PENDING, ++provider->pending_count);
    sip_gauge(provider, SIP_DIALOGS, provider->call_count);
    nua_handle_bind(handle, call);
    return call;
}

/// Looked up once for each call, among those that ring: the newest stand first.
sip_call *sip_call_by_key(sip_provider *provider, const char *key) {
    for (sip_call *call = provider->calls; call; call = call->next)
        if (call->direction == VC_CALL_INBOUND && strcmp(call->key, key) == 0) return call;
    return NULL;
}

void sip_call_deadline(sip_call *call, uint32_t after_ms) {
    call->deadline_ns = after_ms ? sip_now_ns(call->provider) + after_ms * 1000000ull : 0;
}

void sip_call_set_state(sip_call *call, sip_call_state state) {
    const bool was_pending = call->state <= SIP_CALL_WAITING, is_pending = state <= SIP_CALL_WAITING;
    call->state = state;
    if (call->direction == VC_CALL_INBOUND && was_pending && !is_pending)
        sip_gauge(call->provider, SIP_PENDING, --call->provider->pending_count);
}

void sip_call_over(sip_call *call, uint32_t cause, uint32_t code, const char *reason) {
    sip_provider *provider = call->provider;
    if (call->state == SIP_CALL_ENDING) return;
    const sip_call_state was = call->state;
    sip_call_set_state(call, SIP_CALL_ENDING);
    sip_call_deadline(call, SIP_ENDING_DEADLINE_MS);
    if (call->media) provider->media->close(call->media), call->media = 0;
    if (call->session) {
        // A callee that was sent elsewhere often says BYE instead of the last NOTIFY.
        if (call->transferring)
            sip_transfer_done(call, call->transfer_accepted && cause == VC_HANGUP_CALLER, code, reason);
        if (!call->session->hung_up) sip_session_emit(call->session, VC_EVENT_HANGUP, cause, code, reason);
        call->session->hung_up = true;
        call->session->call = NULL;
        call->session = NULL;
    } else if (call->direction == VC_CALL_INBOUND && was == SIP_CALL_OFFERED) {
        const vc_event_withdrawn event = {.head = {.size = sizeof event, .type = VC_EVENT_WITHDRAWN},
                                          .key = sip_str(call->key)};
        if (provider->host->emit(provider->handle, &event.head) == VC_E_AGAIN) sip_count(provider, SIP_EVENTS_DROPPED);
    }
}

/// Lets go of sofia's handle. The call must be over.
void sip_call_destroy(sip_call *call) {
    sip_provider *provider = call->provider;
    nua_handle_bind(call->handle, NULL);
    nua_handle_destroy(call->handle);
    if (call->next) call->next->previous = call->previous;
    *(call->previous ? &call->previous->next : &provider->calls) = call->next;
    sip_gauge(provider, SIP_DIALOGS, --provider->call_count);
    free(call->offer);
    free(call);
}

/// Ends the call in whatever state it is (RFC 3261, 15): refuses, cancels, or says BYE.
void sip_call_hangup(sip_call *call, uint32_t code, const char *reason) {
    const char *words = reason && reason[0] ? reason : "Normal call clearing";
    switch (call->state) {
        case SIP_CALL_OFFERED:
        case SIP_CALL_WAITING:
            if (call->direction == VC_CALL_INBOUND) {
                sip_inbound_refuse(call, code ? code : 486, 0, reason);
                return;
            }
            // RFC 3261, 9.1: sofia keeps the CANCEL back until a provisional answer came.
            call->cancelled = true;
            nua_cancel(call->handle, TAG_END());
            sip_call_over(call, VC_HANGUP_AGENT, code, words);
            return;
        case SIP_CALL_ANSWERING:
            call->bye_after_ack = true;
            sip_call_over(call, VC_HANGUP_AGENT, code, words);
            return;
        case SIP_CALL_UP: {
            char header[192];
            snprintf(header, sizeof header, "Q.850;cause=16;text=\"%.100s\"", words);
            for (char *at = header + 21; *at && at[1]; at++)
                if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ') *at = '\'';
            nua_bye(call->handle, SIPTAG_REASON_STR(header), TAG_END());
            sip_call_over(call, VC_HANGUP_AGENT, code, words);
            return;
        }
        case SIP_CALL_ENDING: return;
    }
}

void sip_call_tick(sip_call *call, uint64_t now) {
    if (!call->deadline_ns || now < call->deadline_ns) return;
    call->deadline_ns = 0;
    switch (call->state) {
        case SIP_CALL_OFFERED:
            sip_count(call->provider, SIP_OPEN_TIMEOUTS);
            sip_log(call->provider, VC_LOG_HOST_FAULT, 0, "key", call->key,
                    "the host neither opened a session nor declined within %d ms; the contract says 2 s",
                    SIP_OPEN_DEADLINE_MS);
            sip_inbound_refuse(call, 503, 0, "No session");
            return;
        case SIP_CALL_WAITING:
            if (call->direction == VC_CALL_INBOUND) {
                nua_respond(call->handle, 480, "Temporarily Unavailable", TAG_END());
                sip_call_over(call, VC_HANGUP_NO_ANSWER, 480, "Not answered in time");
            } else {
                call->cancelled = true;
                nua_cancel(call->handle, TAG_END());
                sip_call_over(call, VC_HANGUP_NO_ANSWER, 408, "No answer within the ring timeout");
            }
            return;
        case SIP_CALL_ANSWERING: return;
        case SIP_CALL_UP:
            if (call->transferring) sip_transfer_done(call, false, 408, "No final NOTIFY in time");
            return;
        case SIP_CALL_ENDING: sip_call_destroy(call); return;
    }
}
