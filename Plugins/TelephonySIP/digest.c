/*  Digest authentication as a server (RFC 7616 as RFC 8760 takes it into SIP), without any state: the nonce carries
    its own time and a keyed hash over the time and the source address, so a flood of requests without credentials
    costs no memory, and a nonce cannot be used from elsewhere or after NONCE_LIFETIME_S. sofia's own auth_module keeps
    a password file and tells unknown users from wrong passwords; here both take the same path and the same time.

    MD5 only: it is what this sofia computes on the client's side as well, and what every softphone speaks.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <sofia-sip/auth_digest.h>
#include <sofia-sip/su_md5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

enum { NONCE_LIFETIME_S = 60, NONCE_LENGTH = 8 + 32 };

/// HMAC (RFC 2104) over MD5, of the time in hexadecimal and the address.
static void sign(const sip_provider *provider, const char *time_text, const struct in6_addr *source, char digest[33]) {
    uint8_t inner_pad[64], outer_pad[64], inner[SU_MD5_DIGEST_SIZE];
    memset(inner_pad, 0x36, sizeof inner_pad), memset(outer_pad, 0x5c, sizeof outer_pad);
    for (size_t index = 0; index < sizeof provider->nonce_key; index++) {
        inner_pad[index] ^= provider->nonce_key[index];
        outer_pad[index] ^= provider->nonce_key[index];
    }
    su_md5_t md5[1];
    su_md5_init(md5);
    su_md5_update(md5, inner_pad, sizeof inner_pad);
    su_md5_update(md5, time_text, 8);
    su_md5_update(md5, source, sizeof *source);
    su_md5_digest(md5, inner);
    su_md5_init(md5);
    su_md5_update(md5, outer_pad, sizeof outer_pad);
    su_md5_update(md5, inner, sizeof inner);
    su_md5_hexdigest(md5, digest);
    su_md5_deinit(md5);
}

static bool equal_in_constant_time(const char *left, const char *right, size_t length) {
    unsigned char difference = 0;
    for (size_t index = 0; index < length; index++) difference |= (unsigned char)(left[index] ^ right[index]);
    return difference == 0;
}

static uint32_t seconds_now(sip_provider *provider) { return (uint32_t)(sip_now_ns(provider) / 1000000000ull); }

void sip_digest_challenge(sip_provider *provider, const struct in6_addr *source, bool stale, char *header,
                          size_t room) {
    char time_text[9], digest[33];
    snprintf(time_text, sizeof time_text, "%08x", seconds_now(provider));
    sign(provider, time_text, source, digest);
    snprintf(header, room, "Digest realm=\"%s\", nonce=\"%s%s\", algorithm=MD5, qop=\"auth\"%s",
             provider->settings.realm, time_text, digest, stale ? ", stale=true" : "");
}

/// Whether the nonce is one of ours, and how old it is.
static bool nonce_is_ours(sip_provider *provider, const char *nonce, const struct in6_addr *source, uint32_t *age_s) {
    char time_text[9] = "", digest[33];
    if (!nonce || strlen(nonce) != NONCE_LENGTH) return false;
    memcpy(time_text, nonce, 8);
    sign(provider, time_text, source, digest);
    *age_s = seconds_now(provider) - (uint32_t)strtoul(time_text, NULL, 16);
    return equal_in_constant_time(digest, nonce + 8, 32);
}

/// Takes the quotes and backslashes of a quoted string away, in place.
static char *unquoted(char *text) {
    if (!text || *text != '"') return text;
    char *to = text;
    for (char *from = text + 1; *from && *from != '"'; from++) {
        if (*from == '\\' && from[1]) from++;
        *to++ = *from;
    }
    *to = 0;
    return text;
}

static sip_verdict verify_one(sip_provider *provider, sip_authorization_t const *credentials, char const *method,
                              const struct in6_addr *source, char *user, size_t room) {
    su_home_t home[1] = {SU_HOME_INIT(home)};
    su_home_init(home);
    auth_response_t response[1];
    memset(response, 0, sizeof response);
    response->ar_size = sizeof response[0];
    sip_verdict verdict = SIP_VERDICT_MISSING;
    const issize_t parsed = auth_digest_response_get(home, response, credentials->au_params);
    char *realm = unquoted(su_strdup(home, response->ar_realm)), *nonce = unquoted(su_strdup(home, response->ar_nonce));
    char *name = unquoted(su_strdup(home, response->ar_username));
    char *given = unquoted(su_strdup(home, response->ar_response));
    uint32_t age_s = 0;
    if (parsed <= 0 || !realm || strcmp(realm, provider->settings.realm) != 0) {
        verdict = SIP_VERDICT_MISSING; // Credentials for somebody else on the way.
    } else if (!name || !given || strlen(given) != 32 || !response->ar_uri) {
        verdict = SIP_VERDICT_BAD;
    } else if (!nonce_is_ours(provider, nonce, source, &age_s) || age_s > NONCE_LIFETIME_S) {
        verdict = SIP_VERDICT_STALE;
    } else {
        static const char nobody[33] = "00000000000000000000000000000000";
        const sip_user *known = sip_settings_user(&provider->settings, name);
        auth_hexmd5_t ha1, computed;
        memcpy(ha1, known ? known->ha1 : nobody, sizeof ha1);
        auth_digest_response(response, computed, ha1, method, NULL, 0);
        const bool matches = equal_in_constant_time(computed, given, 32);
        verdict = matches && known ? SIP_VERDICT_GOOD : SIP_VERDICT_BAD;
        if (verdict == SIP_VERDICT_GOOD) snprintf(user, room, "%s", name);
    }
    su_home_deinit(home);
    return verdict;
}

/// The best verdict over all credentials of the request; `user` is written when it is good.
sip_verdict sip_digest_verify(sip_provider *provider, sip_t const *sip, const struct in6_addr *source, char *user,
                              size_t room) {
    sip_verdict best = SIP_VERDICT_MISSING;
    uint32_t looked_at = 0;
    for (sip_authorization_t const *credentials = sip->sip_authorization; credentials && looked_at < 4;
         credentials = credentials->au_next, looked_at++) {
        if (!credentials->au_scheme || strcasecmp(credentials->au_scheme, "Digest") != 0) continue;
        const sip_verdict verdict =
            verify_one(provider, credentials, sip->sip_request->rq_method_name, source, user, room);
        if (verdict == SIP_VERDICT_GOOD) return verdict;
        if (verdict != SIP_VERDICT_MISSING) best = verdict;
    }
    return best;
}
