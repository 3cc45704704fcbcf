/// The objects of the plugin, and who may touch them.
// SPDX-License-Identifier: Apache-2.0
#ifndef TELEPHONY_TWILIO_OBJECTS_H
#define TELEPHONY_TWILIO_OBJECTS_H

/*  There is no thread here. Everything is a call of the host, and the host makes one at a time for each object; so a
    call's stream, its slots and its timers need no lock, because the session owns its WebSocket (`vc.server/1`,
    upgrade). What comes for a call without being its own, a webhook or an answer of the REST API, comes to the
    provider: it is left with the call as news, under the provider's lock, and a timer of the session that is due at
    once has the session look.

        webhook ─► INCOMING ─► open ─► answer: TwiML with a ticket and a token
                                          └► upgrade (ticket) ─► start (token) ─► ANSWERED ─► media ...  ─► HANGUP

    A ticket is the last part of the stream's path, and says whose stream it is; a token is a parameter of the stream,
    which stands in no log of a proxy. Both are random, and each is taken once.  */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "settings.h"
#include "twilio_wire.h"
#include "vchost/vchost.h"

typedef struct twilio_provider twilio_provider;
typedef struct twilio_call twilio_call;

enum {
    TWILIO_KEY_LENGTH = 24,
    TWILIO_SECRET_LENGTH = 33,       ///< 128 random bits in base 16.
    TWILIO_MAX_HEADERS = 32,         ///< Parameters of a webhook that are handed on with INCOMING.
    TWILIO_MAX_VALUE = 1024,         ///< Bytes of one of them.
    TWILIO_MAX_OUTBOX = 16,          ///< Events kept while the host has no credit; a call makes a handful.
    TWILIO_MAX_MARKS = 64,           ///< Marks that wait for their echo.
    TWILIO_MAX_BAD_MESSAGES = 50,    ///< A second of nonsense; then it is not Twilio that speaks.
    TWILIO_OPEN_DEADLINE_MS = 4000,  ///< The contract gives the host 2 s to open the session; twice that is lost.
    TWILIO_ANSWER_MS = 8000,         ///< From `open`; the listener ends a request after 10 s, and Twilio after 15.
    TWILIO_TAIL_MS = 400,            ///< What the carrier may still have to play when the agent has hung up.
    TWILIO_GOODBYE_MS = 700,         ///< For the close of the stream, within the second that CLOSED may take.
    TWILIO_TRANSFER_MS = 10000,      ///< For the REST API to take a transfer.
    TWILIO_MAX_EARLY = 32,           ///< As many calls can be on their way to a sid at once.
    TWILIO_RING_SLACK_MS = 1500,     ///< Twilio counts whole seconds, and tells late: then we end the call.
    TWILIO_REST_ATTEMPTS = 3,        ///< To end a call: one that is not ended is paid for until its time limit.
    TWILIO_REST_ANSWER_MAX = 16384,  ///< A call as JSON has some 2 KiB.
};

/// The numbers of the operator's dashboard.
typedef enum twilio_metric {
    TWILIO_WEBHOOKS,
    TWILIO_BAD_SIGNATURES,
    TWILIO_BAD_TICKETS,
    TWILIO_BAD_REQUESTS,
    TWILIO_REFUSED_FULL,
    TWILIO_OPEN_TIMEOUTS,
    TWILIO_STREAM_TIMEOUTS,
    TWILIO_STREAMS,
    TWILIO_MEDIA_IN,
    TWILIO_MEDIA_OUT,
    TWILIO_BAD_MESSAGES,
    TWILIO_SEQUENCE_GAPS,
    TWILIO_FRAMES_DROPPED,
    TWILIO_EVENTS_DROPPED,
    TWILIO_CLEARS,
    TWILIO_REST_REQUESTS,
    TWILIO_REST_FAILURES,
    TWILIO_CALLS, // a gauge
    TWILIO_METRIC_COUNT,
} twilio_metric;

