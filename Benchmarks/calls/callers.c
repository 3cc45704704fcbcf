// Callers: N calls over SIP and RTP from one thread, each speaking a recorded track for ever, all of them timed.
//
// Our own and not sipp or baresip, because a figure about lateness needs the kernel's time of every packet that comes
// back, and an ear: for each call, when its caller began and ceased to speak and when the agent was heard. The
// signalling is the least that RFC 3261 wants of a caller (INVITE, ACK, BYE, answers to requests within the dialog),
// over UDP.
//
// usage: callers SIP-PORT TRACK.ulaw MARKS CALLS-MAX EVENTS-FILE NAME
//   TRACK   µ-law, whole frames of 160; MARKS has a byte for each frame, '1' where somebody speaks
//   EVENTS  a line for each change: call, S|E|L|Q, nanoseconds of CLOCK_MONOTONIC
//           S, E: the first and the last frame of the caller's speech were sent; L, Q: the first and the last audible
//           frame of the agent arrived
// Commands come on standard input, each answered by one line of JSON:
//   add N PER-SECOND · measure MILLISECONDS · hangup
#include "../media-engine/wire.h"
#include "figures.h"

enum { BATCH = 16, FRAME = 160, LOUD = 300, LOUD_SAMPLES = 20 };
enum { INVITING = 1, TALKING, ENDING, OVER, FAILED };

typedef struct {
    int socket, state, tries, loud, spoke;
    struct sockaddr_in to;
    uint16_t port, sequence;
    uint32_t timestamp, frame;
    int64_t invited, next_try, last, speech_end, last_loud, loud_gap;
    long got;
    char remote[320], target[256];
} call;

static call *calls;
static int count, calls_max, signalling, wanted, e;
static uint16_t sip_port, own_sip_port;
static uint8_t *track;
static char *marks;
static uint32_t frames;
static const char *name;
static FILE *events;
static int16_t decode_table[256];
static int64_t to_monotonic;

static int64_t *jitter, *answers, *setups;
static size_t jitters, answer_count, setup_count;
static long speech_ends, foreign_byes, worst_tick_us;
static int64_t longest_gap;

static void sip(const char *text, size_t length) { send(signalling, text, length, 0); }

static void request(call *c, const char *method, int sequence, int with_offer) {
    char text[2048], body[256] = "";
    int i = (int)(c - calls);
    if (with_offer)
        snprintf(body, sizeof body, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                 "m=audio %u RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n", c->port);
    int n = snprintf(text, sizeof text,
        "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%s%d%s%d;rport\r\nMax-Forwards: 70\r\n"
        "From: <sip:%s%d@127.0.0.1:%u>;tag=t%d\r\n%s\r\nCall-ID: %s-%d\r\nCSeq: %d %s\r\n"
        "Contact: <sip:%s@127.0.0.1:%u>\r\n%sContent-Length: %zu\r\n\r\n%s",
        method, c->target, own_sip_port, name, i, strcmp(method, "BYE") ? "I" : "B",
        strcmp(method, "ACK") == 0 && c->state != FAILED, name, i, own_sip_port, i, c->remote, name, i, sequence, method,
        name, own_sip_port, with_offer ? "Content-Type: application/sdp\r\n" : "", strlen(body), body);
    sip(text, n);
}

static void invite(call *c) {
    snprintf(c->target, sizeof c->target, "sip:agent@127.0.0.1:%u", sip_port);
    snprintf(c->remote, sizeof c->remote, "To: <%s>", c->target);
    request(c, "INVITE", 1, 1);
}

static const char *header(const char *text, const char *key) {
    const char *found = strcasestr(text, key);
    return found ? found + 2 : NULL;
}

static void answer_request(const char *text) {
    static const char *keys[] = {"\r\nVia:", "\r\nFrom:", "\r\nTo:", "\r\nCall-ID:", "\r\nCSeq:"};
    char reply[2048] = "SIP/2.0 200 OK\r\n";
    for (int k = 0; k < 5; k++) {
        const char *line = header(text, keys[k]), *end = line ? strstr(line, "\r\n") : NULL;
        if (end && end - line < 300) strncat(reply, line, end - line + 2);
    }
    strcat(reply, "Content-Length: 0\r\n\r\n");
    sip(reply, strlen(reply));
}

