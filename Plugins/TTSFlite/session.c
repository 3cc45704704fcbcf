/*  Slots answer at once, and synthesis takes milliseconds, so the work is done by tasks of the host: at most one
    for each session at a time. `wakes` counts what has happened since the worker last looked. Whoever raises it
    from 0 starts a task, and the worker goes on until it has brought it back to 0: no wake-up is lost, and
    `cancel`, which must be wait-free, needs nothing but two atomics to be seen.

        any thread        cancelled_epoch, wakes
        control calls     the tail of the list of pieces          } under `lock`, for as long as it takes
        the worker        its head, and everything in `now`       } to move a pointer

    The worker offers an event until the host takes it; on VC_E_AGAIN it returns and `credit` wakes it to offer the
    same one again. It looks at `cancelled_epoch` before each synthesis and each frame.  */
// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include "clause_text.h"
#include "flite_voice.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECES_MAX = 64,         ///< Waiting; a host sends a clause at a time and 64 of them are minutes. Then VC_E_AGAIN.
    PIECE_BYTES_MAX = 16384, ///< A quarter of an hour of speech. Longer is a mistake, answered with VC_E_ARGUMENT.
    FRAME_SAMPLES = 800,     ///< 100 ms: credit is counted in short frames, and a cancel is seen between them.
};

/// A part of a request, as `speak` brought it.
typedef struct piece {
    struct piece *next;
    uint64_t request, epoch;
    uint32_t flags;
    size_t length;
    char text[];
} piece;

typedef struct session {
    const speech_host *services;
    vc_handle handle;
    double speed;

    _Atomic uint64_t cancelled_epoch; ///< What is older is over.
    _Atomic uint32_t wakes;
    _Atomic uint32_t is_closing;

    pthread_mutex_t lock;
    piece *first, **last;
    uint32_t piece_count;

    /// The worker's.
    struct {
        piece *piece;        ///< Being spoken, or NULL.
        size_t said;         ///< Bytes of its text that are spoken or in `samples`.
        int16_t *samples;    ///< The clause being sent, or NULL.
        uint64_t count, sent;
        uint64_t mark_start; ///< Where its text begins in the request.
        uint32_t is_marked;  ///< Its MARK was taken.
        uint64_t request, epoch; ///< The request under way.
        uint32_t is_open;        ///< It has begun, and its TTS_DONE was not sent.
        uint64_t text_offset;    ///< Where the piece begins in the request's text.
        uint64_t position;       ///< Samples of the request sent.
        uint64_t frames;         ///< Of the session.
        uint64_t announced_epoch;
        uint32_t is_closed;
    } now;
} session;

static vc_status emit(session *session, vc_event *event) {
    return session->services->host->emit(session->handle, event);
}

static void emit_plain(session *session, uint32_t type, uint64_t epoch) {
    vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    emit(session, &event);
}

static void work(void *context);

/// Sees to it that the worker looks. False when the host has no room for a task; the caller then says what follows.
static int wake(session *session) {
    if (atomic_fetch_add(&session->wakes, 1) > 0) return 1;
    for (;;) {
        if (session->services->task->run(session->handle, work, session) == VC_OK) return 1;
        uint32_t ours = 1;
        if (atomic_compare_exchange_strong(&session->wakes, &ours, 0)) return 0;
        // Somebody else came meanwhile and counts on the task that we could not start.
        atomic_store(&session->wakes, 1);
    }
}

// MARK: The worker

static void drop_samples(session *session) {
    free(session->now.samples);
    session->now.samples = NULL;
}

static void drop_piece(session *session) {
    drop_samples(session);
    free(session->now.piece);
    session->now.piece = NULL;
}

static vc_status emit_done(session *session, uint32_t reason) {
    vc_event_tts_done done = {
        .head = {.size = sizeof done,
                 .type = VC_EVENT_TTS_DONE,
                 .epoch = session->now.epoch,
                 .request = session->now.request},
        .reason = reason,
        .samples = session->now.position,
    };
    const vc_status status = emit(session, &done.head);
    if (status != VC_E_AGAIN) session->now.is_open = 0;
    return status;
}

/// Takes the next piece out of the list, and begins its request if it is the first.
static piece *take_piece(session *session) {
    pthread_mutex_lock(&session->lock);
    piece *piece = session->first;
    if (piece) {
        session->first = piece->next;
        if (!session->first) session->last = &session->first;
        session->piece_count--;
    }
    pthread_mutex_unlock(&session->lock);
    if (piece && piece->request != session->now.request) {
        session->now.request = piece->request;
        session->now.epoch = piece->epoch;
        session->now.is_open = 1;
        session->now.text_offset = 0;
        session->now.position = 0;
    }
    session->now.piece = piece;
    session->now.said = 0;
    return piece;
}

