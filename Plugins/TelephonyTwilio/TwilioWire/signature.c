/*  Who signs with the account's secret is Twilio: the one proof that a request has. It is computed over the URL that
    Twilio was told to call, which a host behind a proxy cannot see, so it is built from the configured public
    address, and never from Host or X-Forwarded headers, which the sender writes. Twilio itself is not consistent
    about the port (it leaves 443 out and keeps others) and about a slash at the end of a WebSocket's path, so each of
    them is tried.

    HMAC is libcrypto's.  */
// SPDX-License-Identifier: Apache-2.0
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "twilio_wire.h"

static tw_text trimmed(const char *at, size_t length) {
    while (length && (*at == ' ' || *at == '\t')) at++, length--;
    while (length && (at[length - 1] == ' ' || at[length - 1] == '\t')) length--;
    return (tw_text){at, length};
}

tw_signature_settings tw_signature_settings_read(tw_text header) {
    tw_signature_settings settings = {TW_HMAC_SHA1, {"", 0}};
    for (size_t from = 0; from < header.length;) {
        const char *comma = memchr(header.at + from, ',', header.length - from);
        const size_t end = comma ? (size_t)(comma - header.at) : header.length;
        const char *equals = memchr(header.at + from, '=', end - from);
        if (equals) {
            const tw_text name = trimmed(header.at + from, (size_t)(equals - header.at) - from);
            const tw_text value = trimmed(equals + 1, (size_t)(header.at + end - equals) - 1);
            if (tw_text_is(name, "key")) settings.key_id = value;
            else if (tw_text_is(name, "algorithm"))
                settings.algorithm = tw_text_is(value, "HMAC_SHA256") ? TW_HMAC_SHA256
                                     : tw_text_is(value, "HMAC_SHA1") ? TW_HMAC_SHA1
                                                                      : TW_HMAC_UNKNOWN;
        }
        from = end + 1;
    }
    return settings;
}

bool tw_origin_read(tw_text url, tw_origin *origin) {
    memset(origin, 0, sizeof *origin);
    if (url.length > 8 && memcmp(url.at, "https://", 8) == 0) origin->is_secure = true;
    else if (url.length <= 7 || memcmp(url.at, "http://", 7) != 0) return false;
    const char *at = url.at + (origin->is_secure ? 8 : 7), *end = url.at + url.length;
    for (const char *each = at; each < end; each++)
        if ((unsigned char)*each <= ' ' || *each == '?' || *each == '#' || *each == '"') return false;
    const char *slash = memchr(at, '/', (size_t)(end - at));
    const char *behind = slash ? slash : end;
    const char *userinfo = memchr(at, '@', (size_t)(behind - at));
    if (userinfo) at = userinfo + 1;
    // A colon within brackets belongs to an IPv6 address.
    const char *bracket = memchr(at, ']', (size_t)(behind - at));
    const char *from = bracket ? bracket : at;
    const char *colon = memchr(from, ':', (size_t)(behind - from));
    if (colon) {
        origin->port = (uint32_t)tw_text_number((tw_text){colon + 1, (size_t)(behind - colon) - 1}, 0);
        if (origin->port == 0 || origin->port > 65535) return false;
    }
    const size_t host_length = (size_t)((colon ? colon : behind) - at);
    while (end > behind && end[-1] == '/') end--;
    const size_t prefix_length = (size_t)(end - behind);
    if (host_length == 0 || host_length >= sizeof origin->host || prefix_length >= sizeof origin->prefix) return false;
    memcpy(origin->host, at, host_length);
    memcpy(origin->prefix, behind, prefix_length);
    return true;
}

size_t tw_origin_url(const tw_origin *origin, bool websocket, int with_port, tw_text path, tw_text query, char *out,
                     size_t room) {
    static const char *const schemes[] = {"http", "https", "ws", "wss"};
    char port[8] = "";
    const uint32_t known = origin->port ? origin->port : origin->is_secure ? 443 : 80;
    if ((with_port == 0 && origin->port) || with_port == 2) snprintf(port, sizeof port, ":%u", known);
    const int length = snprintf(out, room, "%s://%s%s%s%.*s%s%.*s", schemes[websocket * 2 + origin->is_secure],
                                origin->host, port, origin->prefix, (int)path.length, path.at,
                                query.length ? "?" : "", (int)query.length, query.length ? query.at : "");
    return length > 0 && (size_t)length < room ? (size_t)length : 0;
}

static int compare_texts(tw_text one, tw_text other) {
    const size_t shorter = one.length < other.length ? one.length : other.length;
    const int order = shorter ? memcmp(one.at, other.at, shorter) : 0;
    return order ? order : (one.length > other.length) - (one.length < other.length);
}

static int compare_fields(const void *one, const void *other) {
    const tw_field *left = one, *right = other;
    const int order = compare_texts(left->name, right->name);
    return order ? order : compare_texts(left->value, right->value);
}

size_t tw_signed_text(const char *url, size_t url_length, tw_field *fields, int count, char *out, size_t room) {
    size_t length = url_length;
    if (length > room) return 0;
    if (out != url) memcpy(out, url, length);
    if (count > 1) qsort(fields, (size_t)count, sizeof *fields, compare_fields);
    for (int index = 0; index < count; index++) {
        const tw_field *field = &fields[index];
        if (index > 0 && compare_fields(field, &fields[index - 1]) == 0) continue;
        if (field->name.length + field->value.length > room - length) return 0;
        memcpy(out + length, field->name.at, field->name.length);
        length += field->name.length;
        memcpy(out + length, field->value.at, field->value.length);
        length += field->value.length;
    }
    return length;
}

bool tw_sign(tw_algorithm algorithm, tw_text key, const char *text, size_t length, char out[TW_SIGNATURE_MAX]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    const EVP_MD *hash = algorithm == TW_HMAC_SHA256 ? EVP_sha256() : EVP_sha1();
    if (algorithm == TW_HMAC_UNKNOWN || key.length > INT32_MAX) return false;
    if (!HMAC(hash, key.at ? key.at : "", (int)key.length, (const unsigned char *)text, length, digest, &bytes))
        return false;
    out[tw_base64_encode(digest, bytes, out)] = 0;
    return true;
}

bool tw_texts_match(tw_text one, tw_text other) {
    return one.length == other.length && (one.length == 0 || CRYPTO_memcmp(one.at, other.at, one.length) == 0);
}

bool tw_signature_is_good(const tw_origin *origin, bool websocket, tw_text path, tw_text query, tw_field *fields,
                          int count, tw_algorithm algorithm, tw_text key, tw_text signature, char *scratch) {
    // An empty key signs like any other, and everybody knows it.
    if (key.length == 0 || signature.length == 0 || path.length > 4096) return false;
    char slashed[4098];
    memcpy(slashed, path.at, path.length);
    slashed[path.length] = '/';
    bool is_good = false;
    for (int variant = 0; variant < (websocket ? 4 : 2); variant++) {
        const tw_text written = {slashed, path.length + (variant >= 2)};
        const size_t url =
            tw_origin_url(origin, websocket, variant % 2 + 1, written, query, scratch, TW_SIGNED_TEXT_MAX);
        if (!url) return false;
        const size_t length = tw_signed_text(scratch, url, fields, count, scratch, TW_SIGNED_TEXT_MAX);
        char expected[TW_SIGNATURE_MAX];
        if (!length || !tw_sign(algorithm, key, scratch, length, expected)) return false;
        is_good |= tw_texts_match(signature, (tw_text){expected, strlen(expected)});
    }
    return is_good;
}
