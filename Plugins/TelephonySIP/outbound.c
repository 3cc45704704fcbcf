/*  A call that goes out. Whom to call is written in one of three ways: a SIP URI; the name of a user that is registered
    here, which goes to the user's contact; or a number, which goes to `outbound_proxy`. A trunk's challenge is answered
    at most twice (a stale nonce may come in between), early media is not listened to, and a redirect is not followed:
    it would let the callee choose whom we call and who pays.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

enum { MAX_CHALLENGES = 2 };

/// Whether a text can stand in a URI between angle brackets without ending it, or the header.
bool sip_uri_is_safe(const char *text) {
    if (!*text) return false;
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == '<' || *text == '>' || *text == '"' || *text == 0x7f) return false;
    return true;
}

static void fail(sip_session *session, uint32_t cause, uint32_t code, const char *reason) {
    session->hung_up = true;
    sip_session_emit(session, VC_EVENT_HANGUP, cause, code, reason);
}

/// The host part of a proxy's URI, without its parameters.
static void write_domain(const char *uri, char *domain, size_t room) {
    const char *host = strchr(uri, '@');
    host = host ? host + 1 : uri + 4;
    snprintf(domain, room, "%.*s", (int)strcspn(host, ";?>"), host);
}

/// Finds out where the call goes: `target` is the request URI, `route` the next hop or empty.
static bool resolve(sip_provider *provider, const char *to, char *target, size_t target_room, char *route,
                    size_t route_room) {
    route[0] = 0;
    if (strncasecmp(to, "sip:", 4) == 0 || strncasecmp(to, "sips:", 5) == 0) {
        char user[128], host[256];
        // Our own address with a registered user's name is that user.
        if (sscanf(to, "sip:%127[^@]@%255[^;?>]", user, host) == 2 &&
            (strcmp(host, provider->advertised) == 0 || strcmp(host, provider->settings.realm) == 0) &&
            sip_registrar_find(provider, user, target, target_room, route, route_room))
            return true;
        snprintf(target, target_room, "%s", to);
        return true;
    }
    if (sip_registrar_find(provider, to, target, target_room, route, route_room)) return true;
    if (!provider->settings.outbound_proxy) return false;
    char domain[256];
    write_domain(provider->settings.outbound_proxy, domain, sizeof domain);
    snprintf(target, target_room, "sip:%s@%s", strncasecmp(to, "tel:", 4) == 0 ? to + 4 : to, domain);
    snprintf(route, route_room, "%s", provider->settings.outbound_proxy);
    return true;
}

static void write_from(sip_provider *provider, const char *from, char *text, size_t room) {
    char domain[256];
    if (provider->settings.outbound_proxy) write_domain(provider->settings.outbound_proxy, domain, sizeof domain);
    else snprintf(domain, sizeof domain, "%s", provider->advertised);
    const char *name = from && from[0] ? from : provider->settings.username ? provider->settings.username : "vchost";
    if (strncasecmp(name, "sip:", 4) == 0) snprintf(text, room, "<%s>", name);
    else snprintf(text, room, "<sip:%s@%s>", name, domain);
}

void sip_outbound_open(sip_session *session) {
    sip_provider *provider = session->provider;
    char target[SIP_MAX_VALUE], route[SIP_MAX_VALUE], to[SIP_MAX_VALUE + 2], from[SIP_MAX_VALUE];
    sip_session_emit(session, VC_EVENT_READY, 0, 0, NULL);
    if (provider->draining || !provider->nua || provider->call_count >= provider->settings.max_dialogs) {
        fail(session, VC_HANGUP_FAILED, 503, provider->draining ? "Draining" : "max_dialogs is reached");
        return;
    }
    if (!resolve(provider, session->to, target, sizeof target, route, sizeof route)) {
        fail(session, VC_HANGUP_FAILED, 404, "No such registered user, and outbound_proxy is not set");
        return;
    }
    vc_handle media = 0;
    vc_error error = {.size = sizeof error};
    vc_str ours = {0};
    if (provider->media->open(session->handle, &media) != VC_OK) {
        fail(session, VC_HANGUP_FAILED, 503, "No media port is free");
        return;
    }
    if (provider->media->offer(media, &ours, &error) != VC_OK) {
        provider->media->close(media);
        fail(session, VC_HANGUP_FAILED, 500, "The media service made no offer");
        return;
    }
    snprintf(to, sizeof to, "<%s>", target);
    write_from(provider, session->from, from, sizeof from);
    nua_handle_t *handle = nua_handle(provider->nua, NULL, SIPTAG_TO_STR(to), SIPTAG_FROM_STR(from), TAG_END());
    sip_call *call = handle ? sip_call_make(provider, handle, VC_CALL_OUTBOUND) : NULL;
    if (!call) {
        if (handle) nua_handle_destroy(handle);
        provider->media->close(media);
        fail(session, VC_HANGUP_FAILED, 400, "The address of the callee or ours is not a valid SIP address");
        return;
    }
    call->media = media;
    call->session = session, session->call = call;
    sip_call_deadline(call, session->ring_timeout_ms ? session->ring_timeout_ms : SIP_ANSWER_DEADLINE_MS);
    sip_count(provider, SIP_OUTBOUND_CALLS);
    char *text = strndup(ours.data, ours.length);
    // Whether the callee could be refreshed is not known yet, so the timer is its choice; it may add one (RFC 4028, 9).
    nua_invite(handle, NUTAG_URL(target), NUTAG_SESSION_TIMER(0), TAG_IF(route[0], NUTAG_PROXY(route)),
               SIPTAG_CONTENT_TYPE_STR("application/sdp"), SIPTAG_PAYLOAD_STR(text),
               TAG_IF(session->headers, SIPTAG_HEADER_STR(session->headers)), TAG_END());
    free(text);
}

/// Answers a challenge with our credentials; false when there are none, or they were refused.
bool sip_authenticate(sip_provider *provider, nua_handle_t *handle, sip_t const *sip, uint32_t *challenges) {
    const sip_settings *settings = &provider->settings;
    if (!sip || !settings->username || !settings->password || ++*challenges > MAX_CHALLENGES) return false;
    sip_www_authenticate_t const *asked = sip->sip_www_authenticate;
    if (!asked) asked = sip->sip_proxy_authenticate;
    for (; asked; asked = asked->au_next) {
        if (!asked->au_scheme || strcasecmp(asked->au_scheme, "Digest") != 0) continue;
        char const *algorithm = msg_params_find(asked->au_params, "algorithm=");
        if (algorithm && strncasecmp(algorithm + (*algorithm == '"'), "MD5", 3) != 0) continue;
        char const *realm = msg_params_find(asked->au_params, "realm=");
        if (!realm) continue;
        char *credentials = NULL;
        if (asprintf(&credentials, "Digest:%s:%s:%s", realm, settings->username, settings->password) < 0) return false;
        nua_authenticate(handle, NUTAG_AUTH(credentials), TAG_END());
        explicit_bzero(credentials, strlen(credentials));
        free(credentials);
        return true;
    }
    return false;
}

static uint32_t cause_of(int status) {
    if (status == 408 || status == 480 || status == 487) return VC_HANGUP_NO_ANSWER;
    return status < 500 || (status >= 600 && status < 700) ? VC_HANGUP_REFUSED : VC_HANGUP_FAILED;
}

void sip_on_invite_response(sip_call *call, int status, char const *phrase, sip_t const *sip) {
    sip_provider *provider = call->provider;
    const int received = sip && sip->sip_status ? sip->sip_status->st_status : status;
    if (call->state == SIP_CALL_UP) { // The answer to our own re-INVITE.
        if (status < 200) return;
        char *answer = status < 300 ? sip_body_of(sip) : NULL;
        vc_error error = {.size = sizeof error};
        if (answer && call->media) provider->media->accept(call->media, sip_str(answer), &error);
        if (status >= 300) call->held_by_us = !call->held_by_us;
        free(answer);
        return;
    }
    if (call->state == SIP_CALL_ENDING) {
        // RFC 3261, 9.1: the answer crossed our CANCEL. sofia acknowledged it, and it must be ended.
        if (call->cancelled && status >= 200 && status < 300) nua_bye(call->handle, TAG_END());
        return;
    }
    if (received == 401 || received == 407) {
        call->challenged_with = (uint32_t)received;
        if (status >= 200 && !sip_authenticate(provider, call->handle, sip, &call->challenges))
            sip_call_over(call, VC_HANGUP_FAILED, (uint32_t)received, "The proxy refused our credentials");
        return;
    }
    if (status >= 900 && call->challenges) { // sofia found the same credentials refused before we could.
        sip_call_over(call, VC_HANGUP_FAILED, call->challenged_with, "The proxy refused our credentials");
        return;
    }
    if (status < 200) {
        if (status > 100 && !call->rang) {
            call->rang = true;
            if (call->session) sip_session_emit(call->session, VC_EVENT_RINGING, 0, 0, NULL);
        }
        return;
    }
    if (status >= 300) {
        sip_call_over(call, cause_of(status), (uint32_t)status, phrase);
        return;
    }
    char *answer = sip_body_of(sip);
    vc_error error = {.size = sizeof error};
    const vc_status accepted =
        answer ? provider->media->accept(call->media, sip_str(answer), &error) : VC_E_ARGUMENT;
    free(answer);
    sip_call_set_state(call, SIP_CALL_UP);
    sip_call_deadline(call, 0);
    if (accepted == VC_OK) {
        if (call->session) sip_session_emit(call->session, VC_EVENT_ANSWERED, 0, 0, NULL);
        return;
    }
    sip_count(provider, SIP_MEDIA_REFUSALS);
    nua_bye(call->handle, SIPTAG_REASON_STR("SIP;cause=488;text=\"No usable answer to the offer\""), TAG_END());
    sip_call_over(call, VC_HANGUP_FAILED, 488, "The callee's description was refused");
}

/// RFC 3261, 13.2.2.4: a second phone answered as well. The first one keeps the call.
void sip_fork_refuse(tagi_t const tags[]) {
    nua_handle_t *fork = NULL;
    tl_gets(tags, NUTAG_HANDLE_REF(fork), TAG_END());
    if (fork) nua_bye(fork, TAG_END());
}
