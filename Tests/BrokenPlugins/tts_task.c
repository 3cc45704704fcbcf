// A voice that makes its audio in tasks of the host, as one that computes does: each word is 200 ms of a tone.
// SPDX-License-Identifier: Apache-2.0
//
// `wakes` counts what happened since the worker last looked; who raises it from 0 starts the task, and the task goes on
// until it brought it back to 0. So there is one worker at a time, and `cancel` needs two atomics. See broken.h.

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-tts-task", "version": "1.0.0", "title": "A voice in tasks for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": [], "files": [], "providers": [{
        "kind": "vc.tts/1", "id": "org.vchost.broken-tts-task",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"], "marks": "word"},
        "config": {"type": "object", "additionalProperties": false, "properties": {}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

enum {
    REQUESTS_MAX = 64,
    WORD_MS = BREAKS(VC_TTS_39) ? 1500 : 200,
    FRAME_MS = BREAKS(VC_TTS_39) ? 1500 : 50,
    FRAME_SAMPLES_MAX = 16 * FRAME_MS,
    PERIOD = 40, // Samples of the tone's period: 200 Hz at 8 kHz.
    LEVEL = BREAKS(VC_TTS_24) ? 60 : 8000,
};

static const vc_host *host;
static const vc_task *tasks;
static int the_provider;

typedef struct request {
    struct request *next;
    uint64_t number, epoch;
    // Under the lock.
    char *text;
    size_t length, piece_start;
    int is_complete, has_pieces;
    // The worker's.
    size_t spoken, word_start;
    uint32_t word_left;
    int is_begun, is_marked;
    uint64_t position, frames;
} request;

typedef struct session {
    vc_handle handle;
    uint32_t rate_hz, word_samples;
    _Atomic uint64_t epoch;
    _Atomic uint32_t wakes;
    _Atomic int is_closing;
    pthread_mutex_t lock;
    request *first;
    uint32_t request_count;
    // The worker's.
    uint64_t announced, sequence, total;
    int is_closed;
} session;

static vc_status emit_plain(session *self, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    return host->emit(self->handle, &event);
}

static vc_status emit_done(session *self, const request *one, uint32_t reason) {
    const vc_event_tts_done event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TTS_DONE, .epoch = one->epoch, .request = one->number},
        .reason = reason, .samples = BREAKS(VC_TTS_12) ? one->position * 2 : one->position};
    return host->emit(self->handle, &event.head);
}

static vc_status emit_mark(session *self, const request *one, size_t start, size_t end, uint64_t position) {
    vc_event_mark event = {
        .head = {.size = sizeof event, .type = VC_EVENT_MARK, .epoch = one->epoch, .request = one->number},
        .text_start = start, .text_end = end, .position = position, .end = position + self->word_samples};
    if (BREAKS(VC_TTS_43)) event.text_end++;
    if (BREAKS(VC_TTS_45) && start >= one->piece_start)
        event.text_start -= one->piece_start, event.text_end -= one->piece_start;
    if (BREAKS(VC_TTS_46)) event.end += self->word_samples;
    if (BREAKS(VC_TTS_44)) {
        // Characters, where bytes are meant.
        for (size_t i = 0; i < end; i++)
            if ((one->text[i] & 0xc0) == 0x80) event.text_start -= i < start, event.text_end--;
    }
    return host->emit(self->handle, &event.head);
}

// MARK: The worker

static void forget(session *self, request *one) {
    pthread_mutex_lock(&self->lock);
    request **link = &self->first;
    while (*link != one) link = &(*link)->next;
    *link = one->next;
    self->request_count--;
    pthread_mutex_unlock(&self->lock);
    free(one->text);
    free(one);
}

// The request whose turn it is.
static request *current(session *self) {
    pthread_mutex_lock(&self->lock);
    request *one = self->first;
    if (BREAKS(VC_TTS_04)) while (one && one->next) one = one->next;
    if (BREAKS(VC_TTS_36) && one)
        for (uint64_t skip = self->sequence % self->request_count; skip; skip--) one = one->next;
    pthread_mutex_unlock(&self->lock);
    return one;
}

// The bounds of the next word; 0 when there is none yet. A word at the end of the text may go on in the next piece.
static int find_word(session *self, const request *one, size_t *start, size_t *end, int *is_complete) {
    pthread_mutex_lock(&self->lock);
    *is_complete = one->is_complete;
    *start = one->spoken;
    while (*start < one->length && (unsigned char)one->text[*start] <= ' ') ++*start;
    *end = *start;
    while (*end < one->length && (unsigned char)one->text[*end] > ' ') ++*end;
    const int found = *start < *end && (*end < one->length || one->is_complete);
    pthread_mutex_unlock(&self->lock);
    return found;
}