static void heard_sip(char *text) {
    const char *id = header(text, "\r\nCall-ID:");
    if (!id) return;
    id += 8;
    while (*id == ' ') id++;
    size_t prefix = strlen(name);
    if (strncmp(id, name, prefix) || id[prefix] != '-') return;
    int i = atoi(id + prefix + 1);
    if (i < 0 || i >= count) return;
    call *c = &calls[i];
    if (strncmp(text, "SIP/2.0 ", 8)) {
        if (strncmp(text, "ACK", 3) == 0) return;
        answer_request(text);
        if (strncmp(text, "BYE", 3) == 0 && c->state != OVER) {
            c->state = OVER;
            foreign_byes++;
        }
        return;
    }
    int status = atoi(text + 8);
    const char *cseq = header(text, "\r\nCSeq:"), *to = header(text, "\r\nTo:");
    if (!cseq || !to || status < 200) {
        c->next_try = now_ns() + 10000000000LL;
        return;
    }
    const char *bye = strstr(cseq, "BYE");
    if (bye && bye < strstr(cseq, "\r\n")) {
        c->state = OVER;
        return;
    }
    snprintf(c->remote, sizeof c->remote, "%.*s", (int)(strstr(to, "\r\n") - to), to);
    const char *contact = header(text, "\r\nContact:"), *media = strstr(text, "m=audio ");
    if (status >= 300 || !contact || !media) {
        // The ACK of a refusal belongs to the INVITE's transaction and has its branch; that of a 200 has its own.
        if (c->state == INVITING) c->state = FAILED;
        request(c, "ACK", 1, 0);
        return;
    }
    const char *from = strchr(contact, '<'), *until = from ? strchr(from, '>') : NULL;
    if (until) snprintf(c->target, sizeof c->target, "%.*s", (int)(until - from - 1), from + 1);
    request(c, "ACK", 1, 0);
    if (c->state != INVITING) return;
    c->to = loopback((uint16_t)atoi(media + 8));
    c->state = TALKING;
    setups[setup_count++] = (now_ns() - c->invited) / 1000;
}

static void signal_calls(void) {
    char text[4096];
    ssize_t n;
    while ((n = recv(signalling, text, sizeof text - 1, MSG_DONTWAIT)) > 0) {
        text[n] = 0;
        heard_sip(text);
    }
    int64_t now = now_ns();
    for (int i = 0; i < count; i++) {
        call *c = &calls[i];
        if ((c->state != INVITING && c->state != ENDING) || now < c->next_try) continue;
        c->next_try = now + (500000000LL << c->tries);
        if (++c->tries > 4) { c->state = c->state == ENDING ? OVER : FAILED; continue; }
        if (c->state == INVITING) invite(c); else request(c, "BYE", 2, 0);
    }
}

static void place(int n) {
    for (; n > 0 && count < calls_max; n--, count++) {
        call *c = &calls[count];
        c->socket = bound_socket(&c->port);
        int on = 1;
        setsockopt(c->socket, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = count};
        epoll_ctl(e, EPOLL_CTL_ADD, c->socket, &ev);
        // The golden section spreads the callers over the track however many there are; eight frames are five windows
        // of a detector, so all callers have the same alignment between the two.
        c->frame = (uint32_t)((uint64_t)count * 2654435769u % frames) / 8 * 8;
        c->state = INVITING;
        c->invited = now_ns();
        c->next_try = c->invited + 500000000LL;
        invite(c);
    }
}

static void note(int i, char kind, int64_t at) {
    if (events) fprintf(events, "%d %c %ld\n", i, kind, (long)at);
}

static void speak(int i) {
    call *c = &calls[i];
    uint8_t packet[12 + FRAME] = {0x80, 0};
    uint16_t sequence = htons(c->sequence++);
    uint32_t timestamp = htonl(c->timestamp), ssrc = htonl(i + 1);
    c->timestamp += FRAME;
    memcpy(packet + 2, &sequence, 2);
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 8, &ssrc, 4);
    memcpy(packet + 12, track + (size_t)c->frame * FRAME, FRAME);
    sendto(c->socket, packet, sizeof packet, 0, (struct sockaddr *)&c->to, sizeof c->to);
    int speaks = marks[c->frame] == '1', next = marks[(c->frame + 1) % frames] == '1';
    if (speaks && !c->spoke) { c->speech_end = 0; note(i, 'S', now_ns()); }
    if (speaks && !next) { c->speech_end = now_ns(); speech_ends++; note(i, 'E', c->speech_end); }
    c->spoke = speaks;
    c->frame = (c->frame + 1) % frames;
}

