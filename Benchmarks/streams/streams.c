// Callers behind a carrier that speaks Twilio's Media Streams: N WebSockets from one thread, each sending a recorded track
// for ever in messages of 20 ms, with the carrier's own playout buffer behind what comes back.
//
// The carrier plays what it is sent in order, at 8 kHz, as soon as it has it. So a message is late when the buffer of its
// call ran dry while the agent spoke: a message's lateness is the silence that the caller heard before it. `mark` is sent
// back when what stood before it was played, and at once after a `clear`, which empties the buffer.
//
// usage: streams PORT TRACK.ulaw MARKS CALLS-MAX EVENTS-FILE
//   EVENTS  a line for each change: call, S|E|L|Q|C, nanoseconds of CLOCK_MONOTONIC
//           S, E: the first and the last frame of the caller's speech were sent; L: the first audible message of the agent
//           arrived; Q: the caller heard the end of it; C: a clear arrived
// Commands come on standard input, each answered by one line of JSON:
//   open PATH SIGNATURE CALL-SID ACCOUNT-SID TOKEN   one call; "-" for no signature or token
//   measure MILLISECONDS · hangup
#include "../media-engine/wire.h"
#include "../calls/figures.h"
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/select.h>

enum { FRAME = 160, LOUD = 300, LOUD_SAMPLES = 20, MARKS_MAX = 64, INBOX = 256 << 10 };
enum { SHAKING = 1, TALKING, OVER, FAILED };
// A pause between two answers is no gap: what comes this long after the buffer ran dry begins a new answer.
#define NEW_ANSWER_NS 400000000LL

typedef struct { char name[64]; int64_t due; } mark;

typedef struct {
    int socket, state, loud, spoke, mark_count, speaking;
    char call_sid[40], stream_sid[40];
    uint32_t frame, chunk, sequence;
    int64_t opened, speech_end, played_until, audible_until;
    mark pending[MARKS_MAX];
    uint8_t *inbox;
    size_t filled;
    long messages, bytes, sends_refused;
} call;

static call *calls;
static int count, calls_max, e;
static uint8_t *track;
static char *marks, (*encoded)[FRAME / 3 * 4 + 5];
static uint32_t frames;
static FILE *events;
static int16_t decode_table[256];
static int8_t base64_table[256];

static int64_t *late, *answers, *setups;
static size_t lates, answer_count, setup_count, room;
static long speech_ends, foreign_ends, clears, marks_heard, nonsense, worst_tick_us, refused_sends;

static void note(int i, char kind, int64_t at) { fprintf(events, "%d %c %ld\n", i, kind, (long)at); }

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode(const uint8_t *from, size_t n, char *to) {
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = from[i] << 16 | (i + 1 < n ? from[i + 1] << 8 : 0) | (i + 2 < n ? from[i + 2] : 0);
        *to++ = letters[bits >> 18];
        *to++ = letters[bits >> 12 & 63];
        *to++ = i + 1 < n ? letters[bits >> 6 & 63] : '=';
        *to++ = i + 2 < n ? letters[bits & 63] : '=';
    }
    *to = 0;
}

// RFC 6455, section 5.2: a client's frames are masked. With a key of zeros the masked bytes are the plain ones, and the server
// unmasks them all the same.
static void send_frame(call *c, int opcode, const char *text, size_t length) {
    uint8_t frame[4096];
    size_t head = 2;
    if (length > sizeof frame - 16) return;
    frame[0] = 0x80 | opcode;
    if (length < 126) frame[1] = 0x80 | length;
    else { frame[1] = 0x80 | 126; frame[2] = length >> 8; frame[3] = length & 255; head = 4; }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, text, length);
    ssize_t sent = send(c->socket, frame, head + 4 + length, MSG_NOSIGNAL);
    // A host that reads nothing for as long as the kernel's buffer lasts has lost the call; half a frame would break it anyway.
    if (sent != (ssize_t)(head + 4 + length)) { c->sends_refused++; refused_sends++; c->state = FAILED; }
}

static void say(call *c, const char *text, int length) { send_frame(c, 1, text, (size_t)length); }

static void begin(call *c, const char *account, const char *token) {
    char text[1024], parameters[256] = "";
    if (strcmp(token, "-")) snprintf(parameters, sizeof parameters, "\"token\":\"%s\"", token);
    say(c, text, snprintf(text, sizeof text, "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}"));
    say(c, text, snprintf(text, sizeof text,
        "{\"event\":\"start\",\"sequenceNumber\":\"1\",\"start\":{\"accountSid\":\"%s\",\"streamSid\":\"%s\",\"callSid\":\"%s\","
        "\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,\"channels\":1},"
        "\"customParameters\":{%s}},\"streamSid\":\"%s\"}", account, c->stream_sid, c->call_sid, parameters, c->stream_sid));
    c->sequence = 1;
}