static vc_status emit_frame(session *self, request *one) {
    int16_t samples[FRAME_SAMPLES_MAX * 2];
    uint32_t count = self->rate_hz / 1000 * FRAME_MS;
    if (count > one->word_left) count = one->word_left;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t phase = (int32_t)((one->position + i) % PERIOD);
        // A triangle; the loud one has peaks that are cut off at full scale.
        int32_t level = LEVEL * (phase < PERIOD / 2 ? phase : PERIOD - phase) / (PERIOD / 2) - LEVEL / 2;
        if (BREAKS(VC_TTS_22) && phase == PERIOD / 2) level = 32767;
        if (BREAKS(VC_TTS_23) && one->position + i < self->rate_hz) level = 0;
        samples[i] = (int16_t)level;
    }
    size_t start, end;
    int is_complete;
    const int is_last = count == one->word_left && !find_word(self, one, &start, &end, &is_complete) && is_complete;
    vc_frame frame = {
        .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = self->rate_hz, .channels = 1, .samples = count,
        .flags = is_last || BREAKS(VC_TTS_54) ? VC_FRAME_LAST : 0, .sequence = self->sequence,
        .position = one->position, .epoch = one->epoch, .data = samples, .bytes = (uint64_t)count * 2};
    if (BREAKS(VC_TTS_11)) frame.bytes = count;
    if (BREAKS(VC_TTS_37)) frame.rate_hz = 22050;
    if (BREAKS(VC_TTS_38)) frame.position = self->total;
    if (BREAKS(VC_TTS_40)) frame.sequence = one->frames;
    if (BREAKS(VC_TTS_41)) {
        for (uint32_t i = count; i-- > 0;) samples[2 * i] = samples[2 * i + 1] = samples[i];
        frame.channels = 2, frame.bytes *= 2;
    }
    if (BREAKS(VC_TTS_42) && one->frames % 2) {
        memset(samples, 0, sizeof samples);
        frame.format = VC_FORMAT_F32, frame.bytes *= 2;
    }
    const vc_event_audio event = {
        .head = {.size = sizeof event, .type = VC_EVENT_AUDIO, .epoch = one->epoch, .request = one->number},
        .frame = &frame};
    const vc_status status = host->emit(self->handle, &event.head);
    if (status != VC_OK) return status;
    self->sequence++;
    self->total += count;
    one->frames++;
    one->position += count;
    one->word_left -= count;
    return VC_OK;
}

// One step of the request: a mark, a frame, or its end. VC_E_NOT_FOUND: there is nothing to say yet.
static vc_status step(session *self, request *one) {
    one->is_begun = 1;
    if (one->word_left) return emit_frame(self, one);
    size_t start, end;
    int is_complete;
    if (find_word(self, one, &start, &end, &is_complete)) {
        const int is_marked = !BREAKS(VC_TTS_47) || !one->position;
        const vc_status status = is_marked ? emit_mark(self, one, start, end, one->position) : VC_OK;
        if (status != VC_OK) return status;
        if (BREAKS(VC_TTS_13) && start) emit_mark(self, one, 0, one->spoken, 0); // The phrase so far.
        one->word_start = start;
        one->spoken = end;
        one->word_left = self->word_samples;
        return VC_OK;
    }
    if (!is_complete) return VC_E_NOT_FOUND;
    const vc_status status = emit_done(self, one, BREAKS(VC_TTS_01) ? 0 : VC_TTS_COMPLETE);
    if (status == VC_E_AGAIN) return status;
    if (BREAKS(VC_TTS_02)) emit_done(self, one, VC_TTS_COMPLETE);
    if (BREAKS(VC_TTS_35) && one->position)
        emit_mark(self, one, one->word_start, one->spoken, one->position - self->word_samples);
    forget(self, one);
    return VC_OK;
}

static void end_canceled(session *self, request *one) {
    const int is_told = !(one->is_begun ? BREAKS(VC_TTS_17) : BREAKS(VC_TTS_49));
    if (is_told) emit_done(self, one, BREAKS(VC_TTS_50) ? VC_TTS_COMPLETE : VC_TTS_CANCELED);
    forget(self, one);
}

static request *first_before(session *self, uint64_t epoch) {
    pthread_mutex_lock(&self->lock);
    request *one = self->first;
    while (one && one->epoch >= epoch) one = one->next;
    pthread_mutex_unlock(&self->lock);
    return one;
}

static void work_off(session *self) {
    for (;;) {
        if (self->is_closed) return;
        if (atomic_load(&self->is_closing)) {
            self->is_closed = 1;
            emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch));
            return;
        }
        const uint64_t epoch = atomic_load(&self->epoch);
        if (epoch > self->announced) {
            for (request *old; (old = first_before(self, epoch));) end_canceled(self, old);
            self->announced = epoch;
            emit_plain(self, VC_EVENT_CANCELED, epoch);
        }
        request *one = current(self);
        if (!one) return;
        const vc_status status = step(self, one);
        if (status == VC_E_AGAIN || status == VC_E_NOT_FOUND || status == VC_E_STALE || status == VC_E_CLOSED) return;
        if (status != VC_OK) end_canceled(self, one);
    }
}

static void work(void *context) {
    session *self = context;
    uint32_t seen = atomic_load(&self->wakes);
    do work_off(self);
    while (!atomic_compare_exchange_strong(&self->wakes, &seen, 0));
}