/// Ends every request that is older than `epoch`, and says so.
static void cancel_until(session *session, uint64_t epoch) {
    for (;;) {
        // An event of an old epoch needs no credit: whether the host takes it or not, it is said once.
        if (session->now.is_open && session->now.epoch < epoch) {
            emit_done(session, VC_TTS_CANCELED);
            session->now.is_open = 0;
        }
        if (session->now.piece && session->now.piece->epoch >= epoch) break;
        drop_piece(session);
        pthread_mutex_lock(&session->lock);
        const int is_old = session->first && session->first->epoch < epoch;
        pthread_mutex_unlock(&session->lock);
        // Pieces come in the order of their epochs, so the first that is not old ends the search.
        if (!is_old) break;
        take_piece(session);
    }
    emit_plain(session, VC_EVENT_CANCELED, epoch);
    session->now.announced_epoch = epoch;
}

/// A clause is left out. The request goes on: most of an answer is better than none.
static void emit_gave_up(session *session) {
    const vc_error error = {
        .size = sizeof error,
        .code = VC_E_INTERNAL,
        .message = VC_STR("flite gave up on a clause, which is left out; another voice may speak it"),
        .vendor = VC_STR("flite"),
    };
    vc_event_error failed = {
        .head = {.size = sizeof failed,
                 .type = VC_EVENT_ERROR,
                 .epoch = session->now.epoch,
                 .request = session->now.request},
        .error = &error,
    };
    emit(session, &failed.head);
}

/// The next clause of the piece, as samples. One without a letter or a digit has none.
static void synthesise(session *session) {
    const piece *piece = session->now.piece;
    const char *text = piece->text + session->now.said;
    const size_t length = clause_length(text, piece->length - session->now.said);
    session->now.mark_start = session->now.text_offset + session->now.said;
    session->now.said += length;
    session->now.sent = 0;
    session->now.is_marked = 0;
    session->now.count = 0;
    char spoken[CLAUSE_SPOKEN_MAX];
    if (!clause_spoken(text, length, spoken)) return;
    const int64_t count = flite_voice_speak(spoken, session->speed, &session->now.samples);
    session->now.count = count > 0 ? (uint64_t)count : 0;
    if (count < 0) emit_gave_up(session);
}

static vc_status emit_mark(session *session) {
    vc_event_mark mark = {
        .head = {.size = sizeof mark,
                 .type = VC_EVENT_MARK,
                 .epoch = session->now.piece->epoch,
                 .request = session->now.request},
        .text_start = session->now.mark_start,
        .text_end = session->now.text_offset + session->now.said,
        .position = session->now.position,
        .end = session->now.position + session->now.count,
    };
    return emit(session, &mark.head);
}

static vc_status emit_frame(session *session) {
    const piece *piece = session->now.piece;
    const uint64_t left = session->now.count - session->now.sent;
    const uint32_t samples = left < FRAME_SAMPLES ? (uint32_t)left : FRAME_SAMPLES;
    const int is_last = left == samples && session->now.said == piece->length && (piece->flags & VC_TTS_LAST);
    const vc_frame frame = {
        .size = sizeof frame,
        .format = VC_FORMAT_S16,
        .rate_hz = FLITE_RATE_HZ,
        .channels = 1,
        .samples = samples,
        .flags = is_last ? VC_FRAME_LAST : 0,
        .sequence = session->now.frames,
        .position = session->now.position,
        .epoch = piece->epoch,
        .data = session->now.samples + session->now.sent,
        .bytes = (uint64_t)samples * sizeof(int16_t),
    };
    vc_event_audio audio = {
        .head = {.size = sizeof audio, .type = VC_EVENT_AUDIO, .epoch = piece->epoch, .request = session->now.request},
        .frame = &frame,
    };
    const vc_status status = emit(session, &audio.head);
    if (status == VC_OK) {
        session->now.sent += samples;
        session->now.position += samples;
        session->now.frames++;
    }
    return status;
}

/// One step of the piece: a clause, an event, or its end.
static vc_status speak_on(session *session) {
    if (session->now.samples) {
        if (!session->now.is_marked) {
            const vc_status status = emit_mark(session);
            session->now.is_marked = status == VC_OK;
            return status;
        }
        if (session->now.sent < session->now.count) return emit_frame(session);
        drop_samples(session);
        return VC_OK;
    }
    const piece *piece = session->now.piece;
    if (session->now.said < piece->length) {
        synthesise(session);
        return VC_OK;
    }
    if (piece->flags & VC_TTS_LAST) {
        const vc_status status = emit_done(session, VC_TTS_COMPLETE);
        if (status == VC_E_AGAIN) return status;
    }
    session->now.text_offset += piece->length;
    drop_piece(session);
    return VC_OK;
}