static void hear(int i, const uint8_t *payload, int64_t at) {
    call *c = &calls[i];
    int loud = 0;
    for (int k = 0; k < FRAME; k++) loud += abs(decode_table[payload[k]]) > LOUD;
    c->got++;
    if (c->last != 0) {
        int64_t d = at - c->last - 20000000;
        jitter[jitters++] = d < 0 ? -d : d;
        if (at - c->last > longest_gap) longest_gap = at - c->last;
    }
    c->last = at;
    if (loud >= LOUD_SAMPLES) {
        if (!c->loud) {
            note(i, 'L', at);
            if (c->speech_end) answers[answer_count++] = (at - c->speech_end) / 1000;
            c->speech_end = 0;
        }
        c->loud = 1;
        c->last_loud = at;
    } else if (c->loud) {
        // The agent's tone has no pauses: one silent frame is its end.
        c->loud = 0;
        note(i, 'Q', c->last_loud);
    }
}

static void listen_to_all(void) {
    static struct mmsghdr headers[BATCH];
    static struct iovec vectors[BATCH];
    static uint8_t data[BATCH][512], control[BATCH][64];
    static struct epoll_event ready[512];
    int n;
    do {
        n = epoll_wait(e, ready, 512, 0);
        for (int k = 0; k < n; k++) {
            int i = ready[k].data.u32;
            for (int b = 0; b < BATCH; b++) {
                vectors[b] = (struct iovec){data[b], 512};
                headers[b].msg_hdr = (struct msghdr){
                    .msg_iov = &vectors[b], .msg_iovlen = 1, .msg_control = control[b], .msg_controllen = 64};
            }
            int received = recvmmsg(calls[i].socket, headers, BATCH, MSG_DONTWAIT, NULL);
            for (int b = 0; b < received; b++) {
                struct cmsghdr *c = CMSG_FIRSTHDR(&headers[b].msg_hdr);
                if (headers[b].msg_len != 12 + FRAME || c == NULL || (data[b][1] & 0x7f) != 0) continue;
                struct timespec t;
                memcpy(&t, CMSG_DATA(c), sizeof t);
                hear(i, data[b] + 12, t.tv_sec * 1000000000LL + t.tv_nsec - to_monotonic);
            }
        }
    } while (n == 512);
}

