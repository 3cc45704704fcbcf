/*  The words that come from the host: whole, UTF-8, within bounds, and free of what should not be in them.

    Two things are looked for in every text. The credential that only `vc.secret/1` may give out: the plugin asks for it
    when it is created, and then knows what to look for. And the byte with which it overwrites what an event pointed to:
    a transcript comes back among a model's messages, and a model's words as text to speak, so a host that kept a
    pointer instead of a copy brings the poison home.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "hostcheck.h"
#include "poison.h"

enum { SECRET_MAX = 256 };

static char secret[SECRET_MAX];
static _Atomic uint64_t secret_length;

/// Bytes of the UTF-8 character at `at`, of `left`; 0 when it is none (RFC 3629 section 4).
static size_t character(const unsigned char *at, uint64_t left) {
    if (at[0] < 0x80) return 1;
    const size_t bytes = at[0] >= 0xc2 && at[0] <= 0xdf ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : at[0] >= 0xf0 &&
        at[0] <= 0xf4 ? 4 : 0;
    if (bytes == 0 || bytes > left) return 0;
    for (size_t index = 1; index < bytes; index++)
        if ((at[index] & 0xc0) != 0x80) return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return bytes;
}

static int contains(vc_str text, const char *part, uint64_t length) {
    for (uint64_t at = 0; length > 0 && at + length <= text.length; at++)
        if (memcmp(text.data + at, part, length) == 0) return 1;
    return 0;
}

int check_text(const object *object, const char *what, vc_str text, uint64_t most) {
    if (text.length > most) {
        fault(RULE_TEXT, object, "%s has %llu bytes, where %llu are sane", what, (unsigned long long)text.length,
              (unsigned long long)most);
        return 0;
    }
    if (text.length > 0 && !text.data) {
        fault(RULE_TEXT, object, "%s has %llu bytes and no pointer", what, (unsigned long long)text.length);
        return 0;
    }
    static const char poison[] = {(char)POISON, (char)POISON, (char)POISON, (char)POISON};
    if (contains(text, poison, sizeof poison)) {
        fault(RULE_POISON, object, "%s has what was written over an event after emit returned", what);
        return 0;
    }
    if (contains(text, secret, atomic_load(&secret_length)))
        fault(RULE_SECRET, object, "%s has the credential in clear", what);
    for (uint64_t at = 0; at < text.length;) {
        const size_t bytes = character((const unsigned char *)text.data + at, text.length - at);
        if (bytes == 0) {
            fault(RULE_TEXT, object, "%s is not UTF-8 at byte %llu", what, (unsigned long long)at);
            return 0;
        }
        at += bytes;
    }
    return 1;
}

void check_struct(const object *object, const char *what, uint32_t size, size_t least) {
    if (size < least)
        fault(RULE_STRUCT_SIZE, object, "%s says size %u, and had %zu in 1.0", what, size, least);
}

static void keep_secret(void *context, vc_str value) {
    (void)context;
    if (value.length == 0 || value.length > sizeof secret) return;
    memcpy(secret, value.data, value.length);
    atomic_store(&secret_length, value.length);
}

static void see_secret(void *context, vc_str value) { *(uint64_t *)context = value.length; }

void learn_secret(provider *provider) {
    const vc_secret *secrets = host->service(VC_SERVICE_SECRET);
    if (!secrets) return;
    secrets->with(provider->object.handle, "HOSTCHECK_CANARY", keep_secret, NULL);
    uint64_t seen = 0;
    const vc_status status = secrets->with(provider->object.handle, "HOSTCHECK_UNLISTED", see_secret, &seen);
    if (status == VC_OK || seen > 0)
        fault(RULE_SECRET_UNLISTED, &provider->object, "vc.secret/1 gave out HOSTCHECK_UNLISTED (status %d)", status);
}
