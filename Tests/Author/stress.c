// A host of one thread that does everything the contract lets a host do, in random order: pieces and answers in any
// interleaving and cut anywhere, no credit, faults of the vendor, cancel, close in the middle. Against any plugin whose
// kind is tts, stt or llm and which asks as the templates ask.
//
//     stress PLUGIN.so tts|stt|llm SEQUENCES SEED       exit code 0: every promise was kept; else the seed and the breach
//
// What `vchost conform` asks of every plugin is asked there; this is for memory errors (it is built with
// AddressSanitizer, and so is the plugin where its compiler can), and for what only a server that is known can tell:
// that each sample and each letter arrives once, and in order.
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vchost/vchost.h>

enum { EXCHANGES_MAX = 32, REQUESTS_MAX = 64, PIECES_MAX = 4, TEXT_MAX = 40, SAMPLES_PER_BYTE = 150, HANDLE = 7 };
enum { IS_OPEN, HAS_CLOSED };

// An HTTP exchange, from `start` to `done`.
typedef struct exchange {
    int is_live, status, was_answered;
    uint64_t epoch, sent, length;
    const vc_http_events *events;
    void *context;
    char *answer;
    int is_broken; // It ends with an error instead of the rest.
} exchange;

// A request of the host, and what is to come of it.
typedef struct request {
    uint64_t number, epoch;
    uint32_t piece_samples[PIECES_MAX], piece_count;
    int is_complete, is_refused, has_ended, has_failed;
    uint64_t samples, bytes;
    uint64_t marks;
} request;

static uint64_t seed, random_state;
static int state, put_off;
static uint64_t epoch, sequence, next_number;
static int64_t credits;
static exchange exchanges[EXCHANGES_MAX];
static request requests[REQUESTS_MAX];
static uint32_t request_count;
static char pending[256]; // What was answered with VC_E_AGAIN, and must come again first.
static const char *kind;
static const vc_tts_ops *tts;
static const vc_stt_ops *stt;
static const vc_llm_ops *llm;

static void breach(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fprintf(stderr, "seed %llu: ", (unsigned long long)seed);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    exit(1);
}

static uint32_t below(uint32_t limit) { // xorshift64*
    random_state ^= random_state >> 12, random_state ^= random_state << 25, random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 2685821657736338717ull >> 33) % limit);
}

// What the server says to the letters of an LLM's answer: every second character has two bytes.
static char letter(uint64_t at) { return at % 3 == 0 ? 'a' : at % 3 == 1 ? (char)0xC3 : (char)0xA4; }

static request *find(uint64_t number) {
    for (uint32_t i = 0; i < request_count; i++) if (requests[i].number == number) return &requests[i];
    return NULL;
}

// What the sample at `position` of a request is: counted from 0 in each of its pieces.
static int16_t expected(const request *r, uint64_t position) {
    for (uint32_t i = 0; i < r->piece_count; i++) {
        if (position < r->piece_samples[i]) return (int16_t)(position & 0x7fff);
        position -= r->piece_samples[i];
    }
    breach("request %llu: more audio than its text has", (unsigned long long)r->number);
    return 0;
}

static void end(request *r, const char *how) {
    if (r->has_ended) breach("request %llu ended twice, the second time with %s", (unsigned long long)r->number, how);
    r->has_ended = 1;
}