typedef enum twilio_state {
    TWILIO_OFFERED,    ///< Inbound: INCOMING was emitted, no session yet.
    TWILIO_TAKEN,      ///< Inbound: the session is open and has not answered.
    TWILIO_CONNECTING, ///< The document with the stream is out; the stream is not here.
    TWILIO_UP,
    TWILIO_ENDING, ///< The agent has hung up, or sent the caller on: the last of it is still under way.
    TWILIO_OVER,   ///< HANGUP was emitted.
} twilio_state;

/// What happened to a call behind its session's back; flags of `twilio_call.news`.
enum {
    TWILIO_NEWS_RINGING = 1 << 0,
    TWILIO_NEWS_OVER = 1 << 1,        ///< `over_status` and `news_code` say how.
    TWILIO_NEWS_ANSWERED = 1 << 6,    ///< Outbound: the callee took the call, and its document runs.
    TWILIO_NEWS_PLACED = 1 << 2,      ///< Outbound: the call has its sid.
    TWILIO_NEWS_REFUSED = 1 << 3,     ///< Outbound: the REST API refused it, `news_code` and `news_text`.
    TWILIO_NEWS_TRANSFERRED = 1 << 4,
    TWILIO_NEWS_NOT_TRANSFERRED = 1 << 5,
};

/// An event that waits for credit. Every event but FRAME fits into one shape.
typedef struct twilio_event {
    uint32_t type;
    uint32_t cause; ///< Of a hang-up; `succeeded` of TRANSFERRED; `cleared` of PLAYED; the status of ERROR.
    uint32_t code;
    uint64_t mark;
    char text[160];
    char vendor_code[12];
} twilio_event;

/// A call, and from `open` on its telephony session.
struct twilio_call {
    twilio_provider *provider;
    uint32_t direction;
    uint64_t number;
    char key[TWILIO_KEY_LENGTH];
    char token[TWILIO_SECRET_LENGTH];
    uint64_t offered_ns;
    _Atomic uint64_t epoch;

    // Under the provider's lock.
    twilio_call *next;
    vc_handle session;  ///< 0: none yet.
    vc_handle exchange; ///< Inbound: the webhook that waits for its answer.
    char sid[TW_SID_MAX];
    char ticket[TWILIO_SECRET_LENGTH]; ///< Empty once it was used, or is void.
    uint32_t news, news_code;
    tw_call_status over_status;
    char news_text[160];

    // The session's own.
    twilio_state state;
    vc_handle socket, deadline;
    char stream_sid[TW_SID_MAX];
    size_t stream_sid_length;
    uint64_t position, frame_count, chunk, sequence;
    uint64_t marks[TWILIO_MAX_MARKS];
    uint32_t mark_count, bad_messages;
    bool is_unheard;   ///< Audio was sent since the last clear, and no mark behind it came back.
    bool must_clear;   ///< The socket was full when a clear was due.
    bool has_gap;      ///< The host did not take the last frame.
    bool is_stopped;   ///< Twilio has ended the stream.
    bool is_transferring, is_transferred, is_closing, is_closed;
    twilio_event outbox[TWILIO_MAX_OUTBOX];
    uint32_t outbox_count;
};

/// News of a sid that is nobody's yet: Twilio tells that a callee's phone rings by one connection, and which call that
/// is by another, which may be slower.
typedef struct twilio_early_news {
    char sid[TW_SID_MAX];
    uint32_t news, code;
    tw_call_status status;
} twilio_early_news;

/// A request to the REST API. It outlives the session: a call that was placed for nobody must be ended.
typedef struct twilio_request {
    struct twilio_request *next;
    twilio_provider *provider;
    enum { TWILIO_PLACE, TWILIO_TRANSFER, TWILIO_END } sort;
    uint64_t number; ///< Of the call.
    char sid[TW_SID_MAX];
    char *form;
    uint32_t attempt, http_status, retry_after_s;
    size_t length;
    char answer[TWILIO_REST_ANSWER_MAX];
} twilio_request;

