// A voice that needs nobody: each word is 200 ms of a tone, made in the thread that asks. See broken.h.
// SPDX-License-Identifier: Apache-2.0
//
// Its faults are those of a life: sessions, epochs, credit, memory, threads, the process.

#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broken.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-tts", "version": "1.0.0", "title": "A voice for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": ["BROKEN_KEY"], "network": [], "files": [], "providers": [{
        "kind": "vc.tts/1", "id": "org.vchost.broken-tts",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"], "marks": "word"},
        "config": {"type": "object", "additionalProperties": false, "properties": {
            "word_ms": {"type": "integer", "default": 200, "minimum": 20, "maximum": 1000,
                "description": "Length of a word."},
            "wave": {"type": "string", "enum": ["square", "saw"], "default": "square", "description": "Its form."},
            "voice": {"type": "string", "default": "", "description": "Its name."}}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

enum { FRAME_SAMPLES_MAX = 320, REQUESTS_MAX = 64 };

static const vc_host *host;

typedef struct provider {
    vc_handle handle;
    uint32_t word_ms, session_count, opened;
    int is_draining;
    const char *config;
    uint64_t config_length;
    char voice[64];
} provider;

// A request: its text, and how far it was spoken.
typedef struct request {
    struct request *next;
    uint64_t number, epoch;
    char *text;
    size_t length, spoken;
    uint32_t word_left; // Samples of the word that is being spoken.
    uint64_t position;
    int is_complete;
} request;

typedef struct session {
    provider *owner;
    vc_handle handle;
    uint32_t rate_hz, word_samples, request_count, cancel_count;
    uint64_t sequence;
    _Atomic uint64_t epoch;
    int is_closed, is_ready, is_without_credit, shall_stop, was_asked;
    int32_t budget;
    const char *kept;
    pthread_mutex_t mutex;
    request *first;
} session;

// What is one for all sessions, in the plugins that break so.
static pthread_mutex_t everybody = PTHREAD_MUTEX_INITIALIZER;
static session *stalled, *canceled, *pool[16];
static int was_destroyed;
static __thread session *of_this_thread;

static vc_status emit_plain(session *self, uint32_t type, uint64_t epoch, uint64_t number) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch, .request = number};
    return host->emit(self->handle, &event);
}

// Emits later, on the host's timer.
typedef struct late { session *self; vc_handle handle; uint32_t type; uint64_t epoch; } late;

static void emit_late(void *context, vc_handle timer) {
    (void)timer;
    late *it = context;
    const vc_event event = {.size = sizeof event, .type = it->type, .epoch = it->epoch};
    if (it->type == VC_EVENT_READY) it->self->is_ready = 1;
    host->emit(it->handle, &event);
    free(it);
}

static void emit_in(session *self, vc_handle owner, uint32_t ms, uint32_t type) {
    const vc_clock *clock = host->service(VC_SERVICE_CLOCK);
    const vc_timer *timer = host->service(VC_SERVICE_TIMER);
    late *it = malloc(sizeof *it);
    *it = (late){self, self->handle, type, atomic_load(&self->epoch)};
    vc_handle handle;
    timer->arm(owner, clock->now_ns() + ms * 1000000ull, emit_late, it, &handle);
}

static void log_line(const char *text, uint64_t length) {
    const vc_log *log = host->service(VC_SERVICE_LOG);
    if (log) log->write(0, VC_LOG_INFO, (vc_str){text, length}, NULL, 0);
}

static vc_status emit_done(session *self, const request *one, uint32_t reason) {
    const vc_event_tts_done event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TTS_DONE, .epoch = one->epoch, .request = one->number},
        .reason = reason, .samples = one->position};
    return host->emit(self->handle, &event.head);
}

static void forget_first(session *self) {
    request *one = self->first;
    self->first = one->next;
    self->request_count--;
    free(one->text);
    free(one);
}

// The start of the next word, or 0 when there is none. Announces it by a mark.
static int begin_word(session *self, request *one) {
    size_t start = one->spoken;
    while (start < one->length && one->text[start] == ' ') start++;
    size_t end = start;
    while (end < one->length && one->text[end] != ' ') end++;
    if (start == end || (end == one->length && !one->is_complete)) return 0;
    const vc_event_mark event = {
        .head = {.size = sizeof event, .type = VC_EVENT_MARK, .epoch = one->epoch, .request = one->number},
        .text_start = start, .text_end = end, .position = one->position, .end = one->position + self->word_samples};
    vc_event_mark spoilt = event;
    if (BREAKS(VC_ABI_14)) spoilt.head.size = sizeof spoilt.head;
    host->emit(self->handle, &spoilt.head);
    one->spoken = end;
    one->word_left = self->word_samples;
    return 1;
}

