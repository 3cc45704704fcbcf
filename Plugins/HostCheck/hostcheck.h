/*  The objects of the plugin, and what its parts ask of each other.

    A session's memory is never given back: it comes from a pool that is used in turn, so that a call after `destroy`
    finds a tombstone that can say what happened, where in another plugin it would find somebody else's memory.  */
// SPDX-License-Identifier: Apache-2.0
#ifndef HOSTCHECK_H
#define HOSTCHECK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <vchost/vchost.h>

#include "rules.h"

extern const vc_host *host;

typedef enum kind { KIND_STT, KIND_LLM, KIND_TTS, KIND_TURN, KIND_VAD, KIND_COUNT } kind;
extern const char *const kind_names[KIND_COUNT];

typedef enum state {
    STATE_NONE,
    STATE_OPENING, ///< `open` or `create` runs.
    STATE_WAITING, ///< READY was not emitted yet; of a provider: `start` was not called.
    STATE_ACTIVE,
    STATE_CLOSING, ///< `close` or `drain` was called.
    STATE_CLOSED,  ///< CLOSED was emitted.
    STATE_ENDING,  ///< `destroy` runs.
    STATE_RETIRED,
} state;

enum {
    PROVIDERS_MAX = 64,
    /// Tombstones rest until so many others have died.
    SESSIONS_MAX = 2048,
    /// Numbers of requests that are remembered in each session.
    REQUESTS_MAX = 512,
    WAITING_MAX = 64,
    NAME_MAX_BYTES = 64,
    TEXT_SETTING_MAX = 512,
};

/// What a provider and a session have in common: who is in it, and how far its life is.
typedef struct object {
    kind kind;
    vc_handle handle;
    _Atomic int state;
    _Atomic uint32_t inside;  ///< VC_CONTROL calls that run.
    _Atomic uintptr_t thread; ///< Of the one that came in first.
    _Atomic uint32_t visitors; ///< VC_ANY and VC_DETECT calls that run.
    char name[NAME_MAX_BYTES]; ///< The section, or the call.
} object;

typedef struct provider {
    object object;
    char text[TEXT_SETTING_MAX], reply[TEXT_SETTING_MAX];
    uint32_t ready_ms, tone_hz;
    _Atomic uint32_t sessions;
    _Atomic uintptr_t detector; ///< The thread that calls `process`.
} provider;

/// A request that is not answered to its end.
typedef struct pending {
    uint64_t number, epoch, length, position;
    uint32_t is_complete, step;
} pending;

typedef struct session {
    object object;
    provider *provider;
    uint64_t leg; ///< A hash of the call and the leg.
    uint32_t rate_hz;
    _Atomic uint64_t canceled; ///< The epoch of the last `cancel`, or of `open`.
    uint64_t epoch;            ///< The largest that a VC_CONTROL call came with.
    // Audio that came in.
    uint64_t frames, audio_end, captured_ns;
    uint32_t has_audio;
    // Recognition.
    uint64_t utterance, utterance_begin;
    // Requests: all numbers so far, the newest overwriting the oldest, and those that wait for an answer.
    uint64_t seen[REQUESTS_MAX];
    uint32_t seen_count;
    pending waiting[WAITING_MAX];
    uint32_t waiting_count;
    uint64_t sequence;
    uint64_t tool_request; ///< The one whose tool call waits for its result, or 0.
    uint64_t batch;        ///< The last batch that it stood in.
    // Timers.
    vc_handle timer;
    uint64_t timer_at_ns;
} session;

// ledger.c
void fault(int rule, const object *object, const char *format, ...) __attribute__((format(printf, 3, 4)));
void count(int slot);
void report_to(vc_str path);
void write_report(void);
void count_session(int by), count_provider(int by);
uint64_t now_ns(void);

// objects.c
session *take_session(provider *provider);
provider *take_provider(kind kind);
session *session_of(vc_self self);
void each_session(void (*look)(void *context, session *session), void *context);
/// Whether the call may go on; whatever the answer, `leave` follows if it is not 0.
int enter(object *object, int slot);
void leave(object *object);
int visit(object *object, int slot);
void unvisit(object *object);
/// For the slots that ask something of a session: READY was emitted, `close` was not called.
int enter_active(session *session, int slot);
vc_status say(object *object, const vc_event *event);
vc_status say_plain(object *object, uint32_t type, uint64_t epoch, uint64_t request);
void check_epoch(session *session, uint64_t epoch, const char *what);
int check_request(session *session, uint64_t request);
/// Of an event that belongs to the session's epoch: whether the host answered as it should. 0: stop with this request.
int was_taken(session *session, vc_status status, uint64_t epoch, const char *what);
void later(session *session, uint32_t after_ms);

// texts.c
enum { TEXT_MAX_BYTES = 1 << 20, ID_MAX_BYTES = 1024 };
int check_text(const object *object, const char *what, vc_str text, uint64_t most);
void check_struct(const object *object, const char *what, uint32_t size, size_t least);
void learn_secret(provider *provider);

// json.c
/// Calls `each` for the members of an object or the elements of an array (with an empty key). -1: `text` is not JSON.
typedef void json_each(void *context, vc_str key, vc_str value, char type);
int json_walk(vc_str text, char wanted, json_each *each, void *context);
int json_equals(vc_str value, const char *text);

// settings.c
void check_configuration(provider *provider, vc_str config);
void check_session_configuration(session *session, vc_str config);

// frames.c
int check_frame(session *session, const vc_frame *frame);

// The kinds: their tables, what a timer does in them, and what `credit` does.
extern const vc_stt_ops stt_ops;
extern const vc_llm_ops llm_ops;
extern const vc_tts_ops tts_ops;
extern const vc_turn_ops turn_ops;
extern const vc_vad_provider_ops vad_ops;
void llm_work(session *session);
void tts_work(session *session);

// session.c
extern const vc_session_ops session_ops;
void fired(void *context, vc_handle timer);
void become_ready(session *session);

#endif
