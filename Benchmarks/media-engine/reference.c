// The reference: the least that a media engine in C can do for the same streams. One thread, one clock of 1 ms,
// recvmmsg on the sockets that epoll names, µ-law decoded into a ring, a frame out of the ring into the playout,
// encoded and sent. No jitter buffer that adapts, no latch, no concealment, no statistics, no negotiation.
//
// usage: reference STREAMS SECONDS OWN-PORTS-FILE THEIR-PORTS-FILE      prints one line of JSON
#include "wire.h"

enum { BATCH = 16, RING = 16 };

typedef struct {
    int socket;
    struct sockaddr_in to;
    uint16_t sequence;
    uint32_t timestamp, head, tail;
    int16_t ring[RING][160], playout[160];
    int playing;
} stream;

static int16_t decode_table[256];
static uint8_t encode_table[65536];

static void make_tables(void) {
    for (int c = 0; c < 256; c++) {
        int u = ~c & 0xFF, m = ((((u & 15) << 3) + 132) << ((u >> 4) & 7)) - 132;
        decode_table[c] = (int16_t)(u & 0x80 ? -m : m);
    }
    for (int i = 0; i < 65536; i++) {
        int s = (int16_t)i, sign = s < 0 ? 0x80 : 0, m = abs(s);
        if (m > 32635) m = 32635;
        m += 132;
        int e = 7;
        while (e > 0 && !(m & (0x80 << e))) e--;
        encode_table[i] = (uint8_t)~(sign | e << 4 | ((m >> (e + 3)) & 15));
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int n = atoi(argv[1]), seconds = atoi(argv[2]);
    make_tables();
    uint16_t *own = calloc(n, 2), *theirs = calloc(n, 2);
    stream *streams = calloc(n, sizeof *streams);
    int e = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        streams[i].socket = bound_socket(&own[i]);
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(e, EPOLL_CTL_ADD, streams[i].socket, &ev);
    }
    read_ports(argv[4], theirs, n);
    for (int i = 0; i < n; i++) streams[i].to = loopback(theirs[i]);
    write_ports(argv[3], own, n);
    be_realtime(10);

    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_in6 senders[BATCH];
    static uint8_t data[BATCH][1500];
    struct epoll_event ready[512];
    uint8_t packet[172] = {0x80, 0};
    int64_t start = now_ns(), tick = start / 1000000 + 1, warm = start + 2000000000LL;
    int64_t cpu = 0, measured = 0, used = 0, wall = 0;
    int64_t cool = start + (int64_t)(seconds + 2) * 1000000000LL, end = cool + 1000000000LL;
    while (1) {
        sleep_until(tick * 1000000);
        int64_t now = now_ns();
        if (now > end) break;
        if (measured == 0 && now > warm) { measured = now; cpu = thread_cpu_ns(); }
        if (wall == 0 && now > cool) { wall = now - measured; used = thread_cpu_ns() - cpu; }
        int bucket = tick % 20;
        tick++;
        for (int i = bucket; i < n; i += 20) {
            stream *s = &streams[i];
            uint16_t sequence = htons(s->sequence++);
            uint32_t timestamp = htonl(s->timestamp), ssrc = htonl(i + 1);
            s->timestamp += 160;
            memcpy(packet + 2, &sequence, 2);
            memcpy(packet + 4, &timestamp, 4);
            memcpy(packet + 8, &ssrc, 4);
            for (int k = 0; k < 160; k++) packet[12 + k] = encode_table[(uint16_t)s->playout[k]];
            sendto(s->socket, packet, sizeof packet, 0, (struct sockaddr *)&s->to, sizeof s->to);
        }
        int count;
        while ((count = epoll_wait(e, ready, 512, 0)) > 0) {
            for (int k = 0; k < count; k++) {
                stream *s = &streams[ready[k].data.u32];
                for (int b = 0; b < BATCH; b++) {
                    vectors[b] = (struct iovec){data[b], 1500};
                    headers[b].msg_hdr = (struct msghdr){
                        .msg_iov = &vectors[b], .msg_iovlen = 1,
                        .msg_name = &senders[b], .msg_namelen = sizeof senders[b]};
                }
                int received = recvmmsg(s->socket, headers, BATCH, MSG_DONTWAIT, NULL);
                for (int b = 0; b < received; b++) {
                    if (headers[b].msg_len != 172 || data[b][0] != 0x80) continue;
                    if (s->head - s->tail == RING) s->tail++;
                    int16_t *frame = s->ring[s->head++ % RING];
                    for (int j = 0; j < 160; j++) frame[j] = decode_table[data[b][12 + j]];
                }
            }
            if (count < 512) break;
        }
        for (int i = bucket; i < n; i += 20) {
            stream *s = &streams[i];
            if (!s->playing && s->head - s->tail >= 2) s->playing = 1;
            if (s->playing && s->head != s->tail) memcpy(s->playout, s->ring[s->tail++ % RING], sizeof s->playout);
            else memset(s->playout, 0, sizeof s->playout);
        }
    }
    printf("{\"media_cpu_ns\":%ld,\"wall_ns\":%ld}\n", (long)used, (long)wall);
    return 0;
}
