// plugin-name: calls over a gateway that speaks WebSocket, profile "frames": the connection carries the audio itself.
//
// One connection for news, made by `start` and made again when it is lost, and one for each call. Text messages carry
// words, binary ones 20 ms of audio each: 320 bytes, 16 bit, little-endian, 8 kHz. What is yours is what the words are;
// as it stands:
//
//     news    gateway says   call KEY FROM TO · gone KEY          we say   decline KEY CODE
//     call    gateway says   ringing · answered · refused CODE · hangup · digits DIGITS · played N
//             we say         answer · hangup CODE · flush · mark N
//
// at URL for news, URL/call/KEY for a call that came in and URL/dial/NUMBER for one that we place. There is no thread
// and no lock: a provider and each session are called one call at a time, messages included, and share constants only.

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vchost/vchost.h>

enum { URL_MAX = 1024, WORDS_MAX = 512, MARKS_MAX = 64, RATE_HZ = 8000, FRAME_SAMPLES = 160 };

static const vc_host *host;
static const vc_ws *ws;
static const vc_timer *timer;
static const vc_clock *the_clock;

typedef struct provider {
    vc_handle handle, news; // `news` is 0 while there is no connection.
    char url[URL_MAX];
    int was_ready;
    uint32_t retry_ms;
} provider;

typedef struct session {
    const provider *provider;
    vc_handle handle, socket; // `socket` is 0 before and after the connection.
    _Atomic uint64_t epoch;   // Raised by `cancel`, on any thread; UINT64_MAX once closed.
    int is_inbound, is_open, wants_answer, is_up, is_over;
    uint32_t refusal; // What is to be said instead of "answer", or 0.
    uint64_t sequence, position;
    uint32_t missed; // Frames that the host did not take.
    uint64_t marks[MARKS_MAX];
    uint32_t mark_count;
    char path[URL_MAX];
} session;

// Words.

static vc_status say(vc_handle socket, const char *format, ...) {
    char words[WORDS_MAX];
    va_list list;
    va_start(list, format);
    const int length = vsnprintf(words, sizeof words, format, list);
    va_end(list);
    if (length < 0 || length >= WORDS_MAX) return VC_E_ARGUMENT;
    return socket == 0 ? VC_E_STATE : ws->send(socket, (vc_str){ words, (uint64_t)length }, 0);
}

// The next word of a message, or an empty one.
static vc_str next_word(vc_str *rest) {
    while (rest->length > 0 && *rest->data == ' ') rest->data++, rest->length--;
    vc_str word = { rest->data, 0 };
    while (word.length < rest->length && word.data[word.length] != ' ') word.length++;
    rest->data += word.length, rest->length -= word.length;
    return word;
}

static int is_word(vc_str word, const char *text) {
    return word.length == strlen(text) && memcmp(word.data, text, word.length) == 0;
}

