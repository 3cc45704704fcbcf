/// The objects of the plugin, and who may touch them.
// SPDX-License-Identifier: Apache-2.0
#ifndef TELEPHONY_SIP_OBJECTS_H
#define TELEPHONY_SIP_OBJECTS_H

/*  Two sides meet here. The host calls the slots of the tables from any thread; sofia lives on one thread of ours, and
    everything that it owns (calls, dialogs, bindings, media handles) is touched there only. Between the two lies a
    mailbox, and nothing else is shared:

        host's thread                             SIP thread
        answer(session) ─► order in the mailbox ─► eventfd wakes su_root ─► session_run ─► nua_respond
        host  ◄──────────────── emit (any thread) ◄───────────────────────── nua callback

    A session's mailbox is a set of flags, not a queue: each order can wait once, the newest value counts, so it is
    bounded by construction and `close` can never find it full. A queue of commands would need an answer to "full" for
    orders that must not fail.

    sofia is started with NUTAG_MEDIA_ENABLE(0): it carries SDP as text, and the host's media engine answers it.  */

#include <pthread.h>
#include <stdatomic.h>

struct sip_provider;
struct sip_call;
#define SU_ROOT_MAGIC_T struct sip_provider
#define SU_TIMER_ARG_T struct sip_provider
#define NUA_MAGIC_T struct sip_provider
#define NUA_HMAGIC_T struct sip_call
#include <sofia-sip/su_wait.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/nua.h>
#include <sofia-sip/nua_tag.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_status.h>
#include <sofia-sip/su_tag.h>
#include <sofia-sip/msg_addr.h>

#include "settings.h"
#include "vchost/vchost.h"

typedef struct sip_provider sip_provider;
typedef struct sip_session sip_session;
typedef struct sip_call sip_call;

enum {
    SIP_KEY_LENGTH = 24,
    SIP_MAX_OUTBOX = 32,      ///< Events kept while the host has no credit; a call makes a handful in its life.
    SIP_MAX_DECLINES = 256,   ///< Refusals that wait for the SIP thread: one pending INVITE each.
    SIP_MAX_HEADERS = 32,     ///< Headers handed to the host with INCOMING, and taken from it for an outbound call.
    SIP_MAX_VALUE = 1024,     ///< Bytes of one such header, of an address, of a reason.
    SIP_TICK_MS = 250,        ///< How late a deadline of a call may be noticed.
    SIP_OPEN_DEADLINE_MS = 4000,    ///< The contract gives the host 2 s to open the session; twice that is lost.
    SIP_ANSWER_DEADLINE_MS = 180000, ///< Timer C of RFC 3261, 16.6: proxies give up then, and so do we.
    SIP_TRANSFER_DEADLINE_MS = 60000, ///< A callee may ring for a minute before the transfer is known to have failed.
    SIP_ENDING_DEADLINE_MS = 40000,  ///< 64 * T1 for the BYE, and some.
};

/// The numbers of the operator's dashboard; `sip_count` and `sip_gauge` write them.
typedef enum sip_metric {
    SIP_INVITES,
    SIP_INVITES_LIMITED,
    SIP_INVITES_REFUSED,
    SIP_CHALLENGES,
    SIP_AUTH_FAILURES,
    SIP_REGISTERS,
    SIP_REGISTRATIONS_LIMITED,
    SIP_OUTBOUND_CALLS,
    SIP_OPEN_TIMEOUTS,
    SIP_EVENTS_DROPPED,
    SIP_ACK_TIMEOUTS,
    SIP_MEDIA_REFUSALS,
    SIP_TRANSFERS,
    SIP_DIGITS,
    SIP_DIALOGS,       // gauges from here
    SIP_PENDING,
    SIP_REGISTRATIONS,
    SIP_PORT,
    SIP_METRIC_COUNT,
} sip_metric;

/// What the host asked of a session; flags of `sip_session.orders`.
enum {
    SIP_ORDER_OPEN = 1 << 0,
    SIP_ORDER_RINGING = 1 << 1,
    SIP_ORDER_ANSWER = 1 << 2,
    SIP_ORDER_HOLD = 1 << 3,
    SIP_ORDER_DTMF = 1 << 4,
    SIP_ORDER_TRANSFER = 1 << 5,
    SIP_ORDER_HANGUP = 1 << 6,
    SIP_ORDER_CREDIT = 1 << 7,
    SIP_ORDER_CLOSE = 1 << 8,
    SIP_ORDER_DESTROY = 1 << 9,
};