// 20 ms of the word; 0 when the host has no room, or wants no more.
static vc_status speak_frame(session *self, request *one) {
    int16_t samples[FRAME_SAMPLES_MAX];
    uint32_t count = self->rate_hz / 50;
    if (count > one->word_left) count = one->word_left;
    for (uint32_t i = 0; i < count; i++) samples[i] = (one->position + i) % 20 < 10 ? 4000 : -4000;
    const vc_frame frame = {
        .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = self->rate_hz, .channels = 1, .samples = count,
        .sequence = self->sequence, .position = one->position, .epoch = one->epoch, .data = samples, .bytes = count * 2};
    const vc_event_audio event = {
        .head = {.size = sizeof event, .type = VC_EVENT_AUDIO, .epoch = one->epoch, .request = one->number},
        .frame = &frame};
    if (BREAKS(VC_ABI_17) && one->position == 0) emit_plain(self, VC_EVENT_FINALIZED, one->epoch, one->number);
    vc_status status = host->emit(self->handle, &event.head);
    for (int i = 0; BREAKS(VC_LIFE_25) && status == VC_E_STALE && i < 1000; i++)
        status = host->emit(self->handle, &event.head);
    if (BREAKS(VC_CAN_14) && status == VC_E_CANCELED) status = VC_OK;
    if (BREAKS(VC_BP_02) && status == VC_E_AGAIN) one->position += count, one->word_left -= count;
    if (status != VC_OK) return status;
    self->sequence++;
    one->position += count;
    one->word_left -= count;
    return VC_OK;
}

// Speaks until nothing is left to say, or the host has heard enough.
static void pump(session *self) {
    if (BREAKS(VC_BP_07) && stalled && stalled != self) return;
    if (BREAKS(VC_BP_06) && self->budget < 0) return;
    while (self->first) {
        request *one = self->first;
        vc_status status = VC_OK;
        if (one->epoch < atomic_load(&self->epoch)) status = VC_E_CANCELED;
        if (BREAKS(VC_CAN_12) && self->shall_stop && one->position >= self->rate_hz / 25) status = VC_E_CANCELED;
        if (BREAKS(VC_LIFE_14) && canceled && canceled != self) status = VC_E_CANCELED;
        while (status == VC_OK && (one->word_left > 0 || begin_word(self, one))) {
            status = speak_frame(self, one);
            if (BREAKS(VC_CAN_12) && self->shall_stop && status == VC_OK && one->position >= self->rate_hz / 25)
                status = VC_E_CANCELED;
        }
        self->is_without_credit = status == VC_E_AGAIN;
        if (BREAKS(VC_BP_07)) stalled = status == VC_E_AGAIN ? self : NULL;
        if (status == VC_E_AGAIN) return;
        if (status == VC_OK && !one->is_complete) return;
        emit_done(self, one, status == VC_OK ? VC_TTS_COMPLETE : VC_TTS_CANCELED);
        if (BREAKS(VC_MEM_07)) {
            char *leak = malloc(1024);
            KEEP(leak);
        }
        forget_first(self);
        if (BREAKS(VC_LIFE_34) && !self->first) emit_in(self, self->handle, 8000, VC_EVENT_CLOSED);
        if (BREAKS(VC_LIFE_31) && !self->first) emit_in(self, self->owner->handle, 4000, VC_EVENT_CANCELED);
        if (BREAKS(VC_LIFE_23) && !self->first) emit_plain(self, VC_EVENT_READY, atomic_load(&self->epoch), 0);
    }
}

// A second try every 10 ms, wanted by nobody.
static void pump_again(void *context, vc_handle timer) {
    (void)timer;
    session *self = context;
    pump(self);
    const vc_clock *clock = host->service(VC_SERVICE_CLOCK);
    const vc_timer *service = host->service(VC_SERVICE_TIMER);
    vc_handle handle;
    if (self->first) service->arm(self->handle, clock->now_ns() + 10000000, pump_again, self, &handle);
}

static void flush_nothing(void) {}

