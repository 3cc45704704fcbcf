/*  We, registered at somebody else's registrar: what a trunk without a fixed peer address asks for. sofia refreshes the
    registration by itself; what is left is to begin, to answer the challenge, and to try again with growing pauses.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "objects.h"

/// Pauses between attempts: twice as long after each failure, within these bounds.
enum { FIRST_RETRY_S = 5, LAST_RETRY_S = 300 };

static void begin(sip_provider *provider) {
    const sip_settings *settings = &provider->settings;
    char address[512], expiry[16];
    const char *host = strchr(settings->registrar, '@');
    host = host ? host + 1 : settings->registrar + 4;
    snprintf(address, sizeof address, "<sip:%s@%.*s>", settings->username, (int)strcspn(host, ";?>"), host);
    snprintf(expiry, sizeof expiry, "%u", settings->register_expiry_s);
    provider->registration_challenges = 0;
    provider->registration = nua_handle(provider->nua, NULL, SIPTAG_TO_STR(address), SIPTAG_FROM_STR(address),
                                        TAG_END());
    if (!provider->registration) return;
    nua_register(provider->registration, NUTAG_REGISTRAR(settings->registrar), NUTAG_M_USERNAME(settings->username),
                 NUTAG_OUTBOUND("no-outbound no-validate no-natify no-options-keepalive"), SIPTAG_EXPIRES_STR(expiry),
                 TAG_END());
}

void sip_registration_tick(sip_provider *provider) {
    if (!provider->settings.register_at_registrar || provider->registration || provider->draining) return;
    if (sip_now_ns(provider) >= provider->registration_retry_ns) begin(provider);
}

void sip_registration_end(sip_provider *provider) {
    if (provider->registration) nua_unregister(provider->registration, TAG_END());
}

void sip_on_register_response(sip_provider *provider, int status, char const *phrase, sip_t const *sip) {
    const int received = sip && sip->sip_status ? sip->sip_status->st_status : status;
    if (status < 200) return;
    if ((received == 401 || received == 407) &&
        sip_authenticate(provider, provider->registration, sip, &provider->registration_challenges))
        return;
    provider->registration_challenges = 0;
    if (status < 300) {
        provider->registration_failures = 0;
        sip_log(provider, VC_LOG_INFO, 0, "registrar", provider->settings.registrar, "registered as %s",
                provider->settings.username);
        return;
    }
    uint32_t pause_s = FIRST_RETRY_S << (provider->registration_failures < 6 ? provider->registration_failures : 6);
    if (pause_s > LAST_RETRY_S) pause_s = LAST_RETRY_S;
    provider->registration_failures++;
    provider->registration_retry_ns = sip_now_ns(provider) + pause_s * 1000000000ull;
    sip_log(provider, VC_LOG_WARNING, 0, "registrar", provider->settings.registrar,
            "registration as %s failed: %d %s; the next attempt follows in %u s", provider->settings.username, status,
            phrase ? phrase : "", pause_s);
    nua_handle_destroy(provider->registration);
    provider->registration = NULL;
}
