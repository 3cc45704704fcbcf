/*  Who calls what, and when: the checks that hold for every object, whatever its kind.

    `enter` and `leave` stand around every VC_CONTROL call, `visit` and `unvisit` around those that may overlap. They
    know the thread by its id, and the emits under way by a variable of the thread.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "hostcheck.h"

const char *const kind_names[KIND_COUNT] = {"stt", "llm", "tts", "turn", "vad"};

static session sessions[SESSIONS_MAX];
static provider providers[PROVIDERS_MAX];
static _Atomic uint32_t next_session, next_provider;
/// The object whose event this thread is emitting, or whose service it is asking.
static _Thread_local const object *emitting;

#define SLOT_ID(name, id) id,
static const char *const slot_ids[] = {SLOTS(SLOT_ID)};

static int is_free(const object *object) {
    const int state = atomic_load(&object->state);
    return state == STATE_NONE || state == STATE_RETIRED;
}

session *take_session(provider *owner) {
    for (uint32_t tries = 0; tries < SESSIONS_MAX; tries++) {
        session *found = &sessions[atomic_fetch_add(&next_session, 1) % SESSIONS_MAX];
        if (!is_free(&found->object)) continue;
        memset(found, 0, sizeof *found);
        found->provider = owner;
        found->object.kind = owner->object.kind;
        atomic_store(&found->object.state, STATE_OPENING);
        return found;
    }
    return NULL;
}

provider *take_provider(kind kind) {
    for (uint32_t tries = 0; tries < PROVIDERS_MAX; tries++) {
        provider *found = &providers[atomic_fetch_add(&next_provider, 1) % PROVIDERS_MAX];
        if (!is_free(&found->object)) continue;
        memset(found, 0, sizeof *found);
        found->object.kind = kind;
        atomic_store(&found->object.state, STATE_OPENING);
        return found;
    }
    return NULL;
}

/// The session behind a pointer that came from the host; NULL when it is none of ours.
session *session_of(vc_self self) {
    const uintptr_t at = (uintptr_t)self, begin = (uintptr_t)sessions;
    if (at < begin || at >= begin + sizeof sessions || (at - begin) % sizeof(session) != 0) return NULL;
    return self;
}

void each_session(void (*look)(void *context, session *session), void *context) {
    for (uint32_t index = 0; index < SESSIONS_MAX; index++) look(context, &sessions[index]);
}

static uintptr_t this_thread(void) { return (uintptr_t)pthread_self(); }

static int is_gone(object *object, int slot) {
    const int state = atomic_load(&object->state);
    if (state == STATE_RETIRED || state == STATE_NONE) {
        fault(RULE_AFTER_DESTROY, object, "%s was called after destroy, for %s", slot_ids[slot], object->name);
        return 1;
    }
    if (state == STATE_ENDING || (state == STATE_OPENING && slot != SLOT_CREATE)) {
        fault(RULE_OVERLAPS_END, object, "%s was called while %s of %s ran", slot_ids[slot],
              state == STATE_ENDING ? "destroy" : "create or open", object->name);
        return 1;
    }
    return 0;
}

int enter(object *object, int slot) {
    count(slot);
    if (is_gone(object, slot)) return 0;
    const uintptr_t thread = this_thread();
    if (emitting == object)
        fault(RULE_NESTED, object, "%s was called from within an emit of the same object", slot_ids[slot]);
    else if (atomic_load(&object->inside) > 0)
        fault(atomic_load(&object->thread) == thread ? RULE_NESTED : RULE_OVERLAP, object,
              "%s was called while another call of the same object ran", slot_ids[slot]);
    if (atomic_fetch_add(&object->inside, 1) == 0) atomic_store(&object->thread, thread);
    if ((slot == SLOT_END || slot == SLOT_DESTROY) && atomic_load(&object->visitors) > 0)
        fault(RULE_OVERLAPS_END, object, "%s was called while cancel or process ran", slot_ids[slot]);
    return 1;
}

void leave(object *object) { atomic_fetch_sub(&object->inside, 1); }

int visit(object *object, int slot) {
    count(slot);
    if (is_gone(object, slot)) return 0;
    atomic_fetch_add(&object->visitors, 1);
    return 1;
}

void unvisit(object *object) { atomic_fetch_sub(&object->visitors, 1); }

int enter_active(session *session, int slot) {
    if (!enter(&session->object, slot)) return 0;
    const int state = atomic_load(&session->object.state);
    if (state == STATE_ACTIVE) return 1;
    fault(state == STATE_WAITING ? RULE_BEFORE_READY : RULE_AFTER_CLOSE, &session->object,
          "%s was called %s, in call %s",
          slot_ids[slot], state == STATE_WAITING ? "before READY" : "after close", session->object.name);
    leave(&session->object);
    return 0;
}

vc_status say(object *object, const vc_event *event) {
    const struct object *outer = emitting;
    emitting = object;
    const vc_status status = host->emit(object->handle, event);
    emitting = outer;
    return status;
}

vc_status say_plain(object *object, uint32_t type, uint64_t epoch, uint64_t request) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch, .request = request};
    return say(object, &event);
}

void check_epoch(session *session, uint64_t epoch, const char *what) {
    const uint64_t canceled = atomic_load(&session->canceled);
    const uint64_t known = session->epoch > canceled ? session->epoch : canceled;
    if (epoch < known)
        fault(RULE_EPOCH_BACK, &session->object, "%s came with epoch %llu after %llu, in call %s", what,
              (unsigned long long)epoch, (unsigned long long)known, session->object.name);
    else
        session->epoch = epoch;
    if (epoch > canceled)
        fault(RULE_EPOCH_UNTOLD, &session->object,
              "%s came with epoch %llu, and cancel with %llu at most, in call %s", what,
              (unsigned long long)epoch, (unsigned long long)canceled, session->object.name);
}

/// 1 when the number is new. Numbers are remembered while `REQUESTS_MAX` newer ones have not come.
int check_request(session *session, uint64_t request) {
    const uint32_t known = session->seen_count < REQUESTS_MAX ? session->seen_count : REQUESTS_MAX;
    for (uint32_t index = 0; index < known; index++)
        if (session->seen[index] == request) {
            fault(RULE_REQUEST_REUSED, &session->object, "request %llu came a second time, in call %s",
                  (unsigned long long)request, session->object.name);
            return 0;
        }
    session->seen[session->seen_count++ % REQUESTS_MAX] = request;
    return 1;
}

int was_taken(session *session, vc_status status, uint64_t epoch, const char *what) {
    const int is_old = epoch < atomic_load(&session->canceled);
    const int is_closing = atomic_load(&session->object.state) != STATE_ACTIVE;
    if (status == VC_E_AGAIN) return 1;
    if (status == VC_OK && is_old && !is_closing)
        fault(RULE_EMIT_ANSWER, &session->object, "emit took %s of epoch %llu, which cancel had ended", what,
              (unsigned long long)epoch);
    if (status == VC_OK) return 1;
    // The epoch may end, and the session close, while the answer is on its way: those two are never wrong.
    if (status != VC_E_CANCELED && status != VC_E_CLOSED)
        fault(RULE_EMIT_ANSWER, &session->object, "emit refused %s with status %d", what, status);
    else if (status == VC_E_CLOSED && !is_closing && session->object.kind != KIND_STT)
        return 0; // The call may be over before the session is told.
    return 0;
}

/// Arms the session's one timer.
void later(session *session, uint32_t after_ms) {
    const vc_timer *timers = host->service(VC_SERVICE_TIMER);
    if (!timers || session->timer_at_ns) return;
    session->timer_at_ns = now_ns() + (uint64_t)after_ms * 1000000;
    vc_handle timer = 0;
    if (timers->arm(session->object.handle, session->timer_at_ns, fired, session, &timer) != VC_OK)
        session->timer_at_ns = 0;
    session->timer = timer;
}