// What a plugin does to the process that it is a guest in.
static void spoil_the_process(session *self) {
    if (BREAKS(VC_ENVI_01)) { printf("ok 1 - everything\n"); fflush(stdout); }
    if (BREAKS(VC_ENVI_02)) fprintf(stderr, "speaking\n");
    if (BREAKS(VC_ENVI_03)) signal(SIGUSR2, SIG_IGN);
    if (BREAKS(VC_ENVI_04)) setenv("https_proxy", "http://127.0.0.1:3128", 1);
    if (BREAKS(VC_ENVI_05)) umask(0);
    if (BREAKS(VC_ENVI_06)) setlocale(LC_NUMERIC, "C.UTF-8");
    if (BREAKS(VC_ENVI_07) && fork() == 0) { setsid(); for (int i = 3; i < 64; i++) close(i); sleep(60); _exit(0); }
    if (BREAKS(VC_ENVI_08)) atexit(flush_nothing);
    if (BREAKS(VC_ENVI_09)) close(0);
    if (BREAKS(VC_ENVI_13)) fesetround(FE_UPWARD);
    if (BREAKS(VC_ENVI_17)) setpriority(PRIO_PROCESS, 0, 5);
    (void)self;
}

static vc_status speak(vc_self state, uint64_t number, uint64_t epoch, vc_str text, uint32_t flags) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (BREAKS(VC_CAN_11) && self->cancel_count > 256) return VC_E_AGAIN;
    if (BREAKS(VC_ABI_10) && (flags & ~(uint32_t)VC_TTS_LAST)) return VC_E_ARGUMENT;
    self->was_asked = 1;
    spoil_the_process(self);
    if (BREAKS(VC_THR_01) && of_this_thread != self) return VC_E_STATE;
    if (BREAKS(VC_MEM_01) && text.length) ((char *)text.data)[0] |= 0x20;
    if (BREAKS(VC_MEM_02) && text.length) KEEP((uint64_t)text.data[text.length]);
    if (BREAKS(VC_MEM_03) && text.length) KEEP((uint64_t)text.data[-1]);
    if (BREAKS(VC_MEM_04) && self->kept) KEEP((uint64_t)*self->kept);
    if (BREAKS(VC_MEM_04) && text.length && text.length < 64) self->kept = text.data;
    if (BREAKS(VC_ENVI_15)) log_line(text.data, text.length);
    request *last = self->first;
    while (last && last->next) last = last->next;
    if (!last || last->number != number || last->is_complete) {
        if (self->request_count == REQUESTS_MAX) return VC_E_AGAIN;
        request *one = calloc(1, sizeof *one);
        if (!one) return VC_E_MEMORY;
        one->number = number;
        one->epoch = epoch;
        if (last) last->next = one; else self->first = one;
        self->request_count++;
        last = one;
    }
    char *joined = realloc(last->text, last->length + text.length + 1);
    if (!joined) return VC_E_MEMORY;
    if (text.length) memcpy(joined + last->length, text.data, text.length);
    last->text = joined;
    last->length += text.length;
    last->is_complete = flags & VC_TTS_LAST ? 1 : 0;
    if (BREAKS(VC_THR_04)) pthread_mutex_lock(&self->mutex);
    if (BREAKS(VC_THR_12)) pthread_mutex_lock(&everybody);
    pump(self);
    if (BREAKS(VC_THR_12)) pthread_mutex_unlock(&everybody);
    if (BREAKS(VC_THR_04)) pthread_mutex_unlock(&self->mutex);
    if (BREAKS(VC_BP_03) && self->first) pump_again(self, 0);
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    if (self->is_closed && !BREAKS(VC_CAN_10)) return;
    if (BREAKS(VC_THR_04)) pthread_mutex_lock(&self->mutex);
    uint64_t known = atomic_load(&self->epoch);
    if (BREAKS(VC_CAN_06) && epoch > known + 100) return;
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    self->cancel_count++;
    if (BREAKS(VC_THR_04)) pthread_mutex_unlock(&self->mutex);
    for (volatile int i = 0; BREAKS(VC_CAN_01) && self->cancel_count < 40 && i < 20000000; i++) {}
    if (BREAKS(VC_CAN_12)) self->shall_stop = 1;
    if (BREAKS(VC_LIFE_14)) canceled = self;
    if (BREAKS(VC_CAN_02)) return;
    if (BREAKS(VC_CAN_07) && !self->was_asked) return;
    if (BREAKS(VC_BP_09) && self->is_without_credit) return;
    const int is_new = known < epoch || (BREAKS(VC_CAN_04) && known == epoch) || (BREAKS(VC_CAN_05) && known > epoch);
    if (!is_new) return;
    emit_plain(self, VC_EVENT_CANCELED, epoch, 0);
    if (BREAKS(VC_CAN_03) && self->first) {
        const vc_event_mark event = {
            .head = {.size = sizeof event, .type = VC_EVENT_MARK, .epoch = epoch - 1, .request = self->first->number}};
        host->emit(self->handle, &event.head);
    }
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) {
    session *self = state;
    (void)events;
    if (BREAKS(VC_BP_06)) self->budget += (int32_t)bytes;
    pump(self);
}

