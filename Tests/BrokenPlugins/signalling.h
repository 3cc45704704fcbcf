// The line of signalling.c without its faults: what a call and a session are, what goes out, and the thread that has the
// socket. Who looks for how a rule is broken finds nothing here.
// SPDX-License-Identifier: Apache-2.0
#ifndef SIGNALLING_H
#define SIGNALLING_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broken.h"

enum { TEXT_MAX = 128, DATAGRAM_MAX = 4096, CALLS_MAX = 256 };

static const vc_host *host;

typedef enum call_state { OFFERED, TAKEN, ANSWERING, DIALLING, UP } call_state;
typedef enum order_type {
    OPEN, RINGING, ANSWER, HANG_UP, TRANSFER, HOLD, KEYS, CLOSE, DESTROY, DECLINE, DRAIN, STOP,
} order_type;

typedef struct call {
    struct call *next;
    struct session *session;
    call_state state;
    char id[TEXT_MAX], key[32], *offer;
    vc_handle media;
    uint64_t deadline_ns; // Of the ringing; 0: none.
} call;

typedef struct session {
    struct provider *owner;
    vc_handle handle;
    _Atomic uint64_t epoch;
    _Atomic int is_closed;
    call *call;
    int is_inbound;
    char key[32], to[TEXT_MAX];
    uint32_t ring_timeout_ms;
} session;

typedef struct order {
    struct order *next;
    order_type type;
    session *session;
    uint32_t number;
    char text[TEXT_MAX];
} order;

typedef struct provider {
    vc_handle handle;
    const vc_media *media;
    uint16_t port, peer_port;
    int socket, wake, runs;
    pthread_t thread;
    pthread_mutex_t lock; // Of the orders.
    order *first, **last;
    // The thread's own.
    call *calls;
    uint32_t call_count, session_count, latest, was_drained;
    int is_draining, is_confused;
} provider;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static vc_str str(const char *text) { return (vc_str){text, strlen(text)}; }

static void copy(char *text, size_t room, vc_str from) {
    snprintf(text, room, "%.*s", (int)(from.length < room ? from.length : room - 1), from.data ? from.data : "");
}

// MARK: Out

static void emit_plain(session *self, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    if (self) host->emit(self->handle, &event);
}

static void emit_now(session *self, uint32_t type) {
    if (self) emit_plain(self, type, atomic_load(&self->epoch));
}

static void emit_hangup(session *self, uint32_t cause, uint32_t code) {
    const vc_event_hangup event = {
        .head = {.size = sizeof event, .type = VC_EVENT_HANGUP, .epoch = atomic_load(&self->epoch)}, .cause = cause,
        .code = code};
    host->emit(self->handle, &event.head);
}

static void emit_held(session *self, uint32_t on) {
    const vc_event_held event = {
        .head = {.size = sizeof event, .type = VC_EVENT_HELD, .epoch = atomic_load(&self->epoch)}, .on = on};
    host->emit(self->handle, &event.head);
}

static void emit_digits(session *self, const char *digits) {
    const vc_event_dtmf event = {
        .head = {.size = sizeof event, .type = VC_EVENT_DTMF, .epoch = atomic_load(&self->epoch)},
        .digits = str(digits), .duration_ms = 100};
    host->emit(self->handle, &event.head);
}

static void emit_transferred(session *self, uint32_t succeeded, uint32_t code) {
    const vc_event_transferred event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TRANSFERRED, .epoch = atomic_load(&self->epoch)},
        .succeeded = succeeded, .code = code};
    host->emit(self->handle, &event.head);
}

static void emit_failure(vc_handle object, uint64_t epoch, vc_status code, const char *message) {
    const vc_error error = {.size = sizeof error, .code = code, .message = str(message)};
    const vc_event_error event = {
        .head = {.size = sizeof event, .type = VC_EVENT_ERROR, .epoch = epoch}, .error = &error, .fatal = 1};
    host->emit(object, &event.head);
}

static void send_text(provider *self, const char *text) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(self->peer_port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // A datagram may be lost anyway; a full buffer is no other case.
    if (self->socket >= 0) (void)!sendto(self->socket, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to);
}

// `header` is a whole line or empty.
static void send_verb(provider *self, const char *verb, const char *id, const char *header, vc_str body) {
    char text[DATAGRAM_MAX];
    snprintf(text, sizeof text, "%s\r\nCall: %s\r\n%s%s\r\n%.*s", verb, id, header, header[0] ? "\r\n" : "",
             (int)body.length, body.data ? body.data : "");
    send_text(self, text);
}

static void send_code(provider *self, const char *id, uint32_t code) {
    char header[32];
    snprintf(header, sizeof header, "Code: %u", code);
    send_verb(self, "REFUSE", id, header, (vc_str){0});
}

// MARK: The thread

static void carry_out(provider *self, const order *what);
static void take(provider *self, const char *text);
static void ring_out(provider *self);

static int wait_ms(const provider *self) {
    uint64_t first = 0;
    for (const call *one = self->calls; one; one = one->next)
        if (one->deadline_ns && (!first || one->deadline_ns < first)) first = one->deadline_ns;
    const uint64_t now = now_ns();
    return !first ? -1 : first <= now ? 0 : (int)((first - now) / 1000000) + 1;
}

static void *work(void *context) {
    provider *self = context;
    while (self->runs) {
        struct pollfd waiting[2] = {{.fd = self->wake, .events = POLLIN}, {.fd = self->socket, .events = POLLIN}};
        poll(waiting, 2, wait_ms(self));
        uint64_t count;
        (void)!read(self->wake, &count, sizeof count);
        pthread_mutex_lock(&self->lock);
        order *what = self->first;
        self->first = NULL;
        self->last = &self->first;
        pthread_mutex_unlock(&self->lock);
        while (what) {
            order *next = what->next;
            carry_out(self, what);
            free(what);
            what = next;
        }
        char text[DATAGRAM_MAX + 1];
        ssize_t length;
        while (self->socket >= 0 && (length = recv(self->socket, text, DATAGRAM_MAX, MSG_DONTWAIT)) >= 0) {
            text[length] = 0;
            take(self, text);
        }
        ring_out(self);
    }
    return NULL;
}

static vc_status leave(provider *self, order_type type, session *its, uint32_t number, vc_str text) {
    order *what = calloc(1, sizeof *what);
    if (!what) return VC_E_MEMORY;
    what->type = type;
    what->session = its;
    what->number = number;
    copy(what->text, sizeof what->text, text);
    pthread_mutex_lock(&self->lock);
    *self->last = what;
    self->last = &what->next;
    pthread_mutex_unlock(&self->lock);
    const uint64_t one = 1;
    (void)!write(self->wake, &one, sizeof one);
    return VC_OK;
}

#endif