/// An event that waits for credit. Every event of a telephony session fits into one shape.
typedef struct sip_event {
    uint32_t type;
    uint32_t cause; ///< Of a hang-up; `on` of HELD; `succeeded` of TRANSFERRED; the duration of a digit.
    uint32_t code;
    char text[128];
} sip_event;

/// A telephony session, as the host holds it.
struct sip_session {
    sip_provider *provider;
    vc_handle handle;
    uint32_t direction;
    _Atomic uint64_t epoch;
    char key[SIP_KEY_LENGTH]; ///< Inbound.
    char *to, *from;          ///< Outbound.
    char *headers;            ///< Outbound: additional header lines, or NULL.
    uint32_t ring_timeout_ms;

    // The mailbox, under `provider->lock`.
    sip_session *next_ordered;
    uint32_t orders; ///< Not zero: the session stands in the provider's list.
    uint32_t hangup_code;
    uint32_t hold_on;
    char hangup_reason[128];
    char target[512];
    char digits[32];

    // The SIP thread's.
    sip_call *call;
    sip_event outbox[SIP_MAX_OUTBOX];
    uint32_t outbox_count;
    bool hung_up, closed;
};

typedef enum sip_call_state {
    SIP_CALL_OFFERED,   ///< Inbound: INCOMING was emitted, no session yet.
    SIP_CALL_WAITING,   ///< Inbound: the session is open and has not answered. Outbound: the INVITE is out.
    SIP_CALL_ANSWERING, ///< 200 is out, its ACK is not here.
    SIP_CALL_UP,
    SIP_CALL_ENDING, ///< Over for the host; BYE or CANCEL still wait for their answers.
} sip_call_state;

/// A call leg, as sofia holds it: the magic of its nua handle. The SIP thread's.
struct sip_call {
    sip_call *next, *previous;
    sip_provider *provider;
    nua_handle_t *handle;
    sip_session *session;
    vc_handle media;
    char key[SIP_KEY_LENGTH];
    uint32_t direction;
    sip_call_state state;
    uint64_t deadline_ns; ///< 0: none.
    char *offer;          ///< The description of the initial INVITE until it is answered, or NULL.
    bool takes_refresh;   ///< The peer knows session timers and UPDATE (RFC 4028, RFC 3311).
    bool awaits_answer;   ///< Our offer is out in a 200; the peer's answer comes in the ACK (RFC 3261, 13.2.1).
    bool bye_after_ack;   ///< Hung up between 200 and ACK: RFC 3261, 15 forbids the BYE before.
    bool held_by_peer, held_by_us;
    bool cancelled, rang;
    bool transferring, transfer_accepted;
    uint32_t challenges, challenged_with; ///< 401 and 407 answered so far, and which it was.
};

struct sip_binding;
struct sip_source;

struct sip_provider {
    const vc_host *host;
    const vc_log *log;
    const vc_clock *clock;
    const vc_metrics *metrics;
    const vc_media *media;
    vc_handle handle;
    char name[64];
    sip_settings settings;
    vc_handle metric[SIP_METRIC_COUNT];

    // The mailbox.
    pthread_mutex_t lock; ///< Held for a few instructions; never while sofia, the host or the kernel is called.
    sip_session *ordered, **ordered_tail;
    struct {
        char key[SIP_KEY_LENGTH];
        uint32_t code, retry_after_s;
    } declines[SIP_MAX_DECLINES];
    uint32_t decline_count;
    _Atomic bool drain_ordered, destroy_ordered, thread_runs;
    int wake_fd;

    // The SIP thread's.
    pthread_t thread;
    su_home_t home[1];
    su_root_t *root;
    su_timer_t *tick;
    nua_t *nua;
    char advertised[128]; ///< Host and port, as in our URIs.
    uint32_t bound_port;
    sip_call *calls;
    uint32_t call_count, pending_count;
    uint64_t next_key;
    uint8_t nonce_key[16];
    struct sip_binding *bindings;
    uint32_t binding_count;
    struct sip_source *sources;
    nua_handle_t *registration;
    uint64_t registration_retry_ns;
    uint32_t registration_failures, registration_challenges;
    bool draining, drained, drained_told, shutting_down;
};

// report.c: what the operator sees.
void sip_metrics_define(sip_provider *provider);
void sip_count(sip_provider *provider, sip_metric metric);
void sip_gauge(sip_provider *provider, sip_metric metric, double value);
void sip_log(sip_provider *provider, uint32_t level, vc_handle object, const char *name, const char *value,
             const char *format, ...) __attribute__((format(printf, 6, 7)));
void sip_redirect_sofia_log(const vc_host *host);
vc_str sip_str(const char *text);
void sip_emit_provider_error(sip_provider *provider, vc_status code, const char *message);
vc_status sip_emit_plain(sip_provider *provider, vc_handle object, uint32_t type, uint64_t epoch);