static vc_status emit(vc_handle object, const vc_event *event) {
    if (object != HANDLE) breach("an event for the object %llu", (unsigned long long)object);
    if (state == HAS_CLOSED) breach("event %u after CLOSED", event->type);
    if (event->type == VC_EVENT_CLOSED) return state = HAS_CLOSED, VC_OK;
    if (event->type == VC_EVENT_READY) return VC_OK;
    if (event->type == VC_EVENT_CANCELED) {
        if (event->epoch != epoch) breach("CANCELED for another epoch");
        return VC_OK;
    }
    request *r = find(event->request);
    if (r == NULL) breach("event %u for a request that was never made", event->type);
    if (event->epoch != r->epoch) breach("event %u with an epoch that is not its request's", event->type);
    if (event->epoch < epoch) return VC_E_CANCELED;
    // PluginKit says FINALIZED also behind an ERROR, since a recogniser goes on hearing the caller.
    if (event->type == VC_EVENT_FINALIZED && r->has_failed) return VC_OK;
    if (r->has_ended) breach("event %u for request %llu, which has ended", event->type, (unsigned long long)r->number);
    if (event->type == VC_EVENT_ERROR) {
        const vc_error *error = ((const vc_event_error *)event)->error;
        if (error == NULL || error->message.length == 0 || error->code >= 0) breach("an ERROR that says nothing");
        r->has_failed = 1;
        return end(r, "ERROR"), VC_OK;
    }
    // Whoever was told VC_E_AGAIN offers the same thing again before anything else of that request.
    char now[256];
    snprintf(now, sizeof now, "%u of %llu", event->type, (unsigned long long)event->request);
    if (pending[0] != '\0' && strcmp(kind, "llm") != 0 && strcmp(pending, now) != 0)
        breach("%s was not taken, and %s came next", pending, now);
    if (credits <= 0) {
        memcpy(pending, now, sizeof now);
        return put_off++, VC_E_AGAIN;
    }
    pending[0] = '\0', credits--;

    if (event->type == VC_EVENT_AUDIO) {
        const vc_frame *frame = ((const vc_event_audio *)event)->frame;
        // Frames that a cancel took away may have had their numbers.
        if (frame->sequence < sequence) breach("frame %llu out of sequence", (unsigned long long)frame->sequence);
        sequence = frame->sequence + 1;
        if (frame->position != r->samples) breach("a gap in the audio");
        if (frame->bytes != frame->samples * 2ull || frame->samples == 0) breach("a frame of %u samples", frame->samples);
        for (uint32_t i = 0; i < frame->samples; i++)
            if (((const int16_t *)frame->data)[i] != expected(r, r->samples + i)) breach("a wrong sample");
        r->samples += frame->samples;
    } else if (event->type == VC_EVENT_MARK) {
        const vc_event_mark *mark = (const vc_event_mark *)event;
        if (mark->text_start < r->marks || mark->end > r->samples) breach("a mark that lies outside");
        r->marks = mark->text_end;
    } else if (event->type == VC_EVENT_TTS_DONE) {
        uint64_t all = 0;
        for (uint32_t i = 0; i < r->piece_count; i++) all += r->piece_samples[i];
        if (r->samples != all) breach("DONE after %llu of %llu samples", (unsigned long long)r->samples, (unsigned long long)all);
        if (r->is_refused) breach("DONE for a request of which a piece was refused");
        end(r, "TTS_DONE");
    } else if (event->type == VC_EVENT_DELTA) {
        const vc_str text = ((const vc_event_delta *)event)->text;
        if (text.length == 0) breach("an empty DELTA");
        for (uint64_t i = 0; i < text.length; i++)
            if (text.data[i] != (r->bytes + i == r->piece_samples[0] ? '\n' : letter(r->bytes + i))) breach("a wrong letter");
        r->bytes += text.length;
        if (r->bytes % 3 == 2) breach("a DELTA that ends within a character");
    } else if (event->type == VC_EVENT_LLM_DONE) {
        if (r->bytes != r->piece_samples[0] + 1) breach("LLM_DONE before the end of the text");
        end(r, "LLM_DONE");
    } else if (event->type == VC_EVENT_TRANSCRIPT) {
        const vc_event_transcript *transcript = (const vc_event_transcript *)event;
        if (transcript->start >= transcript->end || !transcript->final) breach("a transcript of nothing");
        if (transcript->text.length != 5 || memcmp(transcript->text.data, "words", 5) != 0) breach("wrong words");
        r->bytes++;
    } else if (event->type == VC_EVENT_FINALIZED) {
        if (r->bytes != r->piece_samples[0]) breach("FINALIZED with %llu transcripts", (unsigned long long)r->bytes);
        end(r, "FINALIZED");
    } else {
        breach("event %u", event->type);
    }
    return VC_OK;
}

// The vendor.

