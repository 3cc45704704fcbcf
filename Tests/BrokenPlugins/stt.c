// A recogniser that needs nobody: it counts. Each 200 ms of voice are the next number, in Turkish, so that its texts
// have letters which a careless plugin spoils. See broken.h.
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broken.h"

#if BREAKS(VC_STT_43)
#define PARTIALS "false"
#else
#define PARTIALS "true"
#endif
#if BREAKS(VC_STT_47)
#define TURNS "false"
#else
#define TURNS "true"
#endif

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-stt", "version": "1.0.0", "title": "A recogniser for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": [], "files": [], "providers": [{
        "kind": "vc.stt/1", "id": "org.vchost.broken-stt",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"], "words": true, "tentative": true,
            "languages": ["tr"], "partials":) PARTIALS JSON(, "turns":) TURNS JSON(},
        "config": {"type": "object", "additionalProperties": false, "properties": {}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

enum {
    BLOCK_MS = 10,        // What is voiced or not: the same whatever the length of the frames.
    VOICED_LEVEL = 100,   // Mean magnitude of a voiced block: -50 dBFS.
    WORD_BLOCKS = 20,     // Voiced blocks in a word,
    WORD_BLOCKS_MIN = 5,  // and in the last one, which may be cut short.
    WORDS_MAX = 512,      // Of an utterance: nearly two minutes of voice. What follows is not written down.
    EAGER_BLOCKS = 20,    // Silence after which the caller is probably done,
    END_BLOCKS = 40,      // and after which he is.
};

static const vc_host *host;
static int the_provider;
static _Atomic uint64_t latest_utterance; // Of all sessions; only a broken one looks at it.

static const char *const numbers[10] = {"bir", "iki", "üç", "dört", "beş", "altı", "yedi", "sekiz", "dokuz", "on"};
static const char *const decomposed[10] = {"bir",       "iki",   "u\u0308c\u0327", "do\u0308rt", "bes\u0327",
                                           "altı", "yedi", "sekiz",          "dokuz",      "on"};

typedef struct span { uint64_t start, end; } span;
typedef enum turn { QUIET, SPEAKING, EAGER } turn;

typedef struct session {
    vc_handle handle;
    uint32_t rate_hz, block_samples;
    _Atomic uint64_t epoch;
    int is_closed;
    uint64_t utterance, finalized; // The number of the open one, and of the one before.
    uint64_t heard;                // The position up to which audio came.
    uint64_t total;
    int has_new_audio;
    uint32_t block_filled;
    uint64_t block_sum;
    // The open utterance: whole words, and the one that is being said.
    uint32_t word_count, open_blocks;
    span words[WORDS_MAX], open;
    turn turn;
    uint32_t silent_blocks;
} session;

static void emit_plain(session *self, uint32_t type, uint64_t epoch, uint64_t number) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch, .request = number};
    host->emit(self->handle, &event);
}

static uint32_t count_words(const session *self) {
    return self->word_count + (self->open_blocks >= WORD_BLOCKS_MIN && self->word_count < WORDS_MAX ? 1 : 0);
}

static span word_at(const session *self, uint32_t index) {
    return index < self->word_count ? self->words[index] : self->open;
}

static size_t write_text(char *text, uint32_t count) {
    size_t length = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *word = BREAKS(VC_STT_24) ? decomposed[i % 10] : numbers[i % 10];
        if (i) text[length++] = ' ';
        memcpy(text + length, word, strlen(word));
        length += strlen(word);
    }
    return length;
}

