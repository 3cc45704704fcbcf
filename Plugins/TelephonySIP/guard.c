/*  Who may call, and how often. A SIP port on the internet is scanned within minutes; so:

    - an address in `trusted_peers` (a trunk) calls without a password,
    - everybody else proves to be a user of ours, or is refused: with 401 when there are users, else with 403,
    - nobody learns whether a user exists: an unknown name and a wrong password get the same new challenge,
    - each source address has a bucket of requests, in a table of fixed size.

    The answer to credentials that are wrong is another 401, so that a softphone asks for the password again.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

/// Sources remembered at once. A flood from more addresses than that is for the firewall; the oldest are forgotten.
enum { SOURCES = 1024, PROBES = 8 };

typedef struct sip_source {
    struct in6_addr address;
    uint64_t seen_ns; ///< 0: the place is free.
    double tokens;
} sip_source;

sip_peer sip_peer_of_current_request(sip_provider *provider) {
    sip_peer peer = {.address = IN6ADDR_ANY_INIT};
    msg_t *message = nua_current_request(provider->nua);
    su_addrinfo_t const *info = message ? msg_addrinfo(message) : NULL;
    if (!info || !info->ai_addr) return peer;
    char host[INET6_ADDRSTRLEN] = "";
    const bool over_tcp = info->ai_protocol == IPPROTO_TCP;
    uint16_t port = 0;
    if (info->ai_addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)info->ai_addr;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        port = ntohs(v4->sin_port);
    } else if (info->ai_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)info->ai_addr;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        port = ntohs(v6->sin6_port);
    }
    sip_address_parse(host, &peer.address);
    const bool brackets = strchr(host, ':') != NULL;
    snprintf(peer.text, sizeof peer.text, "%s%s%s:%u;transport=%s", brackets ? "[" : "", host, brackets ? "]" : "",
             port, over_tcp ? "tcp" : "udp");
    return peer;
}

/// Takes one of the source's tokens; false when there is none. The bucket holds two seconds' worth.
bool sip_guard_rate(sip_provider *provider, const struct in6_addr *address) {
    if (!provider->sources && !(provider->sources = calloc(SOURCES, sizeof(sip_source)))) return true;
    uint32_t hash = 2166136261u;
    for (size_t index = 0; index < sizeof *address; index++) hash = (hash ^ address->s6_addr[index]) * 16777619u;
    const uint64_t now = sip_now_ns(provider);
    const double rate = provider->settings.max_invites_per_second, room = 2 * rate;
    sip_source *place = NULL;
    for (uint32_t probe = 0; probe < PROBES; probe++) {
        sip_source *source = &provider->sources[(hash + probe) % SOURCES];
        if (source->seen_ns && memcmp(&source->address, address, sizeof *address) == 0) {
            place = source;
            break;
        }
        if (!place || source->seen_ns < place->seen_ns) place = source;
    }
    if (!place->seen_ns || memcmp(&place->address, address, sizeof *address) != 0)
        *place = (sip_source){.address = *address, .seen_ns = now, .tokens = room};
    place->tokens += rate * (double)(now - place->seen_ns) / 1e9;
    if (place->tokens > room) place->tokens = room;
    place->seen_ns = now;
    if (place->tokens < 1) return false;
    place->tokens -= 1;
    return true;
}

/// True when the request may go on; otherwise it was answered. `user` is who it is, empty for a trusted peer.
bool sip_guard_admits(sip_provider *provider, nua_handle_t *handle, sip_t const *sip, const sip_peer *peer, char *user,
                      size_t room) {
    const bool registers = sip->sip_request->rq_method == sip_method_register;
    user[0] = 0;
    if (provider->settings.accept_any_password) {
        url_t const *address = registers ? sip->sip_to->a_url : sip->sip_from->a_url;
        snprintf(user, room, "%s", address->url_user ? address->url_user : "anonymous");
        return true;
    }
    // A binding belongs to a user, so a trusted address does not replace the password of a registration.
    if (!registers && sip_settings_trusts(&provider->settings, &peer->address)) return true;
    if (provider->settings.user_count == 0) {
        sip_count(provider, SIP_INVITES_REFUSED);
        sip_log(provider, VC_LOG_INFO, 0, "peer", peer->text,
                "a request from an unknown peer was refused: list it in trusted_peers, or configure users");
        nua_respond(handle, SIP_403_FORBIDDEN, NUTAG_WITH_THIS(provider->nua), TAG_END());
        return false;
    }
    const sip_verdict verdict = sip_digest_verify(provider, sip, &peer->address, user, room);
    if (verdict == SIP_VERDICT_GOOD) return true;
    if (verdict == SIP_VERDICT_BAD) sip_count(provider, SIP_AUTH_FAILURES);
    else sip_count(provider, SIP_CHALLENGES);
    char header[256];
    sip_digest_challenge(provider, &peer->address, verdict == SIP_VERDICT_STALE, header, sizeof header);
    nua_respond(handle, SIP_401_UNAUTHORIZED, SIPTAG_WWW_AUTHENTICATE_STR(header), NUTAG_WITH_THIS(provider->nua),
                TAG_END());
    return false;
}