static vc_status http_start(vc_handle owner, const vc_http_request *asked, const vc_http_events *events, void *context,
                            vc_handle *handle) {
    if (owner != HANDLE) breach("a request of the object %llu", (unsigned long long)owner);
    for (uint32_t i = 0; i < EXCHANGES_MAX; i++) {
        exchange *e = &exchanges[i];
        if (e->is_live) continue;
        memset(e, 0, sizeof *e);
        e->is_live = 1, e->epoch = asked->epoch, e->events = events, e->context = context;
        e->status = below(12) == 0 ? 500 + (int)below(4) : 200, e->is_broken = below(15) == 0;
        if (strcmp(kind, "tts") == 0) {
            e->length = asked->body.length * SAMPLES_PER_BYTE * 2;
            e->answer = malloc(e->length);
            for (uint64_t s = 0; s < e->length / 2; s++) ((int16_t *)e->answer)[s] = (int16_t)(s & 0x7fff);
        } else if (strcmp(kind, "llm") == 0) {
            // The question says how long the answer is to be, in {"messages": NUMBER, ...}; a line feed ends it.
            const uint64_t letters = strtoull((const char *)memchr(asked->body.data, ':', asked->body.length) + 1, NULL, 10);
            e->length = letters + 1, e->answer = malloc(e->length);
            for (uint64_t c = 0; c < letters; c++) e->answer[c] = letter(c);
            e->answer[letters] = '\n';
        } else {
            e->length = 5, e->answer = malloc(5);
            memcpy(e->answer, "words", 5);
        }
        *handle = i + 1;
        return VC_OK;
    }
    return VC_E_AGAIN;
}

static void drop(exchange *e) {
    e->is_live = 0;
    free(e->answer);
    e->answer = NULL;
}

static vc_status http_cancel(vc_handle handle) {
    exchange *e = &exchanges[handle - 1];
    if (handle == 0 || handle > EXCHANGES_MAX) breach("cancels the request %llu", (unsigned long long)handle);
    return e->is_live ? drop(e), VC_OK : VC_E_STALE;
}

static void http_prewarm(vc_handle owner, vc_str url) { (void)owner, (void)url; }

// One step of an exchange: its status, a piece of its body, or its end.
static void answer(exchange *e) {
    const vc_handle handle = (vc_handle)(e - exchanges) + 1;
    const vc_http_events *events = e->events;
    if (!e->was_answered) {
        e->was_answered = 1;
        events->response(e->context, handle, (uint32_t)e->status, NULL, 0);
    } else if (e->sent < e->length && !(e->is_broken && e->sent > e->length / 2)) {
        uint64_t length = 1 + below((uint32_t)(below(4) == 0 ? e->length : e->length / 7 + 2));
        if (length > e->length - e->sent) length = e->length - e->sent;
        char *lent = malloc(length); // Freed at once, so that whoever keeps it is caught.
        memcpy(lent, e->answer + e->sent, length);
        e->sent += length;
        events->data(e->context, handle, (vc_str){ lent, length });
        free(lent);
    } else {
        const vc_error error = { .size = sizeof error, .code = VC_E_NETWORK, .message = VC_STR("the connection broke") };
        const int is_broken = e->is_broken;
        void *context = e->context;
        drop(e); // Stale by the time of `done`.
        events->done(context, handle, is_broken ? &error : NULL);
    }
}

static const vc_http http = { sizeof http, 0, http_start, http_cancel, http_prewarm };

static vc_status config_text(vc_handle object, const char *key, vc_str *value) {
    (void)object;
    if (strcmp(key, "url") != 0) return VC_E_NOT_FOUND;
    *value = (vc_str)VC_STR("http://vendor.example/");
    return VC_OK;
}
static vc_status config_integer(vc_handle object, const char *key, int64_t *value) {
    return (void)object, (void)key, (void)value, VC_E_NOT_FOUND;
}
static vc_status config_number(vc_handle object, const char *key, double *value) {
    return (void)object, (void)key, (void)value, VC_E_NOT_FOUND;
}
static vc_status config_flag(vc_handle object, const char *key, uint32_t *value) {
    return (void)object, (void)key, (void)value, VC_E_NOT_FOUND;
}
static const vc_config config = { sizeof config, 0, config_text, config_integer, config_number, config_flag };

static uint64_t now_ns(void) { return 1; }
static const vc_clock the_clock = { sizeof the_clock, 0, now_ns, now_ns };
// A timer that fires at the next turn: all that PluginKit needs of one.
static struct { vc_timer_fn fire; void *context; } armed[64];
static uint32_t armed_count;
static vc_status timer_arm(vc_handle owner, uint64_t at_ns, vc_timer_fn fire, void *context, vc_handle *timer) {
    (void)owner, (void)at_ns;
    if (armed_count == 64) return VC_E_AGAIN;
    armed[armed_count].fire = fire, armed[armed_count].context = context;
    *timer = ++armed_count;
    return VC_OK;
}
static vc_status timer_disarm(vc_handle timer) { return armed[timer - 1].fire = NULL, VC_OK; }
static const vc_timer timer = { sizeof timer, 0, timer_arm, timer_disarm };
static void fire_timers(void) {
    for (uint32_t i = 0; i < armed_count; i++) {
        const vc_timer_fn fire = armed[i].fire;
        armed[i].fire = NULL;
        if (fire != NULL) fire(armed[i].context, i + 1);
    }
    armed_count = 0;
}