/// Works until nothing is left to do, or nothing can be done without credit.
static void work_off(session *session) {
    for (;;) {
        if (atomic_load(&session->is_closing)) {
            if (!session->now.is_closed) emit_plain(session, VC_EVENT_CLOSED, atomic_load(&session->cancelled_epoch));
            session->now.is_closed = 1;
            return;
        }
        const uint64_t cancelled = atomic_load(&session->cancelled_epoch);
        if (cancelled > session->now.announced_epoch) cancel_until(session, cancelled);
        if (!session->now.piece && !take_piece(session)) return;
        const vc_status status = speak_on(session);
        if (status == VC_E_AGAIN) return;
        // The host knows better than we do that this is over; `cancel`, which says so too, is on its way.
        if (status != VC_OK) drop_piece(session);
    }
}

static void work(void *context) {
    session *session = context;
    uint32_t seen = atomic_load(&session->wakes);
    do work_off(session);
    while (!atomic_compare_exchange_strong(&session->wakes, &seen, 0));
}

// MARK: Slots

static void session_cancel(vc_self self, uint64_t epoch) {
    session *session = self;
    uint64_t known = atomic_load(&session->cancelled_epoch);
    do
        if (known >= epoch) return;
    while (!atomic_compare_exchange_weak(&session->cancelled_epoch, &known, epoch));
    // Without a task nothing is under way either; the pieces that wait are dropped when there is one again.
    if (!wake(session)) emit_plain(session, VC_EVENT_CANCELED, epoch);
}

static void session_credit(vc_self self, uint32_t events, uint64_t bytes) {
    (void)events, (void)bytes; // The host counts; an event that is offered too early is answered with AGAIN again.
    wake(self);
}

static void session_close(vc_self self) {
    session *session = self;
    atomic_store(&session->is_closing, 1);
    if (!wake(session)) emit_plain(session, VC_EVENT_CLOSED, atomic_load(&session->cancelled_epoch));
}

static void session_destroy(vc_self self) {
    session *session = self;
    drop_piece(session);
    while (take_piece(session)) drop_piece(session);
    pthread_mutex_destroy(&session->lock);
    free(session);
}

static vc_status session_speak(vc_self self, uint64_t request, uint64_t epoch, vc_str text, uint32_t flags) {
    session *session = self;
    if (atomic_load(&session->is_closing)) return VC_E_CLOSED;
    if (epoch < atomic_load(&session->cancelled_epoch)) return VC_E_CANCELED;
    if (text.length > PIECE_BYTES_MAX || (text.length > 0 && !text.data)) return VC_E_ARGUMENT;
    piece *piece = malloc(sizeof *piece + text.length);
    if (!piece) return VC_E_MEMORY;
    piece->next = NULL;
    piece->request = request, piece->epoch = epoch, piece->flags = flags, piece->length = text.length;
    if (text.length > 0) memcpy(piece->text, text.data, text.length);

    pthread_mutex_lock(&session->lock);
    const int has_room = session->piece_count < PIECES_MAX;
    if (has_room) {
        *session->last = piece;
        session->last = &piece->next;
        session->piece_count++;
    }
    pthread_mutex_unlock(&session->lock);
    if (!has_room) {
        free(piece);
        return VC_E_AGAIN;
    }
    // Without a task the piece stays, and is spoken with the next one, or after the next `credit`.
    wake(session);
    return VC_OK;
}

static const vc_session_ops session_ops = {
    .size = sizeof session_ops,
    .cancel = session_cancel,
    .credit = session_credit,
    .close = session_close,
    .destroy = session_destroy,
};

static const vc_tts_ops tts_ops = {.size = sizeof tts_ops, .speak = session_speak};

vc_status session_open(const speech_host *services, const vc_open *request, double speed, vc_session *out) {
    session *session = calloc(1, sizeof *session);
    if (!session) return VC_E_MEMORY;
    session->services = services;
    session->handle = request->session;
    session->speed = speed;
    session->last = &session->first;
    atomic_init(&session->cancelled_epoch, request->epoch);
    session->now.announced_epoch = request->epoch;
    session->now.request = UINT64_MAX;
    pthread_mutex_init(&session->lock, NULL);
    out->state = session;
    out->ops = &session_ops;
    out->kind_ops = &tts_ops;
    return VC_OK;
}
