/// @file What Swift does not see of libwebsockets: its macros, and a timer that carries a context.
#ifndef LWS_SHIM_H
#define LWS_SHIM_H

#include <libwebsockets.h>
#include <stdlib.h>

/// Bytes that `lws_write` needs in front of a message.
static const int vc_lws_pre = LWS_PRE;

/// A timer of an lws context. lws hands its own struct to the callback, so the context stands behind it.
typedef struct vc_lws_timer {
    lws_sorted_usec_list_t sorted; // first: the callback's pointer is this one
    void *_Nullable context;
} vc_lws_timer;

static inline vc_lws_timer *_Nullable vc_lws_timer_create(void *_Nullable context) {
    vc_lws_timer *timer = (vc_lws_timer *)calloc(1, sizeof *timer);
    if (timer) timer->context = context;
    return timer;
}

static inline void vc_lws_timer_set(struct lws_context *_Nonnull lws, vc_lws_timer *_Nonnull timer,
                                    sul_cb_t _Nullable fire, int64_t after_us) {
    lws_sul_schedule(lws, 0, &timer->sorted, fire, after_us);
}

static inline void vc_lws_timer_free(struct lws_context *_Nonnull lws, vc_lws_timer *_Nonnull timer) {
    lws_sul_schedule(lws, 0, &timer->sorted, NULL, LWS_SET_TIMER_USEC_CANCEL);
    free(timer);
}

/// Ends a connection that is not the one being served, at the next turn of the loop.
static inline void vc_lws_kill(struct lws *_Nonnull wsi) {
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

#endif
