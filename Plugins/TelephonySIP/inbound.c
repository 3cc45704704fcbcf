/*  A call that comes in: INVITE → guard → limits → INCOMING → (the host opens a session) → 180, 200, ACK, or a refusal.

    sofia absorbs retransmissions, answers 100, and matches CANCEL; what is decided here is who may call (guard.c), how
    many calls may wait, and which SDP goes into the answer, which is the host's. Every limit is answered with 503 and
    Retry-After, so that a trunk tries its next route (RFC 3261, 21.5.4).  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

static void refuse_with_retry(nua_handle_t *handle, int status, char const *phrase, uint32_t retry_after_s) {
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", retry_after_s);
    nua_respond(handle, status, phrase, TAG_IF(retry_after_s, SIPTAG_RETRY_AFTER_STR(seconds)), TAG_END());
}

/// The address as a text, without the parameters that only mean something to a proxy.
static void write_uri(char *text, size_t room, url_t const *url) {
    if (url->url_type == url_sip || url->url_type == url_sips)
        snprintf(text, room, "%s:%s%s%s%s%s", url->url_scheme, url->url_user ? url->url_user : "",
                 url->url_user ? "@" : "", url->url_host ? url->url_host : "", url->url_port ? ":" : "",
                 url->url_port ? url->url_port : "");
    else if (url_e(text, (isize_t)room, url) < 0)
        text[0] = 0;
}

static void write_display(char *text, size_t room, char const *display) {
    size_t length = 0;
    for (const char *at = display ? display : ""; *at && length + 1 < room; at++) {
        if (*at == '"' || (unsigned char)*at < ' ') continue;
        if (*at == '\\' && at[1]) at++;
        text[length++] = *at;
    }
    text[length] = 0;
}

typedef struct headers {
    vc_field fields[SIP_MAX_HEADERS];
    uint32_t count;
} headers;

static void add_header(headers *list, const char *name, const char *value) {
    if (!value || list->count == SIP_MAX_HEADERS || strlen(value) > SIP_MAX_VALUE) return;
    list->fields[list->count++] = (vc_field){sip_str(name), sip_str(value)};
}

/// Who the caller is by digest, told to the host with the other headers.
static const char authenticated_user[] = "X-Authenticated-User";

/// What sofia has no field for is kept as text: X-..., P-..., Diversion, History-Info, Remote-Party-ID.
static void collect_headers(headers *list, sip_t const *sip) {
    list->count = 0;
    if (sip->sip_user_agent) add_header(list, "User-Agent", sip->sip_user_agent->g_string);
    if (sip->sip_subject) add_header(list, "Subject", sip->sip_subject->g_string);
    for (sip_unknown_t const *header = sip->sip_unknown; header; header = header->un_next)
        // Ours alone: whoever reads it may trust that the digest was right.
        if (strcasecmp(header->un_name, authenticated_user) != 0) add_header(list, header->un_name, header->un_value);
}

/// RFC 3325, 9.1: P-Asserted-Identity counts only when a peer that we trust says so, and then before From.
static sip_from_t *asserted_identity(su_home_t *home, sip_t const *sip) {
    for (sip_unknown_t const *header = sip->sip_unknown; header; header = header->un_next)
        if (strcasecmp(header->un_name, "P-Asserted-Identity") == 0 && header->un_value) {
            sip_from_t *from = sip_from_make(home, header->un_value);
            if (from) return from;
        }
    return NULL;
}

static vc_status emit_incoming(sip_provider *provider, sip_call *call, sip_t const *sip, const sip_peer *peer,
                               const char *user) {
    char from_text[SIP_MAX_VALUE], to_text[SIP_MAX_VALUE], display[256];
    su_home_t home[1] = {SU_HOME_INIT(home)};
    su_home_init(home);
    sip_from_t const *from = NULL;
    if (sip_settings_trusts(&provider->settings, &peer->address)) from = asserted_identity(home, sip);
    if (!from) from = sip->sip_from;
    write_uri(from_text, sizeof from_text, from->a_url);
    write_uri(to_text, sizeof to_text, sip->sip_request->rq_url);
    write_display(display, sizeof display, from->a_display);
    headers list;
    collect_headers(&list, sip);
    if (user[0]) add_header(&list, authenticated_user, user);
    const vc_event_incoming event = {
        .head = {.size = sizeof event, .type = VC_EVENT_INCOMING},
        .key = sip_str(call->key),
        .from = sip_str(from_text),
        .display = sip_str(display),
        .to = sip_str(to_text),
        .peer = sip_str(peer->text),
        .protocol_call = sip_str(sip->sip_call_id->i_id),
        .headers = list.fields,
        .header_count = list.count,
    };
    const vc_status status = provider->host->emit(provider->handle, &event.head);
    su_home_deinit(home);
    return status;
}

void sip_on_invite(sip_provider *provider, nua_handle_t *handle, sip_t const *sip, int status) {
    char user[64] = "";
    if (status >= 200 || !sip) { // sofia refused it already: malformed, 420, 422.
        nua_handle_destroy(handle);
        return;
    }
    const sip_peer peer = sip_peer_of_current_request(provider);
    sip_count(provider, SIP_INVITES);
    const bool in_rate = sip_guard_rate(provider, &peer.address);
    if (!in_rate || provider->draining || provider->call_count >= provider->settings.max_dialogs ||
        provider->pending_count >= provider->settings.max_pending_invites) {
        sip_count(provider, SIP_INVITES_LIMITED);
        sip_log(provider, VC_LOG_DEBUG, 0, "peer", peer.text, "an INVITE was refused with 503: %s",
                !in_rate             ? "max_invites_per_second"
                : provider->draining ? "draining"
                                     : "max_dialogs or max_pending_invites");
        refuse_with_retry(handle, SIP_503_SERVICE_UNAVAILABLE, provider->draining ? 30 : 5);
        nua_handle_destroy(handle);
        return;
    }
    if (!sip_guard_admits(provider, handle, sip, &peer, user, sizeof user)) {
        nua_handle_destroy(handle);
        return;
    }
    sip_call *call = sip_call_make(provider, handle, VC_CALL_INBOUND);
    if (!call) {
        refuse_with_retry(handle, SIP_503_SERVICE_UNAVAILABLE, 5);
        nua_handle_destroy(handle);
        return;
    }
    nua_respond(handle, SIP_100_TRYING, TAG_END());
    call->offer = sip_body_of(sip);
    call->takes_refresh =
        sip_has_feature(sip->sip_supported, "timer") && sip_is_allowed(sip->sip_allow, SIP_METHOD_UPDATE);
    sip_call_deadline(call, SIP_OPEN_DEADLINE_MS);
    if (emit_incoming(provider, call, sip, &peer, user) != VC_OK) {
        sip_call_set_state(call, SIP_CALL_WAITING); // The host does not know it, so there is nothing to withdraw.
        sip_inbound_refuse(call, 503, 5, "The host takes no calls");
    }
}

void sip_inbound_open(sip_session *session) {
    sip_provider *provider = session->provider;
    sip_call *call = sip_call_by_key(provider, session->key);
    sip_session_emit(session, VC_EVENT_READY, 0, 0, NULL);
    if (!call || call->state != SIP_CALL_OFFERED) { // Withdrawn while the host opened the session.
        session->hung_up = true;
        sip_session_emit(session, VC_EVENT_HANGUP, VC_HANGUP_CANCELED, 487, "Gone before the session was open");
        return;
    }
    call->session = session;
    session->call = call;
    sip_call_set_state(call, SIP_CALL_WAITING);
    sip_call_deadline(call, SIP_ANSWER_DEADLINE_MS);
}

/// Answers with the host's description: to the offer of the INVITE, or with an offer of ours (RFC 3264, 5).
void sip_inbound_answer(sip_call *call) {
    sip_provider *provider = call->provider;
    vc_error error = {.size = sizeof error};
    vc_str ours = {0};
    vc_status status = provider->media->open(call->session->handle, &call->media);
    if (status != VC_OK) {
        call->media = 0;
        refuse_with_retry(call->handle, SIP_503_SERVICE_UNAVAILABLE, 5);
        sip_call_over(call, VC_HANGUP_FAILED, 503, "No media port is free");
        return;
    }
    if (call->offer) status = provider->media->answer(call->media, sip_str(call->offer), &ours, &error);
    else status = provider->media->offer(call->media, &ours, &error);
    if (status != VC_OK) {
        const int code = status == VC_E_UNSUPPORTED ? 488 : status == VC_E_ARGUMENT ? 400 : 500;
        sip_count(provider, SIP_MEDIA_REFUSALS);
        nua_respond(call->handle, code, code == 488 ? sip_488_Not_acceptable : code == 400 ? "Bad Session Description"
                    : sip_500_Internal_server_error, TAG_END());
        sip_call_over(call, VC_HANGUP_FAILED, (uint32_t)code, "The description was refused");
        return;
    }
    char *text = strndup(ours.data, ours.length);
    call->awaits_answer = call->offer == NULL;
    sip_call_set_state(call, SIP_CALL_ANSWERING);
    sip_call_deadline(call, 0); // sofia watches for the ACK: 64 * T1, then BYE (RFC 3261, 13.3.1.4).
    // We refresh by UPDATE, so a peer that does not take it gets no session timer of ours: sofia would end the call
    // when the refresh is refused. One that asks for a timer and refreshes itself still gets it.
    nua_respond(call->handle, SIP_200_OK, SIPTAG_CONTENT_TYPE_STR("application/sdp"), SIPTAG_PAYLOAD_STR(text),
                TAG_IF(!call->takes_refresh, NUTAG_SESSION_TIMER(0)), TAG_END());
    free(text);
    free(call->offer), call->offer = NULL;
}

void sip_inbound_refuse(sip_call *call, uint32_t code, uint32_t retry_after_s, const char *reason) {
    if (code < 300 || code > 699) code = 486;
    char const *standard = sip_status_phrase((int)code);
    if (code == 503 && !retry_after_s) retry_after_s = 5;
    refuse_with_retry(call->handle, (int)code, standard ? standard : "Refused", retry_after_s);
    sip_call_over(call, VC_HANGUP_AGENT, code, reason && reason[0] ? reason : standard);
}
