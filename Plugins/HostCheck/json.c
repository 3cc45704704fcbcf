/*  Just enough JSON (RFC 8259) to know whether a text is JSON, and to walk over its first level.

    Values are handed out as they are written; nothing is copied or converted, because all that is asked of them is of
    which type they are, and whether they are equal to a text that is known.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "hostcheck.h"

enum { DEPTH_MAX = 64 };

typedef struct reader {
    const char *at, *end;
    int depth;
} reader;

static void space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

static int take(reader *r, char character) {
    space(r);
    if (r->at >= r->end || *r->at != character) return 0;
    r->at++;
    return 1;
}

static int is_digit(char character) { return character >= '0' && character <= '9'; }

static int is_hex(char character) {
    return is_digit(character) || (character >= 'a' && character <= 'f') || (character >= 'A' && character <= 'F');
}

static int string(reader *r) {
    if (!take(r, '"')) return 0;
    for (; r->at < r->end; r->at++) {
        const unsigned char byte = (unsigned char)*r->at;
        if (byte == '"') return r->at++, 1;
        if (byte < 0x20) return 0;
        if (byte != '\\') continue;
        if (++r->at >= r->end) return 0;
        if (*r->at == 'u') {
            for (int digit = 1; digit <= 4; digit++)
                if (r->at + digit >= r->end || !is_hex(r->at[digit])) return 0;
            r->at += 4;
        } else if (!memchr("\"\\/bfnrt", *r->at, 8)) {
            return 0;
        }
    }
    return 0;
}

static int digits(reader *r) {
    const char *begin = r->at;
    while (r->at < r->end && is_digit(*r->at)) r->at++;
    return r->at > begin;
}

static int number(reader *r) {
    if (*r->at == '-') r->at++;
    const char *begin = r->at;
    if (!digits(r) || (*begin == '0' && r->at > begin + 1)) return 0;
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!digits(r)) return 0;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
        if (!digits(r)) return 0;
    }
    return 1;
}

static int literal(reader *r, const char *word) {
    const size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0) return 0;
    r->at += length;
    return 1;
}

static char value(reader *r);

/// An array or an object; `each` may be NULL.
static int collection(reader *r, char open, json_each *each, void *context) {
    const char close = open == '{' ? '}' : ']';
    if (!take(r, open) || ++r->depth > DEPTH_MAX) return 0;
    if (take(r, close)) return r->depth--, 1;
    do {
        vc_str key = {NULL, 0};
        space(r);
        if (open == '{') {
            const char *begin = r->at;
            if (!string(r)) return 0;
            key = (vc_str){begin + 1, (uint64_t)(r->at - begin) - 2};
            if (!take(r, ':')) return 0;
            space(r);
        }
        const char *begin = r->at;
        const char type = value(r);
        if (!type) return 0;
        if (each) each(context, key, (vc_str){begin, (uint64_t)(r->at - begin)}, type);
    } while (take(r, ','));
    r->depth--;
    return take(r, close);
}

/// The type of the value that was read, 's' 'n' 'b' 'z' 'a' 'o'; 0 when it is none.
static char value(reader *r) {
    space(r);
    if (r->at >= r->end) return 0;
    switch (*r->at) {
    case '"': return string(r) ? 's' : 0;
    case '{': return collection(r, '{', NULL, NULL) ? 'o' : 0;
    case '[': return collection(r, '[', NULL, NULL) ? 'a' : 0;
    case 't': return literal(r, "true") ? 'b' : 0;
    case 'f': return literal(r, "false") ? 'b' : 0;
    case 'n': return literal(r, "null") ? 'z' : 0;
    default: return (*r->at == '-' || is_digit(*r->at)) && number(r) ? 'n' : 0;
    }
}

int json_walk(vc_str text, char wanted, json_each *each, void *context) {
    if (!text.data) return -1;
    reader check = {text.data, text.data + text.length, 0};
    const char type = value(&check);
    space(&check);
    if (type != wanted || check.at != check.end) return -1;
    reader walk = {text.data, text.data + text.length, 0};
    return collection(&walk, wanted == 'o' ? '{' : '[', each, context) ? 0 : -1;
}

int json_equals(vc_str text, const char *other) {
    return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}
