// See nursery.h. One request and one answer at a time: the runner has a nursery for each of its threads.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    DESCRIPTORS = 5,
    /// Where descriptors lie until they are put into their places, so that none is overwritten before it is taken.
    RAISED = 16,
    TEXT_MAX = PATH_MAX + 256,
};

/// The directory and the tag, one after the other, each with its NUL.
typedef struct request {
    char text[TEXT_MAX];
    int descriptors[DESCRIPTORS];
} request;

typedef struct answer {
    int32_t error;
    int32_t probe;
} answer;

typedef union control {
    char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS)];
    struct cmsghdr aligned;
} control;

static ssize_t again(ssize_t result) { return result < 0 && errno == EINTR ? -2 : result; }

// MARK: The runner's side

int vcc_nursery_probe(int socket, const int descriptors[5], const char *directory, const char *tag, pid_t *probe) {
    const size_t first = strlen(directory) + 1, second = strlen(tag) + 1;
    if (first + second > TEXT_MAX) return ENAMETOOLONG;
    char text[TEXT_MAX];
    memcpy(text, directory, first);
    memcpy(text + first, tag, second);
    struct iovec part = {.iov_base = text, .iov_len = first + second};
    control held;
    memset(&held, 0, sizeof held);
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = held.bytes, .msg_controllen = sizeof held.bytes};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * DESCRIPTORS);
    memcpy(CMSG_DATA(head), descriptors, sizeof(int) * DESCRIPTORS);
    ssize_t count;
    while ((count = again(sendmsg(socket, &message, MSG_NOSIGNAL))) == -2) {}
    if (count < 0) return errno;
    answer got;
    while ((count = again(recv(socket, &got, sizeof got, 0))) == -2) {}
    if (count != sizeof got) return EPIPE;
    *probe = got.probe;
    return got.error;
}

// MARK: The nursery's side

/// False: nobody asks any more.
static bool take(int socket, request *asked) {
    struct iovec part = {.iov_base = asked->text, .iov_len = sizeof asked->text};
    control held;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = held.bytes, .msg_controllen = sizeof held.bytes};
    ssize_t count;
    while ((count = again(recvmsg(socket, &message, MSG_CMSG_CLOEXEC))) == -2) {}
    const struct cmsghdr *head = count > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!head || head->cmsg_len != CMSG_LEN(sizeof(int) * DESCRIPTORS)) return false;
    memcpy(asked->descriptors, CMSG_DATA(head), sizeof(int) * DESCRIPTORS);
    return true;
}

static int become_probe(const request *asked) {
    int raised[DESCRIPTORS];
    for (int i = 0; i < DESCRIPTORS; i++) {
        raised[i] = fcntl(asked->descriptors[i], F_DUPFD, RAISED);
        if (raised[i] < 0) return errno;
    }
    for (int i = 0; i < DESCRIPTORS; i++)
        if (dup2(raised[i], i + 1) < 0) return errno;
    if (close_range(DESCRIPTORS + 1, ~0u, 0) != 0) return errno;
    if (setsid() < 0 || chdir(asked->text) != 0) return errno;
    char tag[256] = "";
    const char *given = asked->text + strlen(asked->text) + 1;
    char *value = strchr(strncpy(tag, given, sizeof tag - 1), '=');
    if (!value || strlen(given) >= sizeof tag) return EINVAL;
    *value = 0;
    if (setenv("HOME", asked->text, 1) || setenv("TMPDIR", asked->text, 1) || setenv(tag, value + 1, 1)) return errno;
    return 0;
}

void vcc_nursery_serve(int socket) {
    // Between the one that forks and the one that is forked: who it is.
    answer *made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static request asked;
    while (made != MAP_FAILED && take(socket, &asked)) {
        *made = (answer){.error = EAGAIN};
        const pid_t between = fork();
        if (between == 0) {
            const pid_t probe = fork();
            if (probe == 0) {
                munmap(made, sizeof *made);
                // Without its descriptors it cannot even complain: the runner sees an end without a beginning.
                if (become_probe(&asked) != 0) _exit(66);
                return;
            }
            *made = (answer){.error = probe < 0 ? errno : 0, .probe = probe};
            _exit(0);
        }
        if (between < 0) made->error = errno;
        // When this returns the probe is the runner's: orphans are given away before their parent counts as ended.
        while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR) {}
        for (int i = 0; i < DESCRIPTORS; i++) close(asked.descriptors[i]);
        if (send(socket, made, sizeof *made, MSG_NOSIGNAL) != sizeof *made) break;
    }
    _exit(0);
}