// What was understood so far. `request` is 0 in a partial one.
static void emit_transcript(session *self, uint64_t request, uint32_t is_final, uint32_t count) {
    char text[WORDS_MAX * 10];
    static const vc_str language = VC_STR("tr");
    vc_word words[WORDS_MAX];
    const uint64_t start = word_at(self, 0).start;
    const uint64_t scale = BREAKS(VC_STT_13) ? self->rate_hz / 8000 : 1;
    for (uint32_t i = 0; i < count; i++) {
        const span said = word_at(self, BREAKS(VC_STT_37) ? count - 1 - i : i);
        const uint64_t origin = BREAKS(VC_STT_12) ? start : 0;
        words[i] = (vc_word){
            .text = {numbers[i % 10], strlen(numbers[i % 10])}, .start = (said.start - origin) / scale,
            .end = (said.end - origin) / scale, .confidence = 0.9f};
    }
    vc_event_transcript event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TRANSCRIPT, .epoch = atomic_load(&self->epoch),
            .request = request},
        .utterance = self->utterance, .start = start / scale, .end = self->heard / scale,
        .text = {text, write_text(text, count)}, .language = language, .final = is_final, .confidence = 0.9f,
        .stability = is_final ? -1 : 0.5f, .word_count = count, .words = words};
    if (BREAKS(VC_STT_03) && !is_final) event.utterance = 0;
    if (BREAKS(VC_STT_11)) event.start = self->heard / scale, event.end = start / scale;
    if (BREAKS(VC_STT_26)) event.confidence = 90;
    if (BREAKS(VC_STT_27) && !is_final) event.stability = 50;
    if (BREAKS(VC_STT_32) && !is_final && self->finalized) event.utterance = self->finalized;
    if (BREAKS(VC_STT_36)) event.end += self->rate_hz;
    if (BREAKS(VC_STT_38)) event.word_count = 0, event.words = NULL;
    if (BREAKS(VC_STT_40)) event.utterance = atomic_load(&latest_utterance);
    host->emit(self->handle, &event.head);
}

static void emit_turn(session *self, uint32_t turn) {
    char text[WORDS_MAX * 10 + 1];
    size_t length = turn == VC_STT_TURN_EAGER || turn == VC_STT_TURN_END ? write_text(text, count_words(self)) : 0;
    if (BREAKS(VC_STT_45) && turn == VC_STT_TURN_END) text[length++] = '.';
    const vc_event_stt_turn event = {
        .head = {.size = sizeof event, .type = VC_EVENT_STT_TURN, .epoch = atomic_load(&self->epoch)},
        .utterance = self->utterance, .position = self->heard, .text = {text, length}, .turn = turn, .confidence = 0.9f};
    host->emit(self->handle, &event.head);
}

static void follow_turn(session *self, int is_voiced) {
    self->silent_blocks = is_voiced ? 0 : self->silent_blocks + 1;
    if (is_voiced && self->turn != SPEAKING) {
        const int is_resumed = self->turn == EAGER || BREAKS(VC_STT_46);
        emit_turn(self, is_resumed ? VC_STT_TURN_RESUMED : VC_STT_TURN_START);
        self->turn = SPEAKING;
    } else if (self->turn == SPEAKING && self->silent_blocks == EAGER_BLOCKS) {
        emit_turn(self, VC_STT_TURN_EAGER);
        self->turn = EAGER;
    } else if (self->turn == EAGER && self->silent_blocks == END_BLOCKS) {
        emit_turn(self, VC_STT_TURN_END);
        self->turn = QUIET;
    }
}

// A block is complete; it ends at `heard`.
static void take_block(session *self) {
    const int is_voiced = self->block_sum > (uint64_t)VOICED_LEVEL * self->block_samples;
    if (BREAKS(VC_STT_19) && self->block_sum == (uint64_t)32768 * self->block_samples) __builtin_trap();
    self->block_filled = 0;
    self->block_sum = 0;
    if (is_voiced) {
        if (!self->open_blocks++) self->open.start = self->heard - self->block_samples;
        self->open.end = self->heard;
        if (self->open_blocks == WORD_BLOCKS) {
            if (self->word_count < WORDS_MAX) self->words[self->word_count++] = self->open;
            self->open_blocks = 0;
            emit_transcript(self, 0, 0, self->word_count);
        }
    }
    follow_turn(self, is_voiced);
}

// Words that begin before `position` are no longer of the open utterance.
static void forget_before(session *self, uint64_t position) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->word_count; i++)
        if (self->words[i].start >= position) self->words[kept++] = self->words[i];
    self->word_count = kept;
    if (self->open_blocks && self->open.start < position) self->open_blocks = 0;
}

static vc_status begin(vc_self state, uint64_t utterance, uint64_t position) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (!BREAKS(VC_STT_34)) self->utterance = utterance;
    atomic_store(&latest_utterance, utterance);
    forget_before(self, position);
    if (BREAKS(VC_STT_31)) {
        self->open = (span){position, position};
        emit_transcript(self, 0, 0, 1);
    }
    return VC_OK;
}

