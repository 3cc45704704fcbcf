/*  The blind transfer (RFC 5589, 6): REFER within the call, and NOTIFY requests that tell how the peer fares. The call
    ends when the peer says that the new one is up; it goes on when it is not. A peer that accepts and then hangs up
    has made its call, whatever it forgot to say.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

void sip_transfer_done(sip_call *call, bool succeeded, uint32_t code, const char *reason) {
    if (!call->transferring) return;
    call->transferring = call->transfer_accepted = false;
    if (call->state == SIP_CALL_UP) sip_call_deadline(call, 0);
    if (call->session) sip_session_emit(call->session, VC_EVENT_TRANSFERRED, succeeded, code, reason);
    if (succeeded && call->state == SIP_CALL_UP) sip_call_hangup(call, 0, "Transferred");
}

void sip_transfer(sip_call *call, const char *target) {
    if (call->state != SIP_CALL_UP) {
        if (call->session) sip_session_emit(call->session, VC_EVENT_TRANSFERRED, 0, 0, "The call is not up");
        return;
    }
    if (call->transferring) {
        sip_session_emit(call->session, VC_EVENT_ERROR, (uint32_t)VC_E_STATE, 0, "A transfer is under way already");
        return;
    }
    char uri[640];
    if (strncasecmp(target, "sip:", 4) == 0 || strncasecmp(target, "sips:", 5) == 0 ||
        strncasecmp(target, "tel:", 4) == 0) {
        snprintf(uri, sizeof uri, "<%s>", target);
    } else {
        // A number alone is one of the peer's: it knows its own dial plan.
        sip_to_t const *remote = nua_handle_remote(call->handle);
        snprintf(uri, sizeof uri, "<sip:%s@%s>", target,
                 remote && remote->a_url->url_host ? remote->a_url->url_host : call->provider->advertised);
    }
    call->transferring = true;
    sip_count(call->provider, SIP_TRANSFERS);
    sip_call_deadline(call, SIP_TRANSFER_DEADLINE_MS);
    nua_refer(call->handle, SIPTAG_REFER_TO_STR(uri), TAG_END());
}

void sip_on_refer_response(sip_call *call, int status, char const *phrase) {
    if (status < 200) return;
    if (status < 300) call->transfer_accepted = true;
    else sip_transfer_done(call, false, (uint32_t)status, phrase);
}

/// RFC 3515, 2.4.5: the body is a fragment that begins with a status line.
void sip_on_notify(sip_call *call, sip_t const *sip) {
    char *body = sip_body_of(sip);
    unsigned code = 0;
    char reason[100] = "";
    if (body && sscanf(body, "SIP/2.0 %3u %99[^\r\n]", &code, reason) >= 1 && code >= 200)
        sip_transfer_done(call, code < 300, code, reason);
    else if (sip && sip->sip_subscription_state && sip->sip_subscription_state->ss_substate &&
             strcasecmp(sip->sip_subscription_state->ss_substate, "terminated") == 0)
        sip_transfer_done(call, false, code, "The peer ended the subscription without a result");
    free(body);
}
