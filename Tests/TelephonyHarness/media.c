/*  A media service with a real UDP port for each session that sends back what it hears: enough for a softphone to hear
    itself. It answers PCMU only, mirrors the direction as RFC 3264, 6.1 says, and watches the contract: a call on a
    media session that is closed, or two calls on one at once, is a fault of the plugin.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"

enum { TEXT_BYTES = 1024 };

typedef struct media_session {
    int fd;
    bool open, busy;
    uint16_t port;
    uint32_t version;
    char *text;
} media_session;

static media_session sessions[MAX_SESSIONS];
static uint32_t count, open_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *echo(void *argument) {
    static struct pollfd polled[MAX_SESSIONS];
    (void)argument;
    for (;;) {
        uint32_t used = 0;
        pthread_mutex_lock(&lock);
        for (uint32_t index = 0; index < count; index++)
            if (sessions[index].open) polled[used++] = (struct pollfd){.fd = sessions[index].fd, .events = POLLIN};
        pthread_mutex_unlock(&lock);
        if (poll(polled, used, 20) <= 0) continue;
        for (uint32_t index = 0; index < used; index++) {
            if (!(polled[index].revents & POLLIN)) continue;
            uint8_t packet[2048];
            struct sockaddr_in from;
            socklen_t length = sizeof from;
            const ssize_t bytes = recvfrom(polled[index].fd, packet, sizeof packet, MSG_DONTWAIT, (void *)&from,
                                           &length);
            if (bytes > 0) sendto(polled[index].fd, packet, (size_t)bytes, 0, (void *)&from, length);
        }
    }
    return NULL;
}

static void start_echo(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, echo, NULL) == 0) pthread_detach(thread);
}

uint32_t media_open_count(void) { return __atomic_load_n(&open_count, __ATOMIC_RELAXED); }

static vc_status open_media(vc_handle session, vc_handle *media) {
    (void)session;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || count == MAX_SESSIONS || bind(fd, (void *)&address, length) < 0) {
        if (fd >= 0) close(fd);
        return VC_E_AGAIN;
    }
    getsockname(fd, (void *)&address, &length);
    pthread_mutex_lock(&lock);
    sessions[count] = (media_session){.fd = fd, .open = true, .port = ntohs(address.sin_port),
        .text = malloc(TEXT_BYTES)};
    *media = FIRST_MEDIA + count++;
    open_count++;
    pthread_mutex_unlock(&lock);
    return VC_OK;
}

/// Marks the session as in use; NULL, and a fault, when the plugin may not call it now.
static media_session *enter(vc_handle media, const char *what) {
    media_session *result = NULL;
    pthread_mutex_lock(&lock);
    const uint64_t index = media - FIRST_MEDIA;
    if (index >= count || !sessions[index].open) host_fault("media %s on a session that is not open", what);
    else if (sessions[index].busy) host_fault("media %s while another call on the same session runs", what);
    else result = &sessions[index], result->busy = true;
    pthread_mutex_unlock(&lock);
    return result;
}

static vc_status leave(media_session *session, vc_status status) {
    pthread_mutex_lock(&lock);
    session->busy = false;
    pthread_mutex_unlock(&lock);
    return status;
}

static void describe(media_session *session, const char *direction, vc_str *description) {
    const int length = snprintf(session->text, TEXT_BYTES,
                                "v=0\r\no=- 1 %u IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                                "m=audio %u RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
                                "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=%s\r\n",
                                ++session->version, session->port, direction);
    *description = (vc_str){session->text, (uint64_t)length};
}

/// Whether the text is SDP with an audio line that lists PCMU.
static vc_status judge(const char *text) {
    if (strncmp(text, "v=0", 3) != 0) return VC_E_ARGUMENT;
    const char *line = strstr(text, "m=audio ");
    if (!line) return VC_E_UNSUPPORTED;
    char audio[256];
    snprintf(audio, sizeof audio, "%.*s ", (int)strcspn(line, "\r\n"), line);
    const char *formats = strstr(audio, "RTP/");
    return formats && strstr(formats, " 0 ") ? VC_OK : VC_E_UNSUPPORTED;
}

static vc_status answer(vc_handle media, vc_str offer, vc_str *ours, vc_error *error) {
    (void)error;
    media_session *session = enter(media, "answer");
    if (!session) return VC_E_STALE;
    char *text = strndup(offer.data, offer.length);
    const vc_status status = judge(text);
    const char *direction = strstr(text, "a=sendonly")                                           ? "recvonly"
                            : strstr(text, "a=inactive") || strstr(text, "c=IN IP4 0.0.0.0") ? "inactive"
                            : strstr(text, "a=recvonly")                                         ? "sendonly"
                                                                                                 : "sendrecv";
    if (status == VC_OK) describe(session, direction, ours);
    free(text);
    return leave(session, status);
}

static vc_status offer(vc_handle media, vc_str *ours, vc_error *error) {
    (void)error;
    media_session *session = enter(media, "offer");
    if (!session) return VC_E_STALE;
    describe(session, "sendrecv", ours);
    return leave(session, VC_OK);
}

static vc_status accept_answer(vc_handle media, vc_str theirs, vc_error *error) {
    (void)error;
    media_session *session = enter(media, "accept");
    if (!session) return VC_E_STALE;
    char *text = strndup(theirs.data, theirs.length);
    const vc_status status = judge(text);
    free(text);
    return leave(session, status);
}

static vc_status close_media(vc_handle media) {
    media_session *session = enter(media, "close");
    if (!session) return VC_E_STALE;
    pthread_mutex_lock(&lock);
    session->open = session->busy = false;
    open_count--;
    close(session->fd);
    free(session->text);
    pthread_mutex_unlock(&lock);
    return VC_OK;
}

const vc_media *media_make(void) {
    static const vc_media table = {.size = sizeof table, .open = open_media, .answer = answer, .offer = offer,
                                   .accept = accept_answer, .close = close_media};
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_echo);
    return &table;
}
