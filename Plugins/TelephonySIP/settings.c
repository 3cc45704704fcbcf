/*  The configuration is checked here, once, when the provider is created, so that the SIP thread only reads values that
    can work. Passwords are turned into the hash that digest needs as soon as they are read: a core dump or a log can
    then show no password of a user. The one password that stays is our own at a trunk, because sofia wants it in clear.

    A list is one text with commas, as an INI file has it. A value `${secret:NAME}` is looked up by the host's secret
    service; the names that may be used are those of the manifest.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "settings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <sofia-sip/auth_digest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// A small office has dozens of users and a large one hundreds; more belongs behind a registrar of its own.
enum { MAX_USERS = 10000, MAX_TRUSTED_PEERS = 256, MAX_USERS_FILE_BYTES = 1 << 20 };

typedef struct reader {
    const vc_config *config;
    const vc_secret *secret;
    vc_handle provider;
    char *message;
    size_t room;
} reader;

static char *copy(const char *text, size_t length) {
    char *result = malloc(length + 1);
    if (result) memcpy(result, text, length), result[length] = 0;
    return result;
}

static void keep_secret(void *context, vc_str secret) {
    *(char **)context = copy(secret.data ? secret.data : "", secret.length);
}

/// The text itself, or the secret that it names. NULL, with a message, when the secret is not there.
static char *resolve(const reader *from, const char *key, const char *text, size_t length) {
    static const char prefix[] = "${secret:";
    const size_t prefix_length = sizeof prefix - 1;
    if (length <= prefix_length || strncmp(text, prefix, prefix_length) != 0 || text[length - 1] != '}')
        return copy(text, length);
    char name[64], *value = NULL;
    snprintf(name, sizeof name, "%.*s", (int)(length - prefix_length - 1), text + prefix_length);
    if (!from->secret || from->secret->with(from->provider, name, keep_secret, &value) != VC_OK || !value)
        snprintf(from->message, from->room, "%s names the secret %s, which is not set: set it, or write the value",
                 key, name);
    return value;
}

/// The value of a text key; NULL when it is not set or empty. Sets `*failed` when it cannot be had.
static char *text_of(const reader *from, const char *key, bool *failed) {
    vc_str value = {0};
    if (from->config->text(from->provider, key, &value) != VC_OK || value.length == 0) return NULL;
    char *result = resolve(from, key, value.data, value.length);
    if (!result) *failed = true;
    return result;
}

static uint32_t number_of(const reader *from, const char *key, uint32_t fallback, int64_t low, int64_t high,
                          bool *failed) {
    int64_t value = fallback;
    if (from->config->integer(from->provider, key, &value) != VC_OK) return fallback;
    if (value < low || value > high) {
        snprintf(from->message, from->room, "%s is %lld, it must lie in %lld ... %lld", key, (long long)value,
                 (long long)low, (long long)high);
        *failed = true;
    }
    return (uint32_t)value;
}

static bool flag_of(const reader *from, const char *key) {
    uint32_t value = 0;
    return from->config->flag(from->provider, key, &value) == VC_OK && value;
}

bool sip_address_parse(const char *text, struct in6_addr *address) {
    struct in_addr v4;
    if (inet_pton(AF_INET6, text, address) == 1) return true;
    if (inet_pton(AF_INET, text, &v4) != 1) return false;
    memset(address, 0, sizeof *address);
    address->s6_addr[10] = address->s6_addr[11] = 0xff;
    memcpy(address->s6_addr + 12, &v4, 4);
    return true;
}

bool sip_address_is_loopback(const struct in6_addr *address) {
    return IN6_IS_ADDR_LOOPBACK(address) || (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127);
}

static int compare_users(const void *left, const void *right) {
    return strcmp(((const sip_user *)left)->name, ((const sip_user *)right)->name);
}

const sip_user *sip_settings_user(const sip_settings *settings, const char *name) {
    const sip_user wanted = {.name = (char *)name};
    if (!settings->user_count) return NULL;
    return bsearch(&wanted, settings->users, settings->user_count, sizeof wanted, compare_users);
}

bool sip_settings_trusts(const sip_settings *settings, const struct in6_addr *address) {
    for (uint32_t index = 0; index < settings->trusted_peer_count; index++) {
        const sip_network *network = &settings->trusted_peers[index];
        const uint32_t bytes = network->prefix / 8, bits = network->prefix % 8;
        if (memcmp(address, &network->address, bytes) != 0) continue;
        const uint8_t mask = (uint8_t)(0xff00 >> bits);
        if (bits == 0 || ((address->s6_addr[bytes] ^ network->address.s6_addr[bytes]) & mask) == 0) return true;
    }
    return false;
}

/// One `name:password`. False, with a message that does not show the password, when it is not of that form.
static bool add_user(sip_settings *settings, const reader *from, const char *where, char *entry) {
    char *colon = strchr(entry, ':');
    if (!colon || colon == entry || !colon[1]) {
        snprintf(from->message, from->room, "%s: an entry is not of the form name:password", where);
        return false;
    }
    if (settings->user_count == MAX_USERS) {
        snprintf(from->message, from->room, "%s: more than %d users, use a registrar of its own", where, MAX_USERS);
        return false;
    }
    char *password = resolve(from, where, colon + 1, strlen(colon + 1));
    if (!password) return false;
    sip_user *grown = realloc(settings->users, (settings->user_count + 1) * sizeof *grown);
    if (grown) {
        settings->users = grown;
        sip_user *user = &grown[settings->user_count];
        user->name = copy(entry, (size_t)(colon - entry));
        auth_digest_ha1(user->ha1, user->name ? user->name : "", settings->realm, password);
        settings->user_count += user->name ? 1 : 0;
    }
    explicit_bzero(password, strlen(password));
    free(password);
    return grown != NULL;
}

/// Calls `take` for each entry of a list with commas, without the blanks around it.
static bool each_entry(sip_settings *settings, const reader *from, const char *key, char *list,
                       bool (*take)(sip_settings *, const reader *, const char *, char *)) {
    char *rest = NULL;
    for (char *entry = strtok_r(list, ",", &rest); entry; entry = strtok_r(NULL, ",", &rest)) {
        while (isspace((unsigned char)*entry)) entry++;
        size_t length = strlen(entry);
        while (length && isspace((unsigned char)entry[length - 1])) entry[--length] = 0;
        if (length && !take(settings, from, key, entry)) return false;
    }
    return true;
}

static bool add_trusted_peer(sip_settings *settings, const reader *from, const char *key, char *entry) {
    char *slash = strchr(entry, '/');
    if (slash) *slash++ = 0;
    sip_network network;
    char *end = NULL;
    const bool is_v4 = !strchr(entry, ':');
    const long width = is_v4 ? 32 : 128, prefix = slash ? strtol(slash, &end, 10) : width;
    const bool is_number = !slash || (end != slash && !*end);
    if (!sip_address_parse(entry, &network.address) || prefix < 0 || prefix > width || !is_number) {
        snprintf(from->message, from->room, "%s: %s is not a numeric address or network (192.0.2.7, 192.0.2.0/24)", key,
                 entry);
        return false;
    }
    if (settings->trusted_peer_count == MAX_TRUSTED_PEERS) {
        snprintf(from->message, from->room, "%s: more than %d entries, name networks", key, MAX_TRUSTED_PEERS);
        return false;
    }
    network.prefix = (uint32_t)prefix + (is_v4 ? 96 : 0);
    sip_network *grown = realloc(settings->trusted_peers, (settings->trusted_peer_count + 1) * sizeof *grown);
    if (!grown) return false;
    settings->trusted_peers = grown;
    grown[settings->trusted_peer_count++] = network;
    return true;
}

static bool add_transport(sip_settings *settings, const reader *from, const char *key, char *entry) {
    if (strcasecmp(entry, "udp") == 0) return settings->udp = true;
    if (strcasecmp(entry, "tcp") == 0) return settings->tcp = true;
    snprintf(from->message, from->room, "%s: %s is not a transport, write udp, tcp or both", key, entry);
    return false;
}

static bool check_together(const sip_settings *settings, const reader *from) {
    struct in6_addr address;
    if (!sip_address_parse(settings->host, &address)) {
        snprintf(from->message, from->room, "host is %s, it must be a numeric address of this machine or 0.0.0.0",
                 settings->host);
        return false;
    }
    if (settings->accept_any_password && !sip_address_is_loopback(&address)) {
        snprintf(from->message, from->room,
                 "accept_any_password lets everybody call, so host must be a loopback address and not %s: set host to "
                 "127.0.0.1, or configure users",
                 settings->host);
        return false;
    }
    if (settings->register_at_registrar && (!settings->registrar || !settings->username)) {
        snprintf(from->message, from->room, "register needs username, and registrar or outbound_proxy");
        return false;
    }
    const char *const uris[] = {settings->outbound_proxy, settings->registrar};
    for (size_t index = 0; index < 2; index++)
        if (uris[index] && (strncasecmp(uris[index], "sip:", 4) != 0 || strpbrk(uris[index], " \t\r\n<>\""))) {
            snprintf(from->message, from->room, "%s is %s, it must be a SIP URI such as sip:proxy.example.com",
                     index ? "registrar" : "outbound_proxy", uris[index]);
            return false;
        }
    return true;
}

vc_status sip_settings_read(sip_settings *settings, const vc_host *host, vc_handle provider, char *message,
                            size_t room) {
    const reader from = {host->service(VC_SERVICE_CONFIG), host->service(VC_SERVICE_SECRET), provider, message, room};
    bool failed = false;
    memset(settings, 0, sizeof *settings);
    snprintf(message, room, "out of memory while reading the configuration");

    char *const read_host = text_of(&from, "host", &failed);
    settings->host = read_host ? read_host : copy("0.0.0.0", 7);
    settings->port = number_of(&from, "port", 5060, 0, 65535, &failed);
    settings->advertised_address = text_of(&from, "advertised_address", &failed);
    settings->realm = text_of(&from, "realm", &failed);
    if (!settings->realm) settings->realm = copy("vchost", 6);
    settings->user_agent = text_of(&from, "user_agent", &failed);
    if (!settings->user_agent) settings->user_agent = copy("vchost", 6);
    settings->outbound_proxy = text_of(&from, "outbound_proxy", &failed);
    settings->registrar = text_of(&from, "registrar", &failed);
    if (!settings->registrar && settings->outbound_proxy)
        settings->registrar = copy(settings->outbound_proxy, strlen(settings->outbound_proxy));
    settings->username = text_of(&from, "username", &failed);
    settings->password = text_of(&from, "password", &failed);
    settings->users_file = text_of(&from, "users_file", &failed);
    settings->accept_any_password = flag_of(&from, "accept_any_password");
    settings->register_at_registrar = flag_of(&from, "register");
    settings->register_expiry_s = number_of(&from, "register_expiry_s", 600, 60, 86400, &failed);
    settings->session_expires_s = number_of(&from, "session_expires_s", 1800, 90, 86400, &failed);
    settings->max_dialogs = number_of(&from, "max_dialogs", 2000, 1, 100000, &failed);
    settings->max_pending_invites = number_of(&from, "max_pending_invites", 256, 1, 10000, &failed);
    settings->max_invites_per_second = number_of(&from, "max_invites_per_second", 100, 1, 10000, &failed);
    settings->max_registrations = number_of(&from, "max_registrations", 1000, 1, 100000, &failed);

    char *transports = text_of(&from, "transports", &failed);
    char *users = text_of(&from, "users", &failed);
    char *peers = text_of(&from, "trusted_peers", &failed);
    if (!transports) settings->udp = settings->tcp = true;
    const bool good = !failed && settings->host && settings->realm && settings->user_agent &&
                      (!transports || each_entry(settings, &from, "transports", transports, add_transport)) &&
                      (!users || each_entry(settings, &from, "users", users, add_user)) &&
                      (!peers || each_entry(settings, &from, "trusted_peers", peers, add_trusted_peer)) &&
                      check_together(settings, &from);
    if (users) explicit_bzero(users, strlen(users));
    free(transports), free(users), free(peers);
    if (!good) {
        sip_settings_free(settings);
        return VC_E_CONFIG;
    }
    qsort(settings->users, settings->user_count, sizeof *settings->users, compare_users);
    return VC_OK;
}

vc_status sip_settings_read_users_file(sip_settings *settings, char *message, size_t room) {
    if (!settings->users_file) return VC_OK;
    const reader from = {.message = message, .room = room};
    FILE *file = fopen(settings->users_file, "re");
    if (!file) {
        snprintf(message, room, "users_file %s cannot be read (%s): correct the path or its permissions",
                 settings->users_file, strerror(errno));
        return VC_E_CONFIG;
    }
    char line[512];
    size_t bytes = 0;
    vc_status status = VC_OK;
    while (status == VC_OK && fgets(line, sizeof line, file)) {
        bytes += strlen(line);
        line[strcspn(line, "\r\n")] = 0;
        if (!line[0] || line[0] == '#') continue;
        if (bytes > MAX_USERS_FILE_BYTES || !add_user(settings, &from, settings->users_file, line))
            status = VC_E_CONFIG;
    }
    explicit_bzero(line, sizeof line);
    fclose(file);
    qsort(settings->users, settings->user_count, sizeof *settings->users, compare_users);
    return status;
}

void sip_settings_free(sip_settings *settings) {
    for (uint32_t index = 0; index < settings->user_count; index++) free(settings->users[index].name);
    if (settings->password) explicit_bzero(settings->password, strlen(settings->password));
    char *const texts[] = {settings->host,      settings->advertised_address, settings->realm,
                           settings->outbound_proxy, settings->registrar,     settings->username,
                           settings->password,  settings->users_file,         settings->user_agent};
    for (size_t index = 0; index < sizeof texts / sizeof *texts; index++) free(texts[index]);
    free(settings->users), free(settings->trusted_peers);
    memset(settings, 0, sizeof *settings);
}