// session.c: the mailbox, and the events of a session.
void sip_order(sip_session *session, uint32_t orders);
void sip_wake(sip_provider *provider);
void sip_session_run(sip_session *session, uint32_t orders);
void sip_session_emit(sip_session *session, uint32_t type, uint32_t cause, uint32_t code, const char *text);
void sip_session_free(sip_session *session);

// stack.c: the thread, the ports, the events of sofia.
vc_status sip_stack_start(sip_provider *provider);
void sip_provider_free(sip_provider *provider);
uint64_t sip_now_ns(sip_provider *provider);

// call.c: a leg from its beginning to its end.
sip_call *sip_call_make(sip_provider *provider, nua_handle_t *handle, uint32_t direction);
sip_call *sip_call_by_key(sip_provider *provider, const char *key);
void sip_call_deadline(sip_call *call, uint32_t after_ms);
void sip_call_set_state(sip_call *call, sip_call_state state);
void sip_call_over(sip_call *call, uint32_t cause, uint32_t code, const char *reason);
void sip_call_destroy(sip_call *call);
void sip_call_hangup(sip_call *call, uint32_t code, const char *reason);
void sip_call_tick(sip_call *call, uint64_t now);

// inbound.c
void sip_on_invite(sip_provider *provider, nua_handle_t *handle, sip_t const *sip, int status);
void sip_inbound_open(sip_session *session);
void sip_inbound_answer(sip_call *call);
void sip_inbound_refuse(sip_call *call, uint32_t code, uint32_t retry_after_s, const char *reason);

// outbound.c
void sip_outbound_open(sip_session *session);
void sip_on_invite_response(sip_call *call, int status, char const *phrase, sip_t const *sip);
bool sip_authenticate(sip_provider *provider, nua_handle_t *handle, sip_t const *sip, uint32_t *challenges);
bool sip_uri_is_safe(const char *text);
void sip_fork_refuse(tagi_t const tags[]);

// dialog.c: what happens within a call.
void sip_on_reinvite(sip_call *call, sip_t const *sip, nua_event_t event);
void sip_on_ack(sip_call *call, sip_t const *sip);
void sip_on_info(sip_provider *provider, sip_call *call, nua_handle_t *handle, sip_t const *sip);
void sip_dialog_hold(sip_call *call, bool on);
void sip_dialog_dtmf(sip_call *call, const char *digits);
char *sip_body_of(sip_t const *sip);

// transfer.c
void sip_transfer(sip_call *call, const char *target);
void sip_on_refer_response(sip_call *call, int status, char const *phrase);
void sip_on_notify(sip_call *call, sip_t const *sip);
void sip_transfer_done(sip_call *call, bool succeeded, uint32_t code, const char *reason);

// digest.c
typedef enum sip_verdict { SIP_VERDICT_GOOD, SIP_VERDICT_BAD, SIP_VERDICT_MISSING, SIP_VERDICT_STALE } sip_verdict;
sip_verdict sip_digest_verify(sip_provider *provider, sip_t const *sip, const struct in6_addr *source, char *user,
                              size_t room);
void sip_digest_challenge(sip_provider *provider, const struct in6_addr *source, bool stale, char *header, size_t room);

// guard.c: who may call, and how often.
typedef struct sip_peer {
    struct in6_addr address;
    char text[80]; ///< "192.0.2.7:5060;transport=udp", as a URI can carry it.
} sip_peer;
sip_peer sip_peer_of_current_request(sip_provider *provider);
bool sip_guard_rate(sip_provider *provider, const struct in6_addr *source);
bool sip_guard_admits(sip_provider *provider, nua_handle_t *handle, sip_t const *sip, const sip_peer *peer, char *user,
                      size_t room);

// registrar.c
void sip_on_register(sip_provider *provider, nua_handle_t *handle, sip_t const *sip);
bool sip_registrar_find(sip_provider *provider, const char *user, char *contact, size_t contact_room, char *route,
                        size_t route_room);
void sip_registrar_expire(sip_provider *provider);
void sip_registrar_free(sip_provider *provider);

// registration.c: we, at somebody else's registrar.
void sip_registration_tick(sip_provider *provider);
void sip_registration_end(sip_provider *provider);
void sip_on_register_response(sip_provider *provider, int status, char const *phrase, sip_t const *sip);

// description.c
typedef enum sip_direction { SIP_SENDRECV, SIP_SENDONLY, SIP_RECVONLY, SIP_INACTIVE } sip_direction;
sip_direction sip_description_direction(const char *description);
void sip_description_hold(char *description);

#endif
