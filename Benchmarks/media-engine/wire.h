// What the load generator and the reference loop share: a clock, sleeping to a deadline, and real-time priority.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline int64_t thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline void sleep_until(int64_t ns) {
    struct timespec t = {ns / 1000000000LL, ns % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

static inline void be_realtime(int priority) {
    struct sched_param p = {.sched_priority = priority};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &p);
}

static inline int bound_socket(uint16_t *port) {
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a) != 0) { perror("bind"); exit(1); }
    getsockname(s, (struct sockaddr *)&a, &n);
    *port = ntohs(a.sin_port);
    return s;
}

static inline struct sockaddr_in loopback(uint16_t port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    return a;
}

// The peers' ports, one a line, from a file that appears when the other side is ready.
static inline void read_ports(const char *path, uint16_t *ports, int count) {
    FILE *f;
    for (int i = 0; (f = fopen(path, "r")) == NULL; i++) {
        if (i > 1000) { fprintf(stderr, "no %s after ten seconds\n", path); exit(1); }
        usleep(10000);
    }
    for (int i = 0; i < count; i++) {
        unsigned port;
        if (fscanf(f, "%u", &port) != 1) { fprintf(stderr, "%s is short\n", path); exit(1); }
        ports[i] = (uint16_t)port;
    }
    fclose(f);
}

static inline void write_ports(const char *path, const uint16_t *ports, int count) {
    char part[512];
    snprintf(part, sizeof part, "%s.part", path);
    FILE *f = fopen(part, "w");
    for (int i = 0; i < count; i++) fprintf(f, "%u\n", ports[i]);
    fclose(f);
    rename(part, path);
}