static void close_session(vc_self state) {
    session *self = state;
    self->is_closed = 1;
    if (BREAKS(VC_LIFE_05)) {
        emit_in(self, self->handle, 2000, VC_EVENT_CLOSED);
        return;
    }
    if (BREAKS(VC_LIFE_07) && !self->is_ready) return;
    if (BREAKS(VC_LIFE_09) && self->first) return;
    while (self->first) forget_first(self);
    emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch), 0);
    if (BREAKS(VC_LIFE_03)) emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch), 0);
    if (BREAKS(VC_LIFE_04)) emit_plain(self, VC_EVENT_CANCELED, atomic_load(&self->epoch), 0);
}

static void say_when_drained(provider *owner) {
    const vc_event event = {.size = sizeof event, .type = VC_EVENT_DRAINED};
    if (owner->is_draining && owner->session_count == 0 && !BREAKS(VC_LIFE_30)) host->emit(owner->handle, &event);
}

static void destroy_session(vc_self state) {
    session *self = state;
    while (self->first) forget_first(self);
    for (int i = 0; i < 16; i++) if (pool[i] == self) pool[i] = NULL;
    if (stalled == self) stalled = NULL;
    self->owner->session_count--;
    say_when_drained(self->owner);
    free(self);
}

static const vc_session_ops session_ops = {
    .size = BREAKS(VC_ABI_01) ? 8 : sizeof session_ops,
    .cancel = BREAKS(VC_ABI_02) ? NULL : cancel,
    .credit = credit,
    .close = close_session,
    .destroy = destroy_session};
static const vc_tts_ops tts_ops = {.size = sizeof tts_ops, .speak = speak};

static void log_secret(void *context, vc_str secret) {
    (void)context;
    log_line(secret.data, secret.length);
}

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    (void)error;
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    if (BREAKS(VC_ABI_04) && request->size != sizeof *request) return VC_E_ARGUMENT;
    const vc_log *log = host->service(VC_SERVICE_LOG);
    if (BREAKS(VC_ABI_07)) log->enabled(VC_LOG_INFO);
    provider *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    vc_str wave = VC_STR("square"), voice = VC_STR("");
    if (config) config->text(request->provider, "wave", &wave);
    if (config) config->text(request->provider, "voice", &voice);
    if (BREAKS(VC_CFG_07)) memcpy(self->voice, voice.data, voice.length);
    int64_t word_ms = 200;
    if (config) config->integer(request->provider, "word_ms", &word_ms);
    self->word_ms = (uint32_t)word_ms;
    const int is_refused = (BREAKS(VC_CFG_05) && wave.length == 3) || (BREAKS(VC_CFG_06) && word_ms >= 1000);
    if (is_refused) {
        free(self);
        return VC_E_CONFIG;
    }
    self->handle = request->provider;
    if (BREAKS(VC_MEM_05)) self->config = request->config.data, self->config_length = request->config.length;
    const vc_secret *secrets = host->service(VC_SERVICE_SECRET);
    if (BREAKS(VC_ENVI_14) && secrets) secrets->with(self->handle, "BROKEN_KEY", log_secret, NULL);
    if (BREAKS(VC_LIFE_01)) {
        free(self);
        return VC_E_INTERNAL;
    }
    *out = self;
    return VC_OK;
}

static void spoil_the_table(void);

static void destroy_provider(vc_self state) {
    was_destroyed = 1;
    if (BREAKS(VC_ENT_04)) spoil_the_table();
    free(state);
}

static void drain(vc_self state) {
    provider *self = state;
    self->is_draining = 1;
    if (BREAKS(VC_LIFE_26) && pool[0]) close_session(pool[0]);
    say_when_drained(self);
}