static int handshake(call *c, const char *path, const char *signature, const char *account, const char *token, uint16_t port) {
    char text[2048], header[200] = "";
    if (strcmp(signature, "-")) snprintf(header, sizeof header, "X-Twilio-Signature: %s\r\n", signature);
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in host = loopback(port);
    struct timeval patience = {5, 0};
    setsockopt(c->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(c->socket, (struct sockaddr *)&host, sizeof host) != 0) return -1;
    int on = 1, n = snprintf(text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, port, header);
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (send(c->socket, text, n, MSG_NOSIGNAL) != n) return -1;
    size_t got = 0;
    while (got < sizeof text - 1) {
        ssize_t more = recv(c->socket, text + got, 1, 0);
        if (more <= 0) return -1;
        got += more;
        text[got] = 0;
        if (got > 4 && !memcmp(text + got - 4, "\r\n\r\n", 4)) break;
    }
    if (strncmp(text, "HTTP/1.1 101", 12)) return atoi(text + 9);
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
    c->state = TALKING;
    begin(c, account, token);
    return 101;
}

static void answer_marks(int i, int64_t now, int all) {
    call *c = &calls[i];
    char text[256];
    int kept = 0;
    for (int k = 0; k < c->mark_count; k++) {
        mark *m = &c->pending[k];
        if (!all && m->due > now) { c->pending[kept++] = *m; continue; }
        say(c, text, snprintf(text, sizeof text,
            "{\"event\":\"mark\",\"sequenceNumber\":\"%u\",\"streamSid\":\"%s\",\"mark\":{\"name\":\"%s\"}}", ++c->sequence,
            c->stream_sid, m->name));
    }
    c->mark_count = kept;
}

static void hear_media(int i, const char *payload, size_t length, int64_t at) {
    call *c = &calls[i];
    int loud = 0;
    size_t samples = 0;
    uint32_t bits = 0, have = 0;
    for (size_t k = 0; k < length; k++) {
        int value = base64_table[(uint8_t)payload[k]];
        if (value < 0) break;
        bits = bits << 6 | value;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        samples++;
        loud += abs(decode_table[bits >> have & 255]) > LOUD;
    }
    c->messages++;
    c->bytes += samples;
    if (c->speaking) {
        int64_t dry = at - c->played_until;
        if (dry > NEW_ANSWER_NS) c->speaking = 0;
        else if (lates < room) late[lates++] = dry > 0 ? dry : 0;
    }
    c->speaking = 1;
    int64_t from = c->played_until > at ? c->played_until : at;
    c->played_until = from + (int64_t)samples * 125000;
    if (loud < LOUD_SAMPLES) return;
    c->audible_until = c->played_until;
    if (c->loud) return;
    c->loud = 1;
    note(i, 'L', from);
    if (c->speech_end) answers[answer_count++] = (from - c->speech_end) / 1000;
    c->speech_end = 0;
}

static const char *value_of(const char *text, const char *key, size_t *length) {
    const char *found = strstr(text, key);
    if (!found) return NULL;
    found += strlen(key);
    while (*found == ' ' || *found == ':') found++;
    if (*found++ != '"') return NULL;
    const char *end = strchr(found, '"');
    *length = end ? (size_t)(end - found) : 0;
    return end ? found : NULL;
}

static void hear_message(int i, char *text, int64_t at) {
    call *c = &calls[i];
    size_t n = 0, m = 0;
    const char *event = value_of(text, "\"event\"", &n), *sid = value_of(text, "\"streamSid\"", &m);
    if (!event || !sid || m != strlen(c->stream_sid) || strncmp(sid, c->stream_sid, m)) { nonsense++; return; }
    if (n == 5 && !strncmp(event, "media", 5)) {
        const char *payload = value_of(text, "\"payload\"", &n);
        if (payload) hear_media(i, payload, n, at); else nonsense++;
    } else if (n == 4 && !strncmp(event, "mark", 4)) {
        const char *name = value_of(text, "\"name\"", &n);
        marks_heard++;
        if (!name || n >= sizeof c->pending[0].name || c->mark_count == MARKS_MAX) { nonsense++; return; }
        mark *pending = &c->pending[c->mark_count++];
        memcpy(pending->name, name, n);
        pending->name[n] = 0;
        pending->due = c->played_until > at ? c->played_until : at;
    } else if (n == 5 && !strncmp(event, "clear", 5)) {
        clears++;
        note(i, 'C', at);
        if (c->loud) note(i, 'Q', c->audible_until < at ? c->audible_until : at);
        c->loud = c->speaking = 0;
        c->played_until = c->audible_until = at;
        answer_marks(i, at, 1);
    } else {
        nonsense++;
    }
}