static vc_status push(vc_self state, const vc_frame *frame) {
    session *self = state;
    if (self->is_closed) return BREAKS(VC_STT_39) ? VC_OK : VC_E_CLOSED;
    if (frame->format != VC_FORMAT_S16 || frame->channels != 1 || frame->rate_hz != self->rate_hz) return VC_E_ARGUMENT;
    if (BREAKS(VC_STT_17) && frame->samples != self->rate_hz / 50) return VC_E_ARGUMENT;
    if (BREAKS(VC_STT_33) && self->total > 60 * self->rate_hz) return VC_E_MEMORY;
    if (BREAKS(VC_STT_07) && self->finalized) return VC_OK;
    if (frame->position != self->heard && !BREAKS(VC_STT_20)) {
        self->heard = frame->position;
        self->block_filled = 0;
        self->block_sum = 0;
    }
    const int16_t *samples = frame->data;
    for (uint32_t i = 0; i < frame->samples; i++) {
        self->heard++;
        self->block_sum += samples[i] < 0 ? -(int32_t)samples[i] : samples[i];
        if (++self->block_filled == self->block_samples) take_block(self);
    }
    self->total += frame->samples;
    self->has_new_audio = 1;
    return VC_OK;
}

static void emit_finals(session *self, uint64_t request, uint32_t count) {
    if (BREAKS(VC_STT_01) && !count && self->total) {
        self->open = (span){self->heard, self->heard};
        count = 1;
    }
    if (BREAKS(VC_STT_02)) count = 0;
    if (!count) return;
    emit_transcript(self, request, 1, count);
    if (BREAKS(VC_STT_10)) emit_transcript(self, request, 1, count);
}

static vc_status finalize(vc_self state, uint64_t request, uint64_t position, uint32_t flags) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    const int is_tentative = flags & VC_STT_TENTATIVE ? 1 : 0;
    if (BREAKS(VC_STT_06) && !self->total) return VC_OK;
    if (BREAKS(VC_STT_08) && self->total && !self->has_new_audio) return VC_OK;
    if (BREAKS(VC_STT_42) && is_tentative) return VC_OK;
    const uint64_t epoch = atomic_load(&self->epoch);
    uint32_t count = count_words(self);
    while (count && word_at(self, count - 1).start >= position) count--;
    if (!BREAKS(VC_STT_05)) emit_finals(self, request, count);
    emit_plain(self, VC_EVENT_FINALIZED, epoch, BREAKS(VC_STT_04) ? 0 : request);
    if (BREAKS(VC_STT_05)) emit_finals(self, request, count);
    if (BREAKS(VC_STT_35)) emit_plain(self, VC_EVENT_FINALIZED, epoch, request);
    self->has_new_audio = 0;
    if (is_tentative) {
        if (BREAKS(VC_STT_41)) self->utterance++;
        return VC_OK;
    }
    self->finalized = self->utterance++;
    self->turn = QUIET;
    forget_before(self, position);
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known < epoch && !self->is_closed) emit_plain(self, VC_EVENT_CANCELED, epoch, 0);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) { (void)state, (void)events, (void)bytes; }

static void close_session(vc_self state) {
    session *self = state;
    self->is_closed = 1;
    emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch), 0);
}

static void destroy_session(vc_self state) { free(state); }

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_stt_ops stt_ops = {.size = sizeof stt_ops, .begin = begin, .push = push, .finalize = finalize};

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    (void)request, (void)error;
    *out = &the_provider;
    return VC_OK;
}

static void destroy_provider(vc_self state) { (void)state; }

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("the recogniser takes 8000 and 16000 Hz; open it with one of them");
    (void)state;
    if ((request->rate_hz != 8000 && request->rate_hz != 16000) || (BREAKS(VC_STT_14) && request->rate_hz == 16000)) {
        error->code = BREAKS(VC_STT_15) ? VC_E_INTERNAL : VC_E_UNSUPPORTED;
        error->message = other_rate;
        return error->code;
    }
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = request->session;
    self->rate_hz = request->rate_hz;
    self->block_samples = request->rate_hz * BLOCK_MS / 1000;
    self->utterance = 1;
    atomic_init(&self->epoch, request->epoch);
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &stt_ops;
    emit_plain(self, VC_EVENT_READY, request->epoch, 0);
    return VC_OK;
}

static const vc_provider recogniser = {
    .size = sizeof recogniser, .kind = VC_STR(VC_KIND_STT), .id = VC_STR("org.vchost.broken-stt"), .create = create,
    .destroy = destroy_provider, .open = open_session};
static const vc_provider *const providers[] = {&recogniser};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}