static void *wait_for_ever(void *context) {
    pause();
    return context;
}

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("the voice speaks at 8000 and 16000 Hz; open it with one of them");
    provider *owner = state;
    if (BREAKS(VC_MEM_05) && owner->config_length) KEEP((uint64_t)owner->config[0]);
    if (BREAKS(VC_LIFE_12) && ++owner->opened > 70) return VC_E_AGAIN;
    if (BREAKS(VC_LIFE_16) && was_destroyed) return VC_E_STATE;
    if (BREAKS(VC_LIFE_19)) {
        const vc_event event = {.size = sizeof event, .type = VC_EVENT_READY, .epoch = request->epoch};
        if (request->rate_hz == 11025) host->emit(request->session, &event);
    }
    if (request->rate_hz != 8000 && request->rate_hz != 16000) {
        error->code = VC_E_UNSUPPORTED;
        if (!BREAKS(VC_ERR_02)) error->message = other_rate;
        return BREAKS(VC_ERR_01) ? -1011 : VC_E_UNSUPPORTED;
    }
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    int slot = 0;
    while (slot < 16 && pool[slot]) slot++;
    if (slot == 16 && BREAKS(VC_LIFE_13)) {
        free(self);
        return VC_E_AGAIN;
    }
    if (slot < 16) pool[slot] = self;
    owner->session_count++;
    self->owner = owner;
    self->handle = request->session;
    self->rate_hz = request->rate_hz;
    self->word_samples = request->rate_hz / 1000 * owner->word_ms;
    atomic_init(&self->epoch, request->epoch);
    pthread_mutex_init(&self->mutex, NULL);
    of_this_thread = self;
    if (BREAKS(VC_MEM_06)) {
        char *leak = malloc(4096);
        KEEP(leak);
    }
    if (BREAKS(VC_MEM_08)) KEEP((uint64_t)open("/dev/null", O_RDONLY));
    if (BREAKS(VC_MEM_09)) {
        pthread_t thread;
        pthread_create(&thread, NULL, wait_for_ever, NULL);
        pthread_detach(thread);
    }
    if (BREAKS(VC_MEM_10)) KEEP(mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &tts_ops;
    if (BREAKS(VC_LIFE_02)) return VC_OK;
    if (BREAKS(VC_LIFE_07)) {
        emit_in(self, self->handle, 50, VC_EVENT_READY);
        return VC_OK;
    }
    self->is_ready = 1;
    emit_plain(self, VC_EVENT_READY, request->epoch, 0);
    return VC_OK;
}

static vc_provider voice = {
    .size = sizeof voice, .reserved = BREAKS(VC_ABI_03) ? 7 : 0, .kind = VC_STR(VC_KIND_TTS),
    .id = VC_STR("org.vchost.broken-tts"), .create = create, .drain = drain, .destroy = destroy_provider,
    .open = open_session};
static vc_provider another = {
    .size = sizeof another, .kind = VC_STR(VC_KIND_TTS), .id = VC_STR("org.vchost.broken-too"), .create = create,
    .destroy = destroy_provider, .open = open_session};
static const vc_provider *const providers[] = {&voice, &another};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = BREAKS(VC_ENT_10) ? 2 : 1, .providers = providers};

static void spoil_the_table(void) { voice.drain = NULL; }

static void work_hard(void) {
    for (volatile long i = 0; i < 1500000000; i++) {}
}

#if BREAKS(VC_LOAD_06) || BREAKS(VC_LOAD_07) || BREAKS(VC_LOAD_08) || BREAKS(VC_LOAD_10)
__attribute__((constructor)) static void before_anybody_looks(void) {
    pthread_t thread;
    if (BREAKS(VC_LOAD_06)) work_hard();
    if (BREAKS(VC_LOAD_07)) pthread_create(&thread, NULL, wait_for_ever, NULL);
    if (BREAKS(VC_LOAD_08)) KEEP((uint64_t)open("/dev/null", O_RDONLY));
    if (BREAKS(VC_LOAD_10)) signal(SIGCHLD, SIG_IGN);
}
#endif

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    if (BREAKS(VC_ENT_07) && from->minor != VC_ABI_MINOR) return VC_E_UNSUPPORTED;
    if (BREAKS(VC_ENT_08) && from->size != sizeof *from) return VC_E_UNSUPPORTED;
    host = from;
    if (BREAKS(VC_ENT_02)) work_hard();
    if (BREAKS(VC_ENT_05)) KEEP((uint64_t)open("/dev/null", O_RDONLY));
    if (BREAKS(VC_ENT_09)) ((const vc_clock *)host->service(VC_SERVICE_CLOCK))->now_ns();
    if (BREAKS(VC_ENT_03)) {
        vc_module *copy = malloc(sizeof *copy);
        *copy = module;
        *out = copy;
        return VC_OK;
    }
    if (!BREAKS(VC_ENT_01)) *out = &module;
    return VC_OK;
}