static void over(call *c) {
    close(c->socket);
    if (c->state == TALKING) { c->state = OVER; foreign_ends++; }
}

static void hear(int i) {
    call *c = &calls[i];
    for (;;) {
        ssize_t n = recv(c->socket, c->inbox + c->filled, INBOX - c->filled - 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) { over(c); return; }
        c->filled += n;
        int64_t at = now_ns();
        size_t begin = 0;
        while (c->filled - begin >= 2) {
            uint8_t *frame = c->inbox + begin;
            size_t length = frame[1] & 127, head = 2;
            if (length == 126) {
                if (c->filled - begin < 4) break;
                length = frame[2] << 8 | frame[3];
                head = 4;
            } else if (length == 127) { over(c); return; }
            if (c->filled - begin < head + length) break;
            uint8_t kept = frame[head + length];
            frame[head + length] = 0;
            int opcode = frame[0] & 15;
            if (opcode == 1) hear_message(i, (char *)frame + head, at);
            else if (opcode == 9) send_frame(c, 10, (char *)frame + head, length);
            else if (opcode == 8) { over(c); return; }
            frame[head + length] = kept;
            begin += head + length;
        }
        memmove(c->inbox, c->inbox + begin, c->filled - begin);
        c->filled -= begin;
    }
}

static void listen_to_all(void) {
    static struct epoll_event ready[512];
    int n;
    do {
        n = epoll_wait(e, ready, 512, 0);
        for (int k = 0; k < n; k++)
            if (calls[ready[k].data.u32].state == TALKING) hear(ready[k].data.u32);
    } while (n == 512);
}

static void speak(int i) {
    call *c = &calls[i];
    char text[512];
    c->chunk++;
    say(c, text, snprintf(text, sizeof text,
        "{\"event\":\"media\",\"sequenceNumber\":\"%u\",\"media\":{\"track\":\"inbound\",\"chunk\":\"%u\",\"timestamp\":\"%u\","
        "\"payload\":\"%s\"},\"streamSid\":\"%s\"}", ++c->sequence, c->chunk, c->chunk * 20, encoded[c->frame], c->stream_sid));
    int64_t now = now_ns();
    int speaks = marks[c->frame] == '1', next = marks[(c->frame + 1) % frames] == '1';
    if (speaks && !c->spoke) { c->speech_end = 0; note(i, 'S', now); }
    if (speaks && !next) { c->speech_end = now; speech_ends++; note(i, 'E', now); }
    c->spoke = speaks;
    c->frame = (c->frame + 1) % frames;
    if (c->mark_count) answer_marks(i, now, 0);
    if (c->loud && c->audible_until < now - 20000000) { c->loud = 0; note(i, 'Q', c->audible_until); }
}

static int in_state(int state) {
    int n = 0;
    for (int i = 0; i < count; i++) n += calls[i].state == state;
    return n;
}

static void open_call(const char *path, const char *signature, const char *sid, const char *account, const char *token, uint16_t port) {
    if (count == calls_max) { printf("{\"error\":\"no room\"}\n"); return; }
    int i = count;
    call *c = &calls[i];
    memset(c, 0, sizeof *c);
    snprintf(c->call_sid, sizeof c->call_sid, "%s", sid);
    snprintf(c->stream_sid, sizeof c->stream_sid, "MZ%s", sid + 2);
    c->inbox = malloc(INBOX);
    // As in callers.c: the golden section spreads the callers over the track.
    c->frame = (uint32_t)((uint64_t)i * 2654435769u % frames) / 8 * 8;
    c->opened = now_ns();
    int status = handshake(c, path, signature, account, token, port);
    if (status != 101) {
        printf("{\"failed\":%d}\n", status);
        close(c->socket);
        free(c->inbox);
        return;
    }
    count++;
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(e, EPOLL_CTL_ADD, c->socket, &ev);
    setups[setup_count++ % calls_max] = (now_ns() - c->opened) / 1000;
    printf("{\"call\":%d}\n", i);
}