static uint64_t number(vc_str word) {
    uint64_t value = 0;
    for (uint64_t i = 0; i < word.length && i < 18 && word.data[i] >= '0' && word.data[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(word.data[i] - '0');
    return value;
}

// One call.

#define HEAD(EVENT, TYPE, S) { .size = sizeof(EVENT), .type = (TYPE), .epoch = atomic_load(&(S)->epoch) }

static void emit_plain(const session *s, uint32_t type, uint64_t epoch) {
    const vc_event event = { .size = sizeof event, .type = type, .epoch = epoch };
    host->emit(s->handle, &event);
}

static void hung_up(session *s, uint32_t cause, uint32_t code, vc_str reason) {
    if (s->is_over) return;
    s->is_over = 1;
    const vc_event_hangup hangup = { .head = HEAD(hangup, VC_EVENT_HANGUP, s), .cause = cause, .code = code,
        .reason = reason };
    host->emit(s->handle, &hangup.head);
    if (s->socket != 0) ws->close(s->socket, 1000, (vc_str){ NULL, 0 });
}

static void played(session *s, uint32_t index, int is_cleared) {
    const vc_event_played event = { .head = HEAD(event, VC_EVENT_PLAYED, s), .mark = s->marks[index],
        .cleared = (uint32_t)is_cleared };
    memmove(s->marks + index, s->marks + index + 1, (--s->mark_count - index) * sizeof s->marks[0]);
    host->emit(s->handle, &event.head);
}

static void audio(session *s, vc_str bytes) {
    if (!s->is_up || bytes.length != FRAME_SAMPLES * sizeof(int16_t)) return;
    int16_t samples[FRAME_SAMPLES];
    memcpy(samples, bytes.data, sizeof samples);
    const vc_frame frame = { .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = RATE_HZ, .channels = 1,
        .samples = FRAME_SAMPLES, .flags = s->missed > 0 ? VC_FRAME_DISCONTINUITY : 0, .sequence = s->sequence,
        .position = s->position, .captured_ns = the_clock != NULL ? the_clock->now_ns() : 0,
        .epoch = atomic_load(&s->epoch), .data = samples, .bytes = sizeof samples };
    const vc_event_frame event = { .head = HEAD(event, VC_EVENT_FRAME, s), .frame = &frame };
    // What the host has no room for is lost, as on any line; the next frame says so.
    s->missed = host->emit(s->handle, &event.head) == VC_OK ? 0 : s->missed + 1;
    s->sequence++, s->position += FRAME_SAMPLES;
}

static void words(session *s, vc_str message) {
    // Yours: what the gateway says about a call.
    const vc_str word = next_word(&message), argument = next_word(&message);
    if (is_word(word, "ringing") && !s->is_inbound) emit_plain(s, VC_EVENT_RINGING, atomic_load(&s->epoch));
    else if (is_word(word, "answered") && !s->is_up) {
        s->is_up = 1;
        emit_plain(s, VC_EVENT_ANSWERED, atomic_load(&s->epoch));
    }
    else if (is_word(word, "refused")) hung_up(s, VC_HANGUP_REFUSED, (uint32_t)number(argument), message);
    else if (is_word(word, "hangup")) hung_up(s, s->is_up ? VC_HANGUP_CALLER : VC_HANGUP_CANCELED, 0, message);
    else if (is_word(word, "digits") && argument.length > 0) {
        const vc_event_dtmf dtmf = { .head = HEAD(dtmf, VC_EVENT_DTMF, s), .digits = argument };
        host->emit(s->handle, &dtmf.head);
    } else if (is_word(word, "played")) {
        for (uint32_t i = 0; i < s->mark_count; i++)
            if (s->marks[i] == number(argument)) return played(s, i, 0);
    }
}

static void call_opened(void *context, vc_handle socket) {
    session *s = context;
    s->is_open = 1;
    if (s->refusal != 0) {
        say(socket, "hangup %u", s->refusal);
        hung_up(s, VC_HANGUP_AGENT, s->refusal, (vc_str){ NULL, 0 });
    } else if (s->wants_answer) {
        say(socket, "answer");
    }
}

static void call_message(void *context, vc_handle socket, vc_str bytes, uint32_t binary) {
    (void)socket;
    session *s = context;
    if (s->is_over) return;
    if (binary) audio(s, bytes);
    else words(s, bytes);
}

static void call_closed(void *context, vc_handle socket, uint32_t code, vc_str reason, const vc_error *error) {
    (void)socket, (void)code;
    session *s = context;
    s->socket = 0;
    const int is_lost = error != NULL || !s->is_up;
    hung_up(s, is_lost ? VC_HANGUP_FAILED : VC_HANGUP_CALLER, 0, error != NULL ? error->message : reason);
}

static const vc_ws_events call_events = { .size = sizeof call_events, .opened = call_opened, .message = call_message,
    .closed = call_closed };

static vc_status connect_call(session *s) {
    char url[2 * URL_MAX];
    const int length = snprintf(url, sizeof url, "%s%s", s->provider->url, s->path);
    const vc_ws_connect request = { .size = sizeof request, .url = { url, (uint64_t)length } };
    return ws->connect(s->handle, &request, &call_events, s, &s->socket);
}

static vc_status answer(vc_self self) {
    session *s = self;
    if (!s->is_inbound || s->is_over || s->wants_answer) return VC_E_STATE;
    s->wants_answer = 1;
    return s->is_open ? say(s->socket, "answer") : VC_OK;
}

static vc_status hangup(vc_self self, uint32_t code, vc_str reason) {
    session *s = self;
    if (s->is_over) return VC_OK; // Both sides hung up at once.
    if (s->is_inbound && !s->is_up && code == 0) code = 486;
    if (!s->is_open) { // The gateway is told as soon as it listens.
        s->refusal = code != 0 ? code : 487;
        return VC_OK;
    }
    say(s->socket, "hangup %u", code);
    hung_up(s, VC_HANGUP_AGENT, code, reason);
    return VC_OK;
}

static vc_status play(vc_self self, const vc_frame *frame) {
    session *s = self;
    if (!s->is_up || s->is_over || s->socket == 0) return VC_E_STATE;
    return ws->send(s->socket, (vc_str){ frame->data, frame->bytes }, 1);
}

static vc_status mark(vc_self self, uint64_t mark) {
    session *s = self;
    if (s->mark_count == MARKS_MAX) return VC_E_AGAIN;
    const vc_status status = say(s->socket, "mark %llu", (unsigned long long)mark);
    if (status == VC_OK) s->marks[s->mark_count++] = mark;
    return status;
}

static vc_status flush(vc_self self) {
    session *s = self;
    const vc_status status = say(s->socket, "flush");
    while (s->mark_count > 0) played(s, 0, 1);
    return status;
}

// VC_ANY: touches nothing but the atomic.
static void cancel(vc_self self, uint64_t epoch) {
    session *s = self;
    uint64_t seen = atomic_load(&s->epoch);
    while (seen < epoch) {
        if (!atomic_compare_exchange_weak(&s->epoch, &seen, epoch)) continue;
        emit_plain(s, VC_EVENT_CANCELED, epoch);
        return;
    }
}

static void credit(vc_self self, uint32_t events, uint64_t bytes) { (void)self, (void)events, (void)bytes; }

static void close_session(vc_self self) {
    session *s = self;
    if (s->socket != 0) ws->close(s->socket, 1000, (vc_str){ NULL, 0 });
    s->is_over = 1;
    emit_plain(s, VC_EVENT_CLOSED, atomic_exchange(&s->epoch, UINT64_MAX));
}

static void destroy_session(vc_self self) { free(self); }

static const vc_session_ops session_ops = { .size = sizeof session_ops, .cancel = cancel, .credit = credit,
    .close = close_session, .destroy = destroy_session };
static const vc_telephony_frames_ops frames_ops = { .size = sizeof frames_ops, .play = play, .mark = mark,
    .flush = flush };
static const vc_telephony_ops telephony_ops = { .size = sizeof telephony_ops, .answer = answer, .hangup = hangup,
    .frames = &frames_ops };

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    const vc_telephony_open *leg = request->kind;
    const vc_str whom = leg->direction == VC_CALL_INBOUND ? leg->key : leg->to;
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return VC_E_MEMORY;
    s->provider = self, s->handle = request->session, s->is_inbound = leg->direction == VC_CALL_INBOUND;
    atomic_store(&s->epoch, request->epoch);
    const int length = snprintf(s->path, sizeof s->path, "/%s/%.*s", s->is_inbound ? "call" : "dial",
        (int)(whom.length < URL_MAX ? whom.length : URL_MAX), whom.data);
    const vc_status status = length >= URL_MAX ? VC_E_ARGUMENT : connect_call(s);
    if (status != VC_OK) {
        error->code = status;
        error->message = (vc_str)VC_STR("the gateway cannot be asked for this number: it is too long, or no address");
        return free(s), status;
    }
    out->state = s, out->ops = &session_ops, out->kind_ops = &telephony_ops;
    emit_plain(s, VC_EVENT_READY, request->epoch);
    return VC_OK;
}

// The provider: the connection for news.

static void connect_news(void *context, vc_handle fired);

static void news_opened(void *context, vc_handle socket) {
    (void)socket;
    provider *p = context;
    p->retry_ms = 0;
    if (p->was_ready) return;
    p->was_ready = 1;
    const vc_event ready = { .size = sizeof ready, .type = VC_EVENT_READY };
    host->emit(p->handle, &ready);
}

static void news_message(void *context, vc_handle socket, vc_str message, uint32_t binary) {
    (void)socket;
    const provider *p = context;
    if (binary) return;
    // Yours: how the gateway says that somebody calls.
    const vc_str word = next_word(&message), key = next_word(&message);
    if (key.length == 0) return;
    if (is_word(word, "call")) {
        const vc_str from = next_word(&message), to = next_word(&message);
        const vc_event_incoming incoming = { .head = { .size = sizeof incoming, .type = VC_EVENT_INCOMING }, .key = key,
            .from = from, .to = to, .protocol_call = key };
        host->emit(p->handle, &incoming.head);
    } else if (is_word(word, "gone")) {
        const vc_event_withdrawn gone = { .head = { .size = sizeof gone, .type = VC_EVENT_WITHDRAWN }, .key = key };
        host->emit(p->handle, &gone.head);
    }
}

static void news_closed(void *context, vc_handle socket, uint32_t code, vc_str reason, const vc_error *error) {
    (void)socket, (void)code, (void)reason;
    provider *p = context;
    p->news = 0;
    if (!p->was_ready) { // Never reached: that is for the operator to mend, and not for a retry to hide.
        const vc_error failure = { .size = sizeof failure, .code = VC_E_NETWORK, .retryable = 1,
            .message = VC_STR("the gateway does not answer; is it up, and is `url` its address?") };
        const vc_event_error event = { .head = { .size = sizeof event, .type = VC_EVENT_ERROR },
            .error = error != NULL ? error : &failure, .fatal = 1 };
        host->emit(p->handle, &event.head);
        return;
    }
    // At once, then ever more slowly, up to half a minute.
    p->retry_ms = p->retry_ms == 0 ? 200 : p->retry_ms < 15000 ? p->retry_ms * 2 : 30000;
    vc_handle armed;
    if (timer != NULL && the_clock != NULL)
        timer->arm(p->handle, the_clock->now_ns() + p->retry_ms * 1000000ull, connect_news, p, &armed);
}

static const vc_ws_events news_events = { .size = sizeof news_events, .opened = news_opened, .message = news_message,
    .closed = news_closed };

static void connect_news(void *context, vc_handle fired) {
    (void)fired;
    provider *p = context;
    const vc_ws_connect request = { .size = sizeof request, .url = { p->url, strlen(p->url) } };
    const vc_status status = ws->connect(p->handle, &request, &news_events, p, &p->news);
    if (status != VC_OK) news_closed(p, 0, 0, (vc_str){ NULL, 0 }, NULL);
}

static vc_status start(vc_self self, vc_error *error) {
    (void)error;
    connect_news(self, 0);
    return VC_OK;
}

static vc_status decline(vc_self self, vc_str key, uint32_t code, uint32_t retry_after_s) {
    (void)retry_after_s;
    return say(((provider *)self)->news, "decline %.*s %u", (int)key.length, key.data, code);
}

static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
    ws = host->service(VC_SERVICE_WS);
    timer = host->service(VC_SERVICE_TIMER);
    the_clock = host->service(VC_SERVICE_CLOCK);
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    vc_str url = { NULL, 0 };
    if (ws == NULL || config == NULL) {
        error->message = (vc_str)VC_STR("this host lacks vc.ws/1, by which the gateway is reached, or vc.config/1");
        return error->code = VC_E_UNSUPPORTED;
    }
    config->text(request->provider, "url", &url);
    if (url.length == 0 || url.length >= URL_MAX) {
        error->message = (vc_str)VC_STR("`url` is empty or longer than 1,023 bytes; name the gateway's address");
        return error->code = VC_E_CONFIG;
    }
    provider *p = calloc(1, sizeof *p);
    if (p == NULL) return VC_E_MEMORY;
    p->handle = request->provider;
    memcpy(p->url, url.data, url.length);
    *self = p;
    return VC_OK;
}

static void destroy(vc_self self) { free(self); }

static const vc_telephony_provider_ops provider_ops = { .size = sizeof provider_ops, .decline = decline };
static const vc_provider telephony = { .size = sizeof telephony, .kind = VC_STR(VC_KIND_TELEPHONY),
    .id = VC_STR("org.example.plugin-name"), .create = create, .start = start, .destroy = destroy, .open = open_session,
    .kind_ops = &provider_ops };
static const vc_provider *const providers[] = { &telephony };
static const vc_module module = { sizeof module, VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **the_module) {
    host = the_host;
    *the_module = &module;
    return VC_OK;
}