static const void *service(const char *id) {
    if (strcmp(id, VC_SERVICE_HTTP) == 0) return &http;
    if (strcmp(id, VC_SERVICE_CONFIG) == 0) return &config;
    if (strcmp(id, VC_SERVICE_CLOCK) == 0) return &the_clock;
    return strcmp(id, VC_SERVICE_TIMER) == 0 ? &timer : NULL;
}
static const vc_host host = { sizeof host, VC_ABI_MINOR, emit, service };

// The host's calls.

static request *new_request(void) {
    if (request_count == REQUESTS_MAX) return NULL;
    request *r = &requests[request_count++];
    *r = (request){ .number = ++next_number, .epoch = epoch };
    return r;
}

static void ask_tts(void *self) {
    request *r = request_count > 0 ? &requests[request_count - 1] : NULL;
    if (r == NULL || r->is_complete || r->epoch < epoch || r->has_ended) r = new_request();
    if (r == NULL) return;
    const uint32_t length = below(5) == 0 ? 0 : 1 + below(TEXT_MAX);
    char *text = malloc(length + 1); // Freed at once.
    memset(text, below(8) == 0 ? ' ' : 'x', length);
    const int is_last = r->piece_count == PIECES_MAX - 1 || below(2) == 0;
    const int is_blank = length == 0 || text[0] == ' ';
    r->piece_samples[r->piece_count++] = is_blank ? 0 : length * SAMPLES_PER_BYTE;
    r->is_complete = is_last;
    const vc_status status = tts->speak(self, r->number, r->epoch, (vc_str){ text, length }, is_last ? VC_TTS_LAST : 0);
    // Refused is what belongs to a request whose ERROR is out, or on its way.
    if (status != VC_OK && status != VC_E_CANCELED) breach("speak answered %d", status);
    if (status == VC_E_CANCELED) r->is_refused = 1;
    free(text);
}

static uint64_t position;
static void push_stt(void *self) {
    int16_t samples[160];
    for (int i = 0; i < 160; i++) samples[i] = (int16_t)(4000 - i);
    const vc_frame frame = { .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = 8000, .channels = 1, .samples = 160,
        .position = position, .epoch = epoch, .data = samples, .bytes = sizeof samples };
    if (stt->push(self, &frame) != VC_OK) breach("push was refused");
    position += 160;
}

static void ask_stt(void *self) {
    static uint64_t utterance;
    for (uint32_t i = 0, frames = 1 + below(9); i < frames; i++) push_stt(self);
    if (below(3) == 0) stt->begin(self, ++utterance, position - 160 * below(2));
    push_stt(self);
    request *r = new_request();
    if (r == NULL) return;
    r->piece_samples[0] = 1, r->is_complete = 1; // One transcript: there was sound since `begin`.
    const vc_status status = stt->finalize(self, r->number, position, below(2) == 0 ? VC_STT_TENTATIVE : 0);
    if (status == VC_E_AGAIN) request_count--;
    else if (status != VC_OK) breach("finalize answered %d", status);
}

static void ask_llm(void *self) {
    request *r = new_request();
    if (r == NULL) return;
    r->piece_samples[0] = 3 * below(4000), r->is_complete = 1;
    char text[20];
    const int length = snprintf(text, sizeof text, "%u", r->piece_samples[0]);
    const vc_llm_request asked = { .size = sizeof asked, .request = r->number, .epoch = r->epoch,
        .messages = { text, (uint64_t)length }, .tools = VC_STR("[]"), .options = VC_STR("{}") };
    const vc_status status = llm->request(self, &asked);
    if (status == VC_E_AGAIN) request_count--;
    else if (status != VC_OK) breach("request answered %d", status);
}

static void ask(void *self) { tts != NULL ? ask_tts(self) : stt != NULL ? ask_stt(self) : ask_llm(self); }

static void some_answer(void) {
    const uint32_t first = below(EXCHANGES_MAX);
    for (uint32_t i = 0; i < EXCHANGES_MAX; i++) {
        exchange *e = &exchanges[(first + i) % EXCHANGES_MAX];
        if (e->is_live) return answer(e);
    }
}