static void report(int64_t began, int64_t now, int64_t base_cpu) {
    double seconds = (now - began) / 1e9;
    long messages = 0, bytes = 0;
    for (int i = 0; i < count; i++) { messages += calls[i].messages; bytes += calls[i].bytes; }
    printf("{\"calls\":%d,\"failed\":%d,\"seconds\":%.3f,\"messages\":%ld,\"audio_seconds\":%.1f,\"speech_ends\":%ld,"
           "\"ended_by_the_host\":%ld,\"clears\":%ld,\"marks\":%ld,\"nonsense\":%ld,\"sends_refused\":%ld,"
           "\"generator\":{\"cpu\":%.3f,\"worst_tick_us\":%ld},",
           in_state(TALKING), in_state(FAILED), seconds, messages, bytes / 8000.0, speech_ends, foreign_ends, clears, marks_heard,
           nonsense, refused_sends, (thread_cpu_ns() - base_cpu) / 1e9 / seconds, worst_tick_us);
    quantiles("lateness_us", late, lates, 1000);
    printf(",");
    quantiles("answer_us", answers, answer_count, 1);
    printf("}\n");
    fflush(events);
}

static void hang_up(void) {
    char text[512];
    for (int i = 0; i < count; i++) {
        call *c = &calls[i];
        if (c->state != TALKING) continue;
        say(c, text, snprintf(text, sizeof text,
            "{\"event\":\"stop\",\"sequenceNumber\":\"%u\",\"stop\":{\"accountSid\":\"\",\"callSid\":\"%s\"},\"streamSid\":\"%s\"}",
            ++c->sequence, c->call_sid, c->stream_sid));
        send_frame(c, 8, "\x03\xe8", 2);
        c->state = OVER;
        close(c->socket);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    uint16_t port = atoi(argv[1]);
    calls_max = atoi(argv[4]);
    events = fopen(argv[5], "w");
    FILE *f = fopen(argv[2], "rb"), *m = fopen(argv[3], "rb");
    if (!f || !m || !events) { perror("track"); return 1; }
    track = malloc(64 << 20);
    marks = malloc(1 << 20);
    frames = fread(track, FRAME, (64 << 20) / FRAME, f);
    if (fread(marks, 1, 1 << 20, m) != frames) { fprintf(stderr, "marks and track differ in length\n"); return 1; }
    encoded = malloc(frames * sizeof *encoded);
    for (uint32_t i = 0; i < frames; i++) encode(track + (size_t)i * FRAME, FRAME, encoded[i]);
    memset(base64_table, -1, sizeof base64_table);
    for (int k = 0; k < 64; k++) base64_table[(uint8_t)letters[k]] = k;
    ulaw_table(decode_table);
    calls = calloc(calls_max, sizeof *calls);
    room = (size_t)calls_max * 50 * 60 + 100000;
    late = malloc(8 * room);
    answers = malloc(8 * room / 10);
    setups = malloc(8 * calls_max);
    e = epoll_create1(0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    be_realtime(10);

    int measuring = 0;
    int64_t until = 0, began = 0, base_cpu = 0, tick = now_ns() / 1000000 + 1;
    char line[1024];
    size_t filled = 0;
    for (;;) {
        sleep_until(tick * 1000000);
        int64_t now = now_ns();
        if ((now - tick * 1000000) / 1000 > worst_tick_us) worst_tick_us = (now - tick * 1000000) / 1000;
        for (int i = tick % 20; i < count; i += 20)
            if (calls[i].state == TALKING) speak(i);
        tick++;
        listen_to_all();
        if (answer_count + 1000 > room / 10) answer_count = 0;
        if (measuring && now > until) {
            report(began, now, base_cpu);
            measuring = 0;
        }
        if (measuring) continue;
        struct timeval none = {0, 0};
        fd_set in;
        FD_ZERO(&in);
        FD_SET(0, &in);
        if (select(1, &in, NULL, NULL, &none) <= 0) continue;
        ssize_t n = read(0, line + filled, 1);
        if (n <= 0) return 0;
        while (n == 1 && line[filled] != '\n' && filled < sizeof line - 2) {
            filled++;
            n = read(0, line + filled, 1);
        }
        line[filled] = 0;
        filled = 0;
        char path[400], signature[100], sid[40], account[40], token[200];
        long milliseconds;
        if (sscanf(line, "open %399s %99s %39s %39s %199s", path, signature, sid, account, token) == 5) {
            open_call(path, signature, sid, account, token, port);
        } else if (sscanf(line, "measure %ld", &milliseconds) == 1) {
            lates = answer_count = 0;
            speech_ends = worst_tick_us = clears = marks_heard = 0;
            for (int i = 0; i < count; i++) calls[i].messages = calls[i].bytes = calls[i].speech_end = 0;
            base_cpu = thread_cpu_ns();
            began = now_ns();
            until = began + milliseconds * 1000000L;
            measuring = 1;
        } else if (strncmp(line, "hangup", 6) == 0) {
            hang_up();
            fflush(events);
            printf("{\"over\":%d,\"failed\":%d,\"ended_by_the_host\":%ld}\n", in_state(OVER), in_state(FAILED), foreign_ends);
        } else {
            printf("{\"error\":\"unknown command\"}\n");
        }
    }
}