struct twilio_provider {
    const vc_host *host;
    const vc_log *log;
    const vc_clock *clock;
    const vc_timer *timer;
    const vc_metrics *metrics;
    const vc_server *server;
    const vc_ws *ws;
    const vc_http *http;
    const vc_secret *secret;
    vc_handle handle;
    twilio_settings settings;
    vc_handle metric[TWILIO_METRIC_COUNT];

    pthread_mutex_t lock; ///< Held for a few instructions; never while the host is called.
    twilio_call *calls;
    uint32_t call_count;
    uint64_t next_number;
    twilio_request *requests;
    twilio_early_news early[TWILIO_MAX_EARLY];
    uint32_t early_count; ///< Ever kept: the oldest gives way.
    bool is_draining, is_drained;

    // The provider's own, under the host's order of its calls.
    bool has_started, is_sweeping;
    char form[128 << 10];
    char scratch[TW_SIGNED_TEXT_MAX];
};

// report.c: what the operator and the host are told.
void twilio_metrics_define(twilio_provider *provider);
void twilio_count(twilio_provider *provider, twilio_metric metric);
void twilio_log(twilio_provider *provider, uint32_t level, vc_handle object, const char *name, const char *value,
                const char *format, ...) __attribute__((format(printf, 6, 7)));
vc_str twilio_str(const char *text);
void twilio_emit_plain(twilio_provider *provider, vc_handle object, uint32_t type, uint64_t epoch);
void twilio_emit(twilio_call *call, const twilio_event *event);
void twilio_emit_waiting(twilio_call *call);

// desk.c: the calls that there are.
twilio_call *twilio_desk_make(twilio_provider *provider, uint32_t direction);
void twilio_desk_destroy(twilio_call *call);
twilio_call *twilio_desk_by_key(twilio_provider *provider, vc_str key);
bool twilio_desk_news(twilio_provider *provider, uint64_t number, const char *sid, uint32_t news, uint32_t code,
                      tw_call_status status, const char *text);
uint32_t twilio_desk_take_news(twilio_call *call, uint32_t *code, tw_call_status *status, char text[160]);
void twilio_desk_drain(twilio_provider *provider);
bool twilio_respond(twilio_provider *provider, vc_handle exchange, uint32_t status, const char *type, const char *body);
bool twilio_respond_to_call(twilio_call *call, const char *twiml);

// webhook.c, guard.c, incoming.c: what Twilio asks.
void twilio_on_voice(void *context, const vc_server_request *request);
void twilio_on_status(void *context, const vc_server_request *request);
void twilio_on_upgrade(void *context, const vc_server_request *request);
bool twilio_guard_admits(twilio_provider *provider, const vc_server_request *request, bool websocket, tw_field *fields,
                         int count);
void twilio_incoming(twilio_provider *provider, const vc_server_request *request, tw_field *fields, int count);
void twilio_sweep_soon(twilio_provider *provider);
void twilio_withdraw(twilio_call *call, const char *twiml);

// stream.c: the WebSocket of a call.
extern const vc_ws_events twilio_stream_events;
bool twilio_stream_send(twilio_call *call, const char *message, size_t length, vc_status *status);
void twilio_stream_clear(twilio_call *call);

// call.c: what becomes of a call, from its session on.
void twilio_call_deadline(twilio_call *call, uint32_t after_ms);
void twilio_call_over(twilio_call *call, uint32_t cause, uint32_t code, const char *reason);
void twilio_call_closed(twilio_call *call);
void twilio_call_hangup(twilio_call *call, uint32_t code);
void twilio_on_news(void *context, vc_handle timer);
size_t twilio_call_document(twilio_call *call, char *twiml);

// session.c: the slots.
extern const vc_session_ops twilio_session_ops;
extern const vc_telephony_ops twilio_telephony_ops;

// rest.c
vc_status twilio_rest(twilio_provider *provider, int sort, uint64_t number, const char *sid, const char *form);

#endif