static int in_state(int state) {
    int n = 0;
    for (int i = 0; i < count; i++) n += calls[i].state == state;
    return n;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    sip_port = atoi(argv[1]);
    calls_max = atoi(argv[4]);
    events = fopen(argv[5], "w");
    name = argv[6];
    FILE *f = fopen(argv[2], "rb"), *m = fopen(argv[3], "rb");
    if (!f || !m || !events) { perror("track"); return 1; }
    track = malloc(64 << 20);
    marks = malloc(1 << 20);
    frames = fread(track, FRAME, (64 << 20) / FRAME, f);
    if (fread(marks, 1, 1 << 20, m) != frames) { fprintf(stderr, "marks and track differ in length\n"); return 1; }
    ulaw_table(decode_table);
    calls = calloc(calls_max, sizeof *calls);
    // A minute of the busiest measurement; a longer one ends the program below.
    size_t room = (size_t)calls_max * 50 * 60 + 100000;
    jitter = malloc(8 * room);
    answers = malloc(8 * room / 10);
    setups = malloc(8 * calls_max);
    e = epoll_create1(0);
    signalling = bound_socket(&own_sip_port);
    int buffer = 4 << 20;
    setsockopt(signalling, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    struct sockaddr_in host = loopback(sip_port);
    if (connect(signalling, (struct sockaddr *)&host, sizeof host) != 0) { perror("connect"); return 1; }
    setvbuf(stdout, NULL, _IOLBF, 0);
    be_realtime(10);

    enum { IDLE, ADDING, MEASURING, HANGING_UP } doing = IDLE;
    int64_t until = 0, began = 0, rate = 0, base_cpu = 0;
    int added_from = 0;
    int64_t tick = now_ns() / 1000000 + 1;
    char line[256];
    size_t filled = 0;
    for (;;) {
        sleep_until(tick * 1000000);
        int64_t now = now_ns();
        if ((now - tick * 1000000) / 1000 > worst_tick_us) worst_tick_us = (now - tick * 1000000) / 1000;
        struct timespec real;
        clock_gettime(CLOCK_REALTIME, &real);
        to_monotonic = real.tv_sec * 1000000000LL + real.tv_nsec - now_ns();
        for (int i = tick % 20; i < count; i += 20)
            if (calls[i].state == TALKING) speak(i);
        tick++;
        listen_to_all();
        signal_calls();
        if (jitters + 50000 > room) { jitters = 0; answer_count = 0; if (doing == MEASURING) return 3; }
        if (answer_count + 1000 > room / 10) answer_count = 0;

        if (doing == ADDING) {
            int due = added_from + (int)((now - began) * rate / 1000000000LL) + 1;
            if (due > wanted) due = wanted;
            if (count < due) place(due - count);
            int waiting = in_state(INVITING);
            if ((count == wanted && waiting == 0) || now > until) {
                printf("{\"calls\":%d,\"failed\":%d,\"waiting\":%d,", in_state(TALKING), in_state(FAILED), waiting);
                quantiles("setup_us", setups, setup_count, 1);
                printf("}\n");
                setup_count = 0;
                doing = IDLE;
            }
        } else if (doing == MEASURING && now > until) {
            double seconds = (now - began) / 1e9;
            long least = -1;
            for (int i = 0; i < count; i++)
                if (calls[i].state == TALKING && (least < 0 || calls[i].got < least)) least = calls[i].got;
            printf("{\"calls\":%d,\"seconds\":%.3f,\"expected_frames\":%.1f,\"least_frames_of_a_call\":%ld,\"speech_ends\":%ld,"
                   "\"ended_by_the_host\":%ld,\"longest_gap_us\":%ld,\"generator\":{\"cpu\":%.3f,\"worst_tick_us\":%ld},",
                   in_state(TALKING), seconds, seconds * 50, least, speech_ends, foreign_byes, (long)(longest_gap / 1000),
                   (thread_cpu_ns() - base_cpu) / 1e9 / seconds, worst_tick_us);
            quantiles("lateness_us", jitter, jitters, 1000);
            printf(",");
            quantiles("answer_us", answers, answer_count, 1);
            printf("}\n");
            fflush(events);
            doing = IDLE;
        } else if (doing == HANGING_UP && (in_state(ENDING) == 0 || now > until)) {
            printf("{\"over\":%d,\"not_ended\":%d,\"ended_by_the_host\":%ld}\n", in_state(OVER), in_state(ENDING), foreign_byes);
            fflush(events);
            doing = IDLE;
        }
        if (doing != IDLE) continue;
        // One command at a time; the pipe is looked at when there is nothing else to do.
        ssize_t n = 0;
        struct timeval none = {0, 0};
        fd_set in;
        FD_ZERO(&in);
        FD_SET(0, &in);
        if (select(1, &in, NULL, NULL, &none) > 0) {
            n = read(0, line + filled, 1);
            if (n <= 0) return 0;
            while (n == 1 && line[filled] != '\n' && filled < sizeof line - 2) {
                filled++;
                n = read(0, line + filled, 1);
            }
            line[filled] = 0;
            filled = 0;
            began = now_ns();
            long a = 0, b = 0;
            if (sscanf(line, "add %ld %ld", &a, &b) == 2) {
                added_from = count;
                wanted = count + (int)a < calls_max ? count + (int)a : calls_max;
                rate = b;
                setup_count = 0;
                until = began + (a * 1000000000LL) / b + 8000000000LL;
                doing = ADDING;
            } else if (sscanf(line, "measure %ld", &a) == 1) {
                jitters = answer_count = 0;
                speech_ends = worst_tick_us = longest_gap = 0;
                for (int i = 0; i < count; i++) { calls[i].got = 0; calls[i].speech_end = 0; }
                base_cpu = thread_cpu_ns();
                until = began + a * 1000000LL;
                doing = MEASURING;
            } else if (strncmp(line, "hangup", 6) == 0) {
                for (int i = 0; i < count; i++)
                    if (calls[i].state == TALKING) { calls[i].state = ENDING; calls[i].tries = 0; calls[i].next_try = 0; }
                until = began + 5000000000LL;
                doing = HANGING_UP;
            } else {
                printf("{\"error\":\"unknown command\"}\n");
            }
        }
    }
}
