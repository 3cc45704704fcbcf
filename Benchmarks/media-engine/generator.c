// The callers: N streams of G.711, a packet every 20 ms each, fifty a millisecond for a thousand. What comes back is
// timed by the kernel when it arrives (SO_TIMESTAMPNS), so that a late wake-up of this program is not taken for a late
// packet.
//
// usage: generator STREAMS SECONDS OWN-PORTS-FILE THEIR-PORTS-FILE      prints one line of JSON
#include "wire.h"

enum { BATCH = 16 };

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int n = atoi(argv[1]), seconds = atoi(argv[2]);
    uint16_t *own = calloc(n, 2), *theirs = calloc(n, 2);
    int *sockets = calloc(n, sizeof(int));
    struct sockaddr_in *to = calloc(n, sizeof *to);
    int64_t *last = calloc(n, 8);
    long *got = calloc(n, sizeof(long));
    int64_t *jitter = malloc(sizeof(int64_t) * (size_t)n * (seconds + 2) * 50);
    size_t samples = 0;
    int e = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        sockets[i] = bound_socket(&own[i]);
        int on = 1;
        setsockopt(sockets[i], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(e, EPOLL_CTL_ADD, sockets[i], &ev);
    }
    write_ports(argv[3], own, n);
    read_ports(argv[4], theirs, n);
    for (int i = 0; i < n; i++) to[i] = loopback(theirs[i]);
    be_realtime(10);

    uint8_t packet[172] = {0x80, 0};
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    static uint8_t data[BATCH][512], control[BATCH][64];
    struct epoll_event ready[512];
    long sent = 0;
    int64_t start = now_ns(), tick = start / 1000000 + 1, warm = start + 2000000000LL;
    int64_t end = start + (int64_t)(seconds + 2) * 1000000000LL;
    while (now_ns() < end) {
        sleep_until(tick * 1000000);
        int64_t frame = tick / 20;
        int bucket = tick % 20;
        tick++;
        for (int i = bucket; i < n; i += 20) {
            uint16_t sequence = htons((uint16_t)frame);
            uint32_t timestamp = htonl((uint32_t)(frame * 160)), ssrc = htonl(i + 1);
            memcpy(packet + 2, &sequence, 2);
            memcpy(packet + 4, &timestamp, 4);
            memcpy(packet + 8, &ssrc, 4);
            for (int k = 0; k < 160; k++) packet[12 + k] = (uint8_t)(k * 7 + frame);
            sent += sendto(sockets[i], packet, sizeof packet, 0, (struct sockaddr *)&to[i], sizeof to[i]) > 0;
        }
        int count;
        while ((count = epoll_wait(e, ready, 512, 0)) > 0) {
            for (int k = 0; k < count; k++) {
                int i = ready[k].data.u32;
                for (int b = 0; b < BATCH; b++) {
                    vectors[b] = (struct iovec){data[b], 512};
                    headers[b].msg_hdr = (struct msghdr){
                        .msg_iov = &vectors[b], .msg_iovlen = 1, .msg_control = control[b], .msg_controllen = 64};
                }
                int received = recvmmsg(sockets[i], headers, BATCH, MSG_DONTWAIT, NULL);
                for (int b = 0; b < received; b++) {
                    if (headers[b].msg_len != 172) continue;
                    struct cmsghdr *c = CMSG_FIRSTHDR(&headers[b].msg_hdr);
                    if (c == NULL) continue;
                    struct timespec t;
                    memcpy(&t, CMSG_DATA(c), sizeof t);
                    int64_t at = t.tv_sec * 1000000000LL + t.tv_nsec;
                    if (now_ns() > warm) {
                        got[i]++;
                        if (last[i] != 0) {
                            int64_t d = at - last[i] - 20000000;
                            jitter[samples++] = d < 0 ? -d : d;
                        }
                    }
                    last[i] = at;
                }
            }
            if (count < 512) break;
        }
    }
    qsort(jitter, samples, 8, compare);
    long worst = -1;
    for (int i = 0; i < n; i++)
        if (worst < 0 || got[i] < worst) worst = got[i];
    #define Q(q) (samples ? jitter[(size_t)((samples - 1) * (q))] / 1000 : -1)
    printf("{\"sent\":%ld,\"received_after_warmup\":%zu,\"least_frames_of_a_stream\":%ld,\"expected_frames\":%d,"
           "\"jitter_us\":{\"p50\":%ld,\"p90\":%ld,\"p99\":%ld,\"p999\":%ld}}\n",
           sent, samples, worst, seconds * 50, (long)Q(0.5), (long)Q(0.9), (long)Q(0.99), (long)Q(0.999));
    return 0;
}