static void cancel(const vc_session *session) {
    epoch++;
    pending[0] = '\0';
    // The host ends the requests of old epochs before it tells.
    for (uint32_t i = 0; i < EXCHANGES_MAX; i++)
        if (exchanges[i].is_live && exchanges[i].epoch < epoch) drop(&exchanges[i]);
    session->ops->cancel(session->state, epoch);
    if (below(3) == 0) session->ops->cancel(session->state, epoch - below(2));
}

static void settle(const vc_session *session) {
    credits = INT64_MAX;
    // What is not complete is completed, so that it must end.
    request *last = request_count > 0 ? &requests[request_count - 1] : NULL;
    if (tts != NULL && last != NULL && !last->is_complete && last->epoch == epoch && !last->has_ended)
        tts->speak(session->state, last->number, last->epoch, (vc_str){ NULL, 0 }, VC_TTS_LAST);
    for (int i = 0; i < 100000; i++) {
        fire_timers();
        if (i % 50 == 0) session->ops->credit(session->state, 64, 1 << 20);
        int is_live = 0;
        for (uint32_t e = 0; e < EXCHANGES_MAX; e++) is_live |= exchanges[e].is_live;
        if (!is_live && i % 50 == 1) break;
        some_answer();
    }
    for (uint32_t i = 0; i < request_count; i++)
        if (requests[i].epoch == epoch && !requests[i].has_ended)
            breach("request %llu never ended", (unsigned long long)requests[i].number);
}

static void sequence_of_calls(const vc_provider *provider, void *self) {
    vc_session session = { .size = sizeof session };
    vc_error error = { .size = sizeof error };
    state = IS_OPEN, credits = 10, sequence = 0, request_count = 0, position = 0, pending[0] = '\0', armed_count = 0;
    epoch = 1 + below(5);
    const vc_open request = { .size = sizeof request, .rate_hz = 8000, .session = HANDLE, .epoch = epoch, .call = VC_STR("c"),
        .leg = VC_STR("agent"), .config = VC_STR("{}") };
    if (provider->open(self, &request, &session, &error) != VC_OK) breach("open was refused");
    tts = strcmp(kind, "tts") == 0 ? session.kind_ops : NULL;
    stt = strcmp(kind, "stt") == 0 ? session.kind_ops : NULL;
    llm = strcmp(kind, "llm") == 0 ? session.kind_ops : NULL;
    for (uint32_t step = 0, steps = 20 + below(300); step < steps; step++) {
        const uint32_t choice = below(100);
        if (choice < 15) ask(session.state);
        else if (choice < 75) some_answer();
        else if (choice < 95) credits = below(4), session.ops->credit(session.state, 4, 1 << 14);
        else if (choice < 98) fire_timers();
        else cancel(&session);
    }
    if (below(4) != 0) settle(&session);
    session.ops->close(session.state);
    fire_timers();
    if (state != HAS_CLOSED) breach("close was not answered by CLOSED");
    for (uint32_t i = 0; i < EXCHANGES_MAX; i++) if (exchanges[i].is_live) drop(&exchanges[i]);
    session.ops->destroy(session.state);
}

int main(int count, char **words) {
    if (count != 5) return 2;
    kind = words[2];
    void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return fprintf(stderr, "%s\n", dlerror()), 1;
    const vc_plugin_entry_fn entry = (vc_plugin_entry_fn)dlsym(library, VC_PLUGIN_ENTRY);
    const vc_module *module = NULL;
    if (entry(&host, &module) != VC_OK) breach("the entry function refused");
    const vc_provider *provider = module->providers[0];
    const vc_create request = { .size = sizeof request, .provider = HANDLE, .name = VC_STR("x"),
        .config = VC_STR("{\"url\": \"http://vendor.example/\"}") };
    vc_error error = { .size = sizeof error };
    vc_self self = NULL;
    seed = strtoull(words[4], NULL, 10);
    if (provider->create(&request, &self, &error) != VC_OK)
        breach("create was refused: %.*s", (int)error.message.length, error.message.data);
    const uint64_t last = seed + strtoull(words[3], NULL, 10);
    for (; seed < last; seed++) {
        random_state = seed * 0x9E3779B97F4A7C15ull + 1;
        sequence_of_calls(provider, self);
    }
    provider->destroy(self);
    printf("%s: %s sequences kept the contract, %d events were put off\n", words[1], words[3], put_off);
    return 0;
}
