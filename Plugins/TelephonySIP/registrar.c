/*  The registrar for softphones (RFC 3261, 10.3): who is where, in memory, for as long as the phone refreshes it. Each
    user may register a few contacts and only under the own name. The address from which the REGISTER came is kept
    beside the contact and used as the next hop, because a phone behind a NAT writes an address of its own network into
    Contact.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

/// A desk phone, a softphone, a mobile, and one to spare. Shorter registrations than a minute are only load.
enum { MAX_CONTACTS_PER_USER = 4, MIN_EXPIRY_S = 60, MAX_EXPIRY_S = 3600, MAX_CONTACT = 512 };

typedef struct sip_binding {
    struct sip_binding *next;
    uint64_t expires_ns, registered_ns;
    char user[64];
    char contact[MAX_CONTACT];
    char source[80];
    char call_id[128];
    uint32_t sequence;
} sip_binding;

static void remove_binding(sip_provider *provider, sip_binding **place) {
    sip_binding *gone = *place;
    *place = gone->next;
    free(gone);
    sip_gauge(provider, SIP_REGISTRATIONS, --provider->binding_count);
}

void sip_registrar_expire(sip_provider *provider) {
    const uint64_t now = sip_now_ns(provider);
    for (sip_binding **place = &provider->bindings; *place;)
        if ((*place)->expires_ns <= now) remove_binding(provider, place);
        else place = &(*place)->next;
}

void sip_registrar_free(sip_provider *provider) {
    while (provider->bindings) remove_binding(provider, &provider->bindings);
}

/// The newest contact of a user: the phone that was switched on last.
bool sip_registrar_find(sip_provider *provider, const char *user, char *contact, size_t contact_room, char *route,
                        size_t route_room) {
    const sip_binding *best = NULL;
    sip_registrar_expire(provider);
    for (const sip_binding *binding = provider->bindings; binding; binding = binding->next)
        if (strcmp(binding->user, user) == 0 && (!best || binding->registered_ns > best->registered_ns)) best = binding;
    if (!best) return false;
    snprintf(contact, contact_room, "%s", best->contact);
    snprintf(route, route_room, "sip:%s", best->source);
    return true;
}

static uint32_t expiry_of(sip_t const *sip, sip_contact_t const *contact) {
    if (contact->m_expires) return (uint32_t)strtoul(contact->m_expires, NULL, 10);
    return sip->sip_expires ? (uint32_t)sip->sip_expires->ex_delta : MAX_EXPIRY_S;
}

/// Writes the bindings of a user as one Contact header; empty when there are none.
static void write_contacts(sip_provider *provider, const char *user, char *text, size_t room) {
    const uint64_t now = sip_now_ns(provider);
    size_t length = 0;
    text[0] = 0;
    for (const sip_binding *binding = provider->bindings; binding; binding = binding->next) {
        if (strcmp(binding->user, user) != 0) continue;
        const int added = snprintf(text + length, room - length, "%s<%s>;expires=%u", length ? ", " : "",
                                   binding->contact,
                                   (unsigned)((binding->expires_ns - now + 999999999ull) / 1000000000ull));
        if (added < 0 || (size_t)added >= room - length) {
            text[length] = 0;
            return;
        }
        length += (size_t)added;
    }
}

/// Adds, refreshes or removes one contact. 0, or the status with which to refuse.
static int apply_contact(sip_provider *provider, sip_t const *sip, sip_contact_t const *contact, const char *user,
                         const char *source) {
    char text[MAX_CONTACT];
    const uint32_t expiry_s = expiry_of(sip, contact);
    if (url_e(text, sizeof text, contact->m_url) >= (issize_t)sizeof text || !sip_uri_is_safe(text)) return 400;
    if (expiry_s > 0 && expiry_s < MIN_EXPIRY_S) return 423;
    uint32_t of_user = 0;
    sip_binding **place = &provider->bindings;
    for (sip_binding *each = provider->bindings; each; each = each->next) of_user += strcmp(each->user, user) == 0;
    while (*place && (strcmp((*place)->user, user) != 0 || strcmp((*place)->contact, text) != 0))
        place = &(*place)->next;
    sip_binding *binding = *place;
    // RFC 3261, 10.3 step 7: a request that was overtaken changes nothing.
    if (binding && strcmp(binding->call_id, sip->sip_call_id->i_id) == 0 && sip->sip_cseq->cs_seq <= binding->sequence)
        return 500;
    if (expiry_s == 0) {
        if (binding) remove_binding(provider, place);
        return 0;
    }
    if (!binding) {
        if (of_user >= MAX_CONTACTS_PER_USER || provider->binding_count >= provider->settings.max_registrations ||
            !(binding = calloc(1, sizeof *binding))) {
            sip_count(provider, SIP_REGISTRATIONS_LIMITED);
            return 503;
        }
        binding->next = provider->bindings;
        provider->bindings = binding;
        sip_gauge(provider, SIP_REGISTRATIONS, ++provider->binding_count);
    }
    const uint64_t now = sip_now_ns(provider);
    binding->registered_ns = now;
    binding->expires_ns = now + (expiry_s > MAX_EXPIRY_S ? MAX_EXPIRY_S : expiry_s) * 1000000000ull;
    binding->sequence = sip->sip_cseq->cs_seq;
    snprintf(binding->user, sizeof binding->user, "%s", user);
    snprintf(binding->contact, sizeof binding->contact, "%s", text);
    snprintf(binding->source, sizeof binding->source, "%s", source);
    snprintf(binding->call_id, sizeof binding->call_id, "%s", sip->sip_call_id->i_id);
    return 0;
}

static int apply(sip_provider *provider, sip_t const *sip, const char *user, const char *source) {
    sip_registrar_expire(provider);
    if (sip->sip_contact && sip->sip_contact->m_url->url_type == url_any) {
        // RFC 3261, 10.2.2: "*" stands alone and means "remove everything".
        if (sip->sip_contact->m_next || !sip->sip_expires || sip->sip_expires->ex_delta != 0) return 400;
        for (sip_binding **place = &provider->bindings; *place;)
            if (strcmp((*place)->user, user) == 0) remove_binding(provider, place);
            else place = &(*place)->next;
        return 0;
    }
    int status = 0;
    uint32_t count = 0;
    for (sip_contact_t const *contact = sip->sip_contact; contact && !status; contact = contact->m_next)
        status = ++count > MAX_CONTACTS_PER_USER ? 400 : apply_contact(provider, sip, contact, user, source);
    return status;
}

void sip_on_register(sip_provider *provider, nua_handle_t *handle, sip_t const *sip) {
    nua_t *nua = provider->nua;
    const sip_peer peer = sip_peer_of_current_request(provider);
    char user[64], contacts[MAX_CONTACTS_PER_USER * (MAX_CONTACT + 32)];
    sip_count(provider, SIP_REGISTERS);
    if (provider->draining || !sip_guard_rate(provider, &peer.address)) {
        nua_respond(handle, SIP_503_SERVICE_UNAVAILABLE, SIPTAG_RETRY_AFTER_STR("5"), NUTAG_WITH_THIS(nua), TAG_END());
    } else if (sip_guard_admits(provider, handle, sip, &peer, user, sizeof user)) {
        char const *wanted = sip->sip_to->a_url->url_user;
        const int status = !wanted || strcmp(wanted, user) != 0 ? 403 : apply(provider, sip, user, peer.text);
        if (status == 0) {
            write_contacts(provider, user, contacts, sizeof contacts);
            nua_respond(handle, SIP_200_OK, TAG_IF(contacts[0], SIPTAG_CONTACT_STR(contacts)), NUTAG_WITH_THIS(nua),
                        TAG_END());
        } else {
            nua_respond(handle, status, sip_status_phrase(status), TAG_IF(status == 423, SIPTAG_MIN_EXPIRES_STR("60")),
                        TAG_IF(status == 503, SIPTAG_RETRY_AFTER_STR("60")), NUTAG_WITH_THIS(nua), TAG_END());
        }
    }
    nua_handle_destroy(handle);
}
