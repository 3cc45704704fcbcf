/*  What every session is told: cancel, credit, close, destroy, and the timer that makes things take time.

    READY, answers and CLOSED come a little after they were asked for, from the host's timer: a host that works only
    with plugins which answer before the slot returned would not be found out otherwise.  */
// SPDX-License-Identifier: Apache-2.0
#include "hostcheck.h"

enum { CLOSE_MS = 10 };

/// From open on, or from the timer.
void become_ready(session *session) {
    // The state first: the host may ask something on another thread before `emit` returned.
    atomic_store(&session->object.state, STATE_ACTIVE);
    const vc_status status = say_plain(&session->object, VC_EVENT_READY, atomic_load(&session->canceled), 0);
    if (status != VC_OK)
        fault(RULE_EMIT_ANSWER, &session->object, "emit refused READY with status %d, in call %s", status,
              session->object.name);
}

static void become_closed(session *session) {
    atomic_store(&session->object.state, STATE_CLOSED);
    const vc_status status = say_plain(&session->object, VC_EVENT_CLOSED, atomic_load(&session->canceled), 0);
    if (status != VC_OK)
        fault(RULE_EMIT_ANSWER, &session->object, "emit refused CLOSED with status %d, in call %s", status,
              session->object.name);
}

void fired(void *context, vc_handle timer) {
    session *session = context;
    if (!session_of(session) || atomic_load(&session->object.state) == STATE_RETIRED) {
        count(SLOT_TIMER);
        fault(RULE_TIMER, session_of(session) ? &session->object : NULL, "a timer fired after its owner's destroy");
        return;
    }
    if (!enter(&session->object, SLOT_TIMER)) return;
    const uint64_t now = now_ns();
    if (session->timer_at_ns == 0 || timer != session->timer)
        fault(RULE_TIMER, &session->object, "a timer fired that was not armed, or a second time");
    else if (now < session->timer_at_ns)
        fault(RULE_TIMER, &session->object, "a timer fired %llu ns before its time",
              (unsigned long long)(session->timer_at_ns - now));
    session->timer_at_ns = 0;
    switch (atomic_load(&session->object.state)) {
    case STATE_WAITING: become_ready(session); break;
    case STATE_ACTIVE:
        if (session->object.kind == KIND_LLM) llm_work(session);
        if (session->object.kind == KIND_TTS) tts_work(session);
        break;
    case STATE_CLOSING: become_closed(session); break;
    default: break;
    }
    leave(&session->object);
}

static void session_cancel(vc_self self, uint64_t epoch) {
    session *session = session_of(self);
    if (!session) {
        fault(RULE_NULL_POINTER, NULL, "cancel came with a pointer that is no session's");
        return;
    }
    if (!visit(&session->object, SLOT_CANCEL)) return;
    uint64_t known = atomic_load(&session->canceled);
    if (epoch < known)
        fault(RULE_CANCEL_BACK, &session->object, "cancel came with epoch %llu after %llu, in call %s",
              (unsigned long long)epoch, (unsigned long long)known, session->object.name);
    while (known < epoch && !atomic_compare_exchange_weak(&session->canceled, &known, epoch)) {}
    const int state = atomic_load(&session->object.state);
    if (state == STATE_ACTIVE || state == STATE_WAITING) say_plain(&session->object, VC_EVENT_CANCELED, epoch, 0);
    unvisit(&session->object);
}

static void session_credit(vc_self self, uint32_t events, uint64_t bytes) {
    session *session = session_of(self);
    if (!session) {
        fault(RULE_NULL_POINTER, NULL, "credit came with a pointer that is no session's");
        return;
    }
    if (!enter_active(session, SLOT_CREDIT)) return;
    if (events == 0 && bytes == 0) fault(RULE_CREDIT, &session->object, "credit gave room for nothing");
    const uint64_t most = 2 * (uint64_t)session->rate_hz * 2;
    if (bytes > most)
        fault(RULE_CREDIT, &session->object, "credit gave room for %llu bytes; 2 s are %llu", (unsigned long long)bytes,
              (unsigned long long)most);
    if (session->object.kind == KIND_LLM) llm_work(session);
    if (session->object.kind == KIND_TTS) tts_work(session);
    leave(&session->object);
}

static void session_close(vc_self self) {
    session *session = session_of(self);
    if (!session) {
        fault(RULE_NULL_POINTER, NULL, "close came with a pointer that is no session's");
        return;
    }
    if (!enter(&session->object, SLOT_CLOSE)) return;
    const int state = atomic_load(&session->object.state);
    if (state == STATE_WAITING || state == STATE_ACTIVE) {
        atomic_store(&session->object.state, STATE_CLOSING);
        if (session->object.kind == KIND_VAD) become_closed(session);
        else later(session, CLOSE_MS); // An answer's timer that is armed already comes as well.
        if (!session->timer_at_ns && session->object.kind != KIND_VAD) become_closed(session);
    } else {
        fault(RULE_CLOSE_TWICE, &session->object, "close was called a second time, in call %s", session->object.name);
    }
    leave(&session->object);
}

static void session_destroy(vc_self self) {
    session *session = session_of(self);
    if (!session) {
        fault(RULE_NULL_POINTER, NULL, "destroy came with a pointer that is no session's");
        return;
    }
    if (!enter(&session->object, SLOT_END)) return;
    const int state = atomic_load(&session->object.state);
    if (state == STATE_WAITING || state == STATE_ACTIVE)
        fault(RULE_MISSING_CLOSE, &session->object, "destroy came without close, in call %s", session->object.name);
    if (state == STATE_CLOSING)
        fault(RULE_BEFORE_CLOSED, &session->object, "destroy came before CLOSED, in call %s", session->object.name);
    atomic_store(&session->object.state, STATE_ENDING);
    provider *provider = session->provider;
    if (atomic_fetch_sub(&provider->sessions, 1) == 1 && atomic_load(&provider->object.state) == STATE_CLOSING)
        say_plain(&provider->object, VC_EVENT_DRAINED, 0, 0);
    count_session(-1);
    leave(&session->object);
    atomic_store(&session->object.state, STATE_RETIRED);
}

const vc_session_ops session_ops = {
    .size = sizeof session_ops,
    .cancel = session_cancel,
    .credit = session_credit,
    .close = session_close,
    .destroy = session_destroy,
};
