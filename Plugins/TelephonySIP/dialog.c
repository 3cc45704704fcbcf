/*  What happens within a call: ACK, re-INVITE and UPDATE (hold, resume, a moved address, session refresh), digits.

    A re-INVITE is a question to the media service like the first one; when it says no, the call goes on as it was
    (RFC 3261, 14.2). A refresh of the session timer (RFC 4028) is either a re-INVITE, answered the same way, or an
    UPDATE without a description, which only needs its 200.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

/// The body as a text, or NULL when there is none.
char *sip_body_of(sip_t const *sip) {
    if (!sip || !sip->sip_payload || !sip->sip_payload->pl_data || sip->sip_payload->pl_len == 0) return NULL;
    return strndup(sip->sip_payload->pl_data, sip->sip_payload->pl_len);
}

static void tell_hold(sip_call *call, const char *description) {
    const sip_direction direction = sip_description_direction(description);
    const bool held = direction == SIP_SENDONLY || direction == SIP_INACTIVE;
    if (held == call->held_by_peer) return;
    call->held_by_peer = held;
    if (call->session) sip_session_emit(call->session, VC_EVENT_HELD, held, 0, NULL);
}

void sip_on_reinvite(sip_call *call, sip_t const *sip, nua_event_t event) {
    sip_provider *provider = call->provider;
    nua_t *nua = provider->nua;
    if (call->state != SIP_CALL_UP || !call->media) {
        nua_respond(call->handle, SIP_481_NO_TRANSACTION, NUTAG_WITH_THIS(nua), TAG_END());
        return;
    }
    char *offer = sip_body_of(sip);
    if (!offer && event == nua_i_update) {
        nua_respond(call->handle, SIP_200_OK, NUTAG_WITH_THIS(nua), TAG_END());
        return;
    }
    vc_error error = {.size = sizeof error};
    vc_str ours = {0};
    const vc_status status = offer ? provider->media->answer(call->media, sip_str(offer), &ours, &error)
                                   : provider->media->offer(call->media, &ours, &error);
    if (status != VC_OK) {
        sip_count(provider, SIP_MEDIA_REFUSALS);
        if (status == VC_E_ARGUMENT)
            nua_respond(call->handle, 400, "Bad Session Description", NUTAG_WITH_THIS(nua), TAG_END());
        else
            nua_respond(call->handle, SIP_488_NOT_ACCEPTABLE, NUTAG_WITH_THIS(nua), TAG_END());
    } else {
        char *text = strndup(ours.data, ours.length);
        call->awaits_answer = offer == NULL;
        nua_respond(call->handle, SIP_200_OK, SIPTAG_CONTENT_TYPE_STR("application/sdp"), SIPTAG_PAYLOAD_STR(text),
                    NUTAG_WITH_THIS(nua), TAG_END());
        free(text);
        if (offer) tell_hold(call, offer);
    }
    free(offer);
}

void sip_on_ack(sip_call *call, sip_t const *sip) {
    if (call->bye_after_ack) {
        call->bye_after_ack = false;
        nua_bye(call->handle, SIPTAG_REASON_STR("Q.850;cause=16;text=\"Normal call clearing\""), TAG_END());
        return;
    }
    if (call->awaits_answer) {
        call->awaits_answer = false;
        char *answer = sip_body_of(sip);
        vc_error error = {.size = sizeof error};
        const vc_status status = answer && call->media
                                     ? call->provider->media->accept(call->media, sip_str(answer), &error)
                                     : VC_E_ARGUMENT;
        if (status == VC_OK && call->state == SIP_CALL_UP) tell_hold(call, answer);
        free(answer);
        if (status != VC_OK && call->state < SIP_CALL_ENDING) {
            sip_count(call->provider, SIP_MEDIA_REFUSALS);
            nua_bye(call->handle, SIPTAG_REASON_STR("SIP;cause=488;text=\"No usable answer to the offer\""), TAG_END());
            sip_call_over(call, VC_HANGUP_FAILED, 488, "No usable answer to our offer");
            return;
        }
    }
    if (call->state == SIP_CALL_ANSWERING) {
        sip_call_set_state(call, SIP_CALL_UP);
        if (call->session) sip_session_emit(call->session, VC_EVENT_ANSWERED, 0, 0, NULL);
    }
}

/// `Signal=5\r\nDuration=160` (application/dtmf-relay) or the bare digit (application/dtmf).
static bool read_digit(char const *body, bool relay, char *digit, uint32_t *duration_ms) {
    const char *at = body;
    *duration_ms = 0;
    if (relay) {
        at = strcasestr(body, "signal");
        if (!at || !(at = strchr(at, '='))) return false;
        at++;
        const char *duration = strcasestr(body, "duration");
        if (duration && (duration = strchr(duration, '='))) {
            const long value = strtol(duration + 1, NULL, 10);
            if (value > 0 && value <= 10000) *duration_ms = (uint32_t)value;
        }
    }
    while (*at == ' ') at++;
    *digit = (char)toupper((unsigned char)*at);
    if (*digit == '1' && (at[1] == '0' || at[1] == '1')) *digit = at[1] == '0' ? '*' : '#'; // The event's number.
    return *digit && strchr("0123456789*#ABCD", *digit);
}

void sip_on_info(sip_provider *provider, sip_call *call, nua_handle_t *handle, sip_t const *sip) {
    nua_t *nua = provider->nua;
    if (!call) {
        nua_respond(handle, SIP_481_NO_TRANSACTION, NUTAG_WITH_THIS(nua), TAG_END());
        nua_handle_destroy(handle);
        return;
    }
    char const *type = sip->sip_content_type && sip->sip_content_type->c_type ? sip->sip_content_type->c_type : "";
    const bool relay = strcasecmp(type, "application/dtmf-relay") == 0;
    const bool bare = strcasecmp(type, "application/dtmf") == 0;
    char *body = sip_body_of(sip);
    char digit[2] = "";
    uint32_t duration_ms = 0;
    if (!body) {
        nua_respond(handle, SIP_200_OK, NUTAG_WITH_THIS(nua), TAG_END());
    } else if (!relay && !bare) {
        nua_respond(handle, SIP_415_UNSUPPORTED_MEDIA, NUTAG_WITH_THIS(nua),
                    SIPTAG_ACCEPT_STR("application/dtmf-relay, application/dtmf"), TAG_END());
    } else if (!read_digit(body, relay, digit, &duration_ms)) {
        nua_respond(handle, 400, "No such digit", NUTAG_WITH_THIS(nua), TAG_END());
    } else {
        nua_respond(handle, SIP_200_OK, NUTAG_WITH_THIS(nua), TAG_END());
        sip_count(provider, SIP_DIGITS);
        if (call->session) sip_session_emit(call->session, VC_EVENT_DTMF, duration_ms, 0, digit);
    }
    free(body);
}

void sip_dialog_hold(sip_call *call, bool on) {
    if (call->state != SIP_CALL_UP || on == call->held_by_us) return;
    vc_error error = {.size = sizeof error};
    vc_str ours = {0};
    if (call->provider->media->offer(call->media, &ours, &error) != VC_OK) return;
    char *text = strndup(ours.data, ours.length);
    if (text && on) sip_description_hold(text);
    call->held_by_us = on;
    nua_invite(call->handle, SIPTAG_CONTENT_TYPE_STR("application/sdp"), SIPTAG_PAYLOAD_STR(text), TAG_END());
    free(text);
}

void sip_dialog_dtmf(sip_call *call, const char *digits) {
    if (call->state != SIP_CALL_UP) return;
    for (; *digits; digits++) {
        char body[48];
        snprintf(body, sizeof body, "Signal=%c\r\nDuration=160\r\n", *digits);
        nua_info(call->handle, SIPTAG_CONTENT_TYPE_STR("application/dtmf-relay"), SIPTAG_PAYLOAD_STR(body), TAG_END());
    }
}
