// The line of frames.c without its faults: what a call and a session are, and the letters of the carrier's audio.
// SPDX-License-Identifier: Apache-2.0
#ifndef FRAMES_H
#define FRAMES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"

enum {
    RATE_HZ = 8000,
    NAME_MAX_BYTES = 64,
    SAMPLES_MAX = RATE_HZ / 10, // Of a message: 100 ms.
    MESSAGE_MAX = SAMPLES_MAX * 2 / 3 * 4 + 256,
    MARKS_MAX = 64,
    CALLS_MAX = 256,
    AGAIN_MS = 1000, // Until a connection that was lost is made anew.
};

static const vc_host *host;
static const vc_ws *sockets;
static const vc_timer *timers;
static const vc_clock *the_clock;

typedef enum call_state { OFFERED, TAKEN, ANSWERING, UP } call_state;

typedef struct call {
    struct call *next;
    struct session *session;
    call_state state;
    char id[NAME_MAX_BYTES]; // Also its key.
} call;

typedef struct session {
    struct session *next;
    struct provider *owner;
    vc_handle handle;
    _Atomic uint64_t epoch;
    int is_closed;
    uint32_t flush_count;
    call *call;
    uint64_t sequence, position, played;
    uint32_t mark_count;
    uint64_t marks[MARKS_MAX];
} session;

typedef struct provider {
    vc_handle handle, socket;
    char url[256];
    pthread_mutex_t lock;
    call *calls;
    session *latest;
    uint32_t call_count, session_count;
    int is_ready, is_draining, was_drained;
} provider;

static vc_str str(const char *text) { return (vc_str){text, strlen(text)}; }

static void copy(char *text, size_t room, vc_str from) {
    snprintf(text, room, "%.*s", (int)(from.length < room ? from.length : room - 1), from.data ? from.data : "");
}

// MARK: Base64 (RFC 4648)

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t encode(const uint8_t *bytes, size_t count, char *text) {
    size_t length = 0;
    for (size_t i = 0; i < count; i += 3) {
        const uint32_t three = (uint32_t)bytes[i] << 16 | (i + 1 < count ? (uint32_t)bytes[i + 1] << 8 : 0) |
                               (i + 2 < count ? bytes[i + 2] : 0);
        text[length++] = letters[three >> 18];
        text[length++] = letters[three >> 12 & 63];
        text[length++] = i + 1 < count ? letters[three >> 6 & 63] : '=';
        text[length++] = i + 2 < count ? letters[three & 63] : '=';
    }
    return length;
}

static size_t decode(const char *text, size_t length, uint8_t *bytes, size_t room) {
    size_t count = 0;
    uint32_t bits = 0, held = 0;
    for (size_t i = 0; i < length && text[i] != '='; i++) {
        const char *at = strchr(letters, text[i]);
        if (!at) return 0;
        held = held << 6 | (uint32_t)(at - letters);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        if (count < room) bytes[count++] = (uint8_t)(held >> bits);
    }
    return count;
}

#endif
