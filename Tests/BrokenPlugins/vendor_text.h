// Texts that grow, and the little of JSON that a plugin of the corpus reads: one member, found by its name.
// SPDX-License-Identifier: Apache-2.0
#ifndef VENDOR_TEXT_H
#define VENDOR_TEXT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct text { char *data; size_t length, capacity; } text; // Terminated; `data` is NULL while it is empty.

static void text_add(text *self, const char *bytes, size_t count) {
    if (self->length + count >= self->capacity) {
        const size_t capacity = 2 * (self->length + count) + 64;
        char *grown = realloc(self->data, capacity);
        if (!grown) return;
        self->data = grown;
        self->capacity = capacity;
    }
    if (count) memcpy(self->data + self->length, bytes, count);
    self->length += count;
    self->data[self->length] = 0;
}

static void text_free(text *self) {
    free(self->data);
    *self = (text){0};
}

static vc_str text_view(const text *self) { return (vc_str){self->data, self->length}; }

// Where the value of `name` begins; NULL: there is no such member. Within a text the quotation marks are escaped, and so
// a name is never found there.
static const char *json_find(const char *json, const char *name) {
    char key[32];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *found = json ? strstr(json, key) : NULL;
    return found ? found + strlen(key) : NULL;
}

static uint64_t json_number(const char *json, const char *name) {
    const char *found = json_find(json, name);
    return found ? strtoull(found, NULL, 10) : 0;
}

static void text_add_scalar(text *self, unsigned scalar) {
    char bytes[3] = {(char)scalar};
    size_t count = 1;
    if (scalar >= 0x800) {
        bytes[0] = (char)(0xe0 | scalar >> 12), bytes[1] = (char)(0x80 | (scalar >> 6 & 0x3f)), count = 3;
        bytes[2] = (char)(0x80 | (scalar & 0x3f));
    } else if (scalar >= 0x80) {
        bytes[0] = (char)(0xc0 | scalar >> 6), bytes[1] = (char)(0x80 | (scalar & 0x3f)), count = 2;
    }
    text_add(self, bytes, count);
}

// The text `name` without its escapes; 0: there is none. A pair of surrogates is not put together: no vendor of the
// corpus sends one.
static int json_text(const char *json, const char *name, text *out) {
    const char *from = json_find(json, name);
    if (!from || *from++ != '"') return 0;
    for (; *from && *from != '"'; from++) {
        if (*from != '\\') {
            text_add(out, from, 1);
            continue;
        }
        const char code = *++from;
        if (!code) return 0;
        if (code == 'u') {
            char digits[5] = {0};
            for (int i = 0; i < 4 && from[1]; i++) digits[i] = *++from;
            text_add_scalar(out, (unsigned)strtoul(digits, NULL, 16));
        } else {
            text_add(out, code == 'n' ? "\n" : code == 't' ? "\t" : code == 'r' ? "\r" : from, 1);
        }
    }
    return *from == '"';
}

// The last element of a JSON array, as it stands there.
static vc_str json_last(vc_str array) {
    uint64_t begin = 0;
    int depth = 0, is_text = 0;
    for (uint64_t i = 0; i < array.length; i++) {
        const char byte = array.data[i];
        if (is_text && byte == '\\') i++;
        else if (byte == '"') is_text = !is_text;
        else if (!is_text && (byte == '{' || byte == '[')) {
            if (++depth == 2) begin = i;
        } else if (!is_text && (byte == '}' || byte == ']')) depth--;
    }
    return (vc_str){array.data + begin, array.length ? array.length - begin - 1 : 0};
}

#endif
