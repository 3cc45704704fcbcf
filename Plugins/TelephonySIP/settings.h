/// What the operator set for one SIP section, checked once and constant from then on.
// SPDX-License-Identifier: Apache-2.0
#ifndef TELEPHONY_SIP_SETTINGS_H
#define TELEPHONY_SIP_SETTINGS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vchost/vchost.h"

/// A user that may register and call: the hash that digest needs (RFC 7616, 3.4.2), never the password.
typedef struct sip_user {
    char *name;
    char ha1[33];
} sip_user;

/// An address that may call without a password, IPv4 as mapped IPv6; the first `prefix` bits count.
typedef struct sip_network {
    struct in6_addr address;
    uint32_t prefix;
} sip_network;

typedef struct sip_settings {
    char *host;               ///< Numeric address to bind.
    char *advertised_address; ///< What peers are told to send to, or NULL for `host`.
    char *realm;
    char *outbound_proxy; ///< A SIP URI, or NULL.
    char *registrar;      ///< A SIP URI, or NULL.
    char *username;       ///< Our name at the proxy and the registrar, or NULL.
    char *password;       ///< Ours, or NULL.
    char *users_file;     ///< Read when the provider starts, or NULL.
    char *user_agent;
    uint32_t port; ///< 0: any free one.
    bool udp, tcp;
    bool accept_any_password;
    bool register_at_registrar;
    uint32_t register_expiry_s;
    uint32_t session_expires_s;
    uint32_t max_dialogs;
    uint32_t max_pending_invites;
    uint32_t max_invites_per_second;
    uint32_t max_registrations;
    sip_user *users; ///< Sorted by name.
    uint32_t user_count;
    sip_network *trusted_peers;
    uint32_t trusted_peer_count;
} sip_settings;

/// Reads and checks the configuration behind `provider`. On failure `message` holds a sentence for the operator.
vc_status sip_settings_read(sip_settings *settings, const vc_host *host, vc_handle provider, char *message,
                            size_t room);

/// Adds the users of `users_file`, a name and a password in each line. May read the disk: not for a control slot.
vc_status sip_settings_read_users_file(sip_settings *settings, char *message, size_t room);

void sip_settings_free(sip_settings *settings);

const sip_user *sip_settings_user(const sip_settings *settings, const char *name);

bool sip_settings_trusts(const sip_settings *settings, const struct in6_addr *address);

/// Reads a numeric address; IPv4 becomes a mapped IPv6 address.
bool sip_address_parse(const char *text, struct in6_addr *address);

bool sip_address_is_loopback(const struct in6_addr *address);

#endif
