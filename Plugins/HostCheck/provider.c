/*  The entry, and the five providers: one code for all of them, since a provider's life is the same for every kind.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "hostcheck.h"

const vc_host *host;

static uint64_t hash(uint64_t seed, vc_str text) { // FNV-1a
    for (uint64_t index = 0; index < text.length; index++) seed = (seed ^ (unsigned char)text.data[index])
        * 1099511628211u;
    return (seed ^ 0xff) * 1099511628211u;
}

static void name(object *object, vc_str text) {
    const size_t length = text.length < NAME_MAX_BYTES - 1 ? text.length : NAME_MAX_BYTES - 1;
    if (text.data) memcpy(object->name, text.data, length);
    object->name[length] = 0;
}

static vc_status create(kind kind, const vc_create *request, vc_self *self) {
    provider *provider = take_provider(kind);
    if (!provider) return VC_E_MEMORY;
    const object *object = &provider->object;
    enter(&provider->object, SLOT_CREATE);
    if (!request || !self) {
        fault(RULE_NULL_POINTER, object, "create came without %s", request ? "a place for the provider" : "a request");
        leave(&provider->object);
        atomic_store(&provider->object.state, STATE_RETIRED);
        return VC_E_ARGUMENT;
    }
    provider->object.handle = request->provider;
    check_struct(object, "vc_create", request->size, 48);
    if (request->reserved) fault(RULE_RESERVED, object, "vc_create.reserved is %u", request->reserved);
    if (request->provider == 0) fault(RULE_NULL_POINTER, object, "create came with the handle 0");
    check_text(object, "vc_create.name", request->name, ID_MAX_BYTES);
    name(&provider->object, request->name);
    learn_secret(provider);
    check_configuration(provider, request->config);
    count_provider(1);
    write_report();
    *self = provider;
    leave(&provider->object);
    atomic_store(&provider->object.state, STATE_WAITING);
    return VC_OK;
}

static vc_status start(vc_self self, vc_error *error) {
    provider *provider = self;
    (void)error;
    if (!enter(&provider->object, SLOT_START)) return VC_E_STATE;
    if (atomic_load(&provider->object.state) != STATE_WAITING)
        fault(RULE_PROVIDER_STATE, &provider->object, "start was called twice, or too late, for %s",
              provider->object.name);
    atomic_store(&provider->object.state, STATE_ACTIVE);
    say_plain(&provider->object, VC_EVENT_READY, 0, 0);
    leave(&provider->object);
    return VC_OK;
}

static void drain(vc_self self) {
    provider *provider = self;
    if (!enter(&provider->object, SLOT_DRAIN)) return;
    if (atomic_load(&provider->object.state) != STATE_ACTIVE)
        fault(RULE_PROVIDER_STATE, &provider->object, "drain was called twice, or before start, for %s",
              provider->object.name);
    atomic_store(&provider->object.state, STATE_CLOSING);
    if (atomic_load(&provider->sessions) == 0) say_plain(&provider->object, VC_EVENT_DRAINED, 0, 0);
    leave(&provider->object);
}

static void destroy(vc_self self) {
    provider *provider = self;
    if (!enter(&provider->object, SLOT_DESTROY)) return;
    const uint32_t open = atomic_load(&provider->sessions);
    if (open > 0)
        fault(RULE_MISSING_DESTROY, &provider->object, "%s was destroyed with %u sessions open",
              provider->object.name, open);
    atomic_store(&provider->object.state, STATE_ENDING);
    count_provider(-1);
    write_report();
    leave(&provider->object);
    atomic_store(&provider->object.state, STATE_RETIRED);
}

static const void *const kind_tables[KIND_COUNT] = {&stt_ops, &llm_ops, &tts_ops, &turn_ops, NULL};

static void check_open(session *session, const vc_open *request) {
    const object *object = &session->object;
    const int has_audio = object->kind != KIND_LLM;
    check_struct(object, "vc_open", request->size, 112);
    check_text(object, "vc_open.call", request->call, ID_MAX_BYTES);
    check_text(object, "vc_open.tenant", request->tenant, ID_MAX_BYTES);
    check_text(object, "vc_open.language", request->language, ID_MAX_BYTES);
    if (!check_text(object, "vc_open.leg", request->leg, ID_MAX_BYTES)) return;
    if (!json_equals(request->leg, "caller") && !json_equals(request->leg, "agent"))
        fault(RULE_OPEN, object, "the leg is `%.*s`, and is caller or agent", (int)(request->leg.length % 40),
              request->leg.data ? request->leg.data : "");
    if (request->session == 0 || request->call.length == 0 || request->kind)
        fault(RULE_OPEN, object, "open came with the handle %llx, a call of %llu bytes, and kind %p",
              (unsigned long long)request->session, (unsigned long long)request->call.length, request->kind);
    if (has_audio ? request->rate_hz != 8000 && request->rate_hz != 16000 : request->rate_hz != 0)
        fault(RULE_OPEN, object, "open came with %u Hz", request->rate_hz);
    check_session_configuration(session, request->config);
}

typedef struct search {
    const provider *provider;
    const session *opened;
} search;

static void compare(void *context, session *other) {
    const search *search = context;
    const int state = atomic_load(&other->object.state);
    if (other != search->opened && other->provider == search->provider && other->leg == search->opened->leg &&
        (state == STATE_WAITING || state == STATE_ACTIVE))
        fault(RULE_TWO_SESSIONS, &other->object, "a second session was opened for the same leg of call %s",
              other->object.name);
}

static void check_leg(provider *provider, const session *opened) {
    search search = {provider, opened};
    each_session(compare, &search);
}

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    provider *provider = self;
    (void)error;
    if (!enter(&provider->object, SLOT_OPEN)) return VC_E_STATE;
    if (atomic_load(&provider->object.state) != STATE_ACTIVE)
        fault(RULE_PROVIDER_STATE, &provider->object, "open was called %s, for %s",
              atomic_load(&provider->object.state) == STATE_WAITING ? "before READY" : "after drain",
                  provider->object.name);
    session *session = request && out ? take_session(provider) : NULL;
    if (!session) {
        if (!request || !out) fault(RULE_NULL_POINTER, &provider->object, "open came without a request or a session");
        leave(&provider->object);
        return request && out ? VC_E_MEMORY : VC_E_ARGUMENT;
    }
    session->object.handle = request->session;
    session->rate_hz = request->rate_hz;
    session->epoch = request->epoch;
    atomic_store(&session->canceled, request->epoch);
    name(&session->object, request->call);
    session->leg = hash(hash(14695981039346656037u, request->call), request->leg);
    check_open(session, request);
    check_leg(provider, session);
    check_struct(&session->object, "vc_session", out->size, 32);
    atomic_fetch_add(&provider->sessions, 1);
    count_session(1);
    out->state = session;
    out->ops = &session_ops;
    out->kind_ops = kind_tables[provider->object.kind];
    if (provider->object.kind == KIND_VAD) {
        atomic_store(&session->object.state, STATE_ACTIVE);
    } else {
        atomic_store(&session->object.state, STATE_WAITING);
        if (provider->ready_ms > 0) later(session, provider->ready_ms);
        if (!session->timer_at_ns) become_ready(session);
    }
    leave(&provider->object);
    return VC_OK;
}

#define CREATE_OF(kind)                                                                                                \
    static vc_status create_##kind(const vc_create *request, vc_self *self, vc_error *error) {                         \
        (void)error;                                                                                                   \
        return create(KIND_##kind, request, self);                                                                     \
    }
CREATE_OF(STT)
CREATE_OF(LLM)
CREATE_OF(TTS)
CREATE_OF(TURN)
CREATE_OF(VAD)

#define PROVIDER(name, NAME, table)                                                                                    \
    static const vc_provider name = {.size = sizeof name, .kind = VC_STR(VC_KIND_##NAME),                              \
        .id = VC_STR("org.vchost.hostcheck-" #name), .create = create_##NAME, .start = start, .drain = drain,          \
        .destroy = destroy, .open = open_session, .kind_ops = table}
PROVIDER(stt, STT, NULL);
PROVIDER(llm, LLM, NULL);
PROVIDER(tts, TTS, NULL);
PROVIDER(turn, TURN, NULL);
PROVIDER(vad, VAD, &vad_ops);

static const vc_provider *const all[] = {&stt, &llm, &tts, &turn, &vad};
static const vc_module hostcheck = {sizeof hostcheck, VC_ABI_MINOR, 0, 5, all};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
    host = the_host;
    *module = &hostcheck;
    return VC_OK;
}