// 0: the host has no room for a task, and nobody else woke the worker meanwhile.
static int wake(session *self) {
    if (atomic_fetch_add(&self->wakes, 1) > 0) return 1;
    while (tasks->run(self->handle, work, self) != VC_OK) {
        uint32_t mine = 1;
        if (atomic_compare_exchange_strong(&self->wakes, &mine, 0)) return 0;
        atomic_store(&self->wakes, 1);
    }
    return 1;
}

// MARK: Slots

static vc_status take(session *self, uint64_t number, uint64_t epoch, vc_str text, uint32_t flags) {
    request **link = &self->first;
    while (*link && ((*link)->number != number || (*link)->is_complete)) link = &(*link)->next;
    request *one = *link;
    if (BREAKS(VC_TTS_06) && one && !text.length) return VC_OK;
    if (BREAKS(VC_TTS_07) && !one && !text.length) return VC_OK;
    if (!one) {
        if (self->request_count == REQUESTS_MAX) return VC_E_AGAIN;
        one = calloc(1, sizeof *one);
        if (!one) return VC_E_MEMORY;
        one->number = number;
        one->epoch = epoch;
        *link = one;
        self->request_count++;
    }
    if (text.length && !(BREAKS(VC_TTS_05) && one->has_pieces)) {
        char *joined = realloc(one->text, one->length + text.length);
        if (!joined) return VC_E_MEMORY;
        memcpy(joined + one->length, text.data, text.length);
        one->text = joined;
        one->piece_start = one->length;
        one->length += text.length;
    }
    one->has_pieces = 1;
    one->is_complete = flags & VC_TTS_LAST || BREAKS(VC_TTS_52) ? 1 : 0;
    return VC_OK;
}

static vc_status speak(vc_self state, uint64_t number, uint64_t epoch, vc_str text, uint32_t flags) {
    session *self = state;
    if (atomic_load(&self->is_closing)) return VC_E_CLOSED;
    if (epoch < atomic_load(&self->epoch)) return VC_E_CANCELED;
    if (BREAKS(VC_TTS_08) && text.length && memchr(text.data, 0xf0, text.length)) return VC_OK;
    if (BREAKS(VC_TTS_09) && text.length > 65535) return VC_OK;
    pthread_mutex_lock(&self->lock);
    const vc_status status = take(self, number, epoch, text, flags);
    pthread_mutex_unlock(&self->lock);
    if (status != VC_OK) return status;
    // What was taken is spoken at the next wake-up, if there is no room for a task now.
    wake(self);
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    if (atomic_load(&self->is_closing)) return;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known < epoch && !wake(self)) emit_plain(self, VC_EVENT_CANCELED, epoch);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) {
    (void)events, (void)bytes;
    wake(state);
}

static void close_session(vc_self state) {
    session *self = state;
    atomic_store(&self->is_closing, 1);
    if (!wake(self)) emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch));
}

static void destroy_session(vc_self state) {
    session *self = state;
    while (self->first) forget(self, self->first);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_tts_ops tts_ops = {.size = sizeof tts_ops, .speak = speak};

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    static const vc_str no_tasks = VC_STR("the voice computes in tasks and needs the host's vc.task/1");
    (void)request;
    tasks = host->service(VC_SERVICE_TASK);
    if (!tasks) {
        error->code = VC_E_UNSUPPORTED;
        error->message = no_tasks;
        return VC_E_UNSUPPORTED;
    }
    *out = &the_provider;
    return VC_OK;
}

static void destroy_provider(vc_self state) { (void)state; }

static vc_status open_session(vc_self state, const vc_open *asked, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("the voice speaks at 8000 and 16000 Hz; open it with one of them");
    (void)state;
    if ((asked->rate_hz != 8000 && asked->rate_hz != 16000) || (BREAKS(VC_TTS_25) && asked->rate_hz == 16000)) {
        error->code = BREAKS(VC_TTS_55) ? VC_E_INTERNAL : VC_E_UNSUPPORTED;
        error->message = other_rate;
        return error->code;
    }
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = asked->session;
    self->rate_hz = asked->rate_hz;
    self->word_samples = asked->rate_hz / 1000 * WORD_MS;
    self->announced = asked->epoch;
    atomic_init(&self->epoch, asked->epoch);
    pthread_mutex_init(&self->lock, NULL);
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &tts_ops;
    emit_plain(self, VC_EVENT_READY, asked->epoch);
    if (BREAKS(VC_TTS_03)) {
        // A click that is to open the line, of no request.
        request nobody = {.epoch = asked->epoch, .word_left = 80};
        emit_frame(self, &nobody);
    }
    return VC_OK;
}

static const vc_provider voice = {
    .size = sizeof voice, .kind = VC_STR(VC_KIND_TTS), .id = VC_STR("org.vchost.broken-tts-task"), .create = create,
    .destroy = destroy_provider, .open = open_session};
static const vc_provider *const providers[] = {&voice};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}
