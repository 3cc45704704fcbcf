// A telephone line whose transport carries the audio: one WebSocket to a made-up carrier, JSON in both directions, the
// samples in base64. See broken.h, and frames.conform/vendor.json for the carrier.
// SPDX-License-Identifier: Apache-2.0
//
// All that happens is a call of the provider or of one of its sessions; the lock is for the list that both look at.

#include "frames.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-frames", "version": "1.0.0", "title": "A carrier for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": ["wss://carrier.example"], "files": [], "providers": [{
        "kind": "vc.telephony/1", "id": "org.vchost.broken-frames",
        "capabilities": {"profile": "frames", "inbound": true, "outbound": false, "rates": [8000], "formats": ["s16"]},
        "config": {"type": "object", "additionalProperties": false, "properties": {
            "url": {"type": "string", "default": "wss://carrier.example/line", "description": "The carrier."}}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

// MARK: Out

static vc_status emit_plain(session *self, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    return host->emit(self->handle, &event);
}

static void emit_now(session *self, uint32_t type) { emit_plain(self, type, atomic_load(&self->epoch)); }

static void emit_provider(provider *self, uint32_t type) {
    const vc_event event = {.size = sizeof event, .type = type};
    host->emit(self->handle, &event);
}

static void emit_hangup(session *self, uint32_t cause, uint32_t code) {
    const vc_event_hangup event = {
        .head = {.size = sizeof event, .type = VC_EVENT_HANGUP, .epoch = atomic_load(&self->epoch)}, .cause = cause,
        .code = code};
    host->emit(self->handle, &event.head);
}

static void emit_played(session *self, uint64_t mark, uint32_t cleared) {
    const vc_event_played event = {
        .head = {.size = sizeof event, .type = VC_EVENT_PLAYED, .epoch = atomic_load(&self->epoch)},
        .mark = BREAKS(VC_TEL_69) ? 0 : mark, .cleared = BREAKS(VC_TEL_70) ? 0 : cleared};
    host->emit(self->handle, &event.head);
    if (BREAKS(VC_TEL_08) && !cleared) host->emit(self->handle, &event.head);
}

static void emit_frame(session *self, const int16_t *samples, uint32_t count) {
    const vc_frame frame = {
        .size = sizeof frame, .format = VC_FORMAT_S16, .rate_hz = BREAKS(VC_TEL_66) ? 16000 : RATE_HZ, .channels = 1,
        .samples = count, .sequence = self->sequence, .position = BREAKS(VC_TEL_05) ? 0 : self->position,
        .captured_ns = the_clock->now_ns(), .epoch = atomic_load(&self->epoch), .data = samples, .bytes = count * 2};
    const vc_event_frame event = {
        .head = {.size = sizeof event, .type = VC_EVENT_FRAME, .epoch = frame.epoch}, .frame = &frame};
    // The line does not wait: what the host has no room for is lost, and its place stays empty.
    host->emit(self->handle, &event.head);
    self->sequence++;
    self->position += count;
}

static vc_status send_text(provider *self, const char *text) {
    return self->socket ? sockets->send(self->socket, str(text), 0) : VC_E_CLOSED;
}

static vc_status send_event(provider *self, const char *event, const char *id) {
    char text[NAME_MAX_BYTES + 64];
    snprintf(text, sizeof text, "{\"event\":\"%s\",\"call\":\"%s\"}", event, id);
    return send_text(self, text);
}

static void send_refusal(provider *self, const char *id, uint32_t code) {
    char text[NAME_MAX_BYTES + 64];
    snprintf(text, sizeof text, "{\"event\":\"refuse\",\"call\":\"%s\",\"code\":%u}", id, code);
    send_text(self, text);
}

// MARK: Calls

static call *call_by_id(provider *self, const char *id) {
    pthread_mutex_lock(&self->lock);
    call *found = self->calls;
    while (found && strcmp(found->id, id) != 0) found = found->next;
    pthread_mutex_unlock(&self->lock);
    return found;
}

// With `cause` 0 the host is told nothing: it ended the call by itself.
static void call_over(provider *self, call *one, uint32_t cause, uint32_t code) {
    pthread_mutex_lock(&self->lock);
    call **at = &self->calls;
    while (*at != one) at = &(*at)->next;
    *at = one->next;
    self->call_count--;
    pthread_mutex_unlock(&self->lock);
    session *its = one->session;
    if (its) its->call = NULL;
    if (its && cause) emit_hangup(its, cause, code);
    free(one);
}

static void call_hang_up(provider *self, call *one, uint32_t cause, uint32_t code) {
    if (one->state == OFFERED || one->state == TAKEN) send_refusal(self, one->id, code ? code : 480);
    else send_event(self, "end", one->id);
    call_over(self, one, cause, code);
}

static void withdraw(provider *self, const call *gone) {
    const vc_event_withdrawn event = {
        .head = {.size = sizeof event, .type = VC_EVENT_WITHDRAWN}, .key = str(gone->id)};
    host->emit(self->handle, &event.head);
}

// MARK: What the carrier says

// The text of a member; compact JSON, whose texts have no escapes here.
static void member(const char *text, const char *name, char *value, size_t room) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, "\"%s\":\"", name);
    const char *at = strstr(text, wanted);
    size_t length = 0;
    for (at = at ? at + strlen(wanted) : ""; *at && *at != '"' && length + 1 < room; at++) value[length++] = *at;
    value[length] = 0;
}

static void take_call(provider *self, const char *id, const char *text) {
    char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES];
    member(text, "from", from, sizeof from);
    member(text, "to", to, sizeof to);
    call *one = self->is_draining || self->call_count == CALLS_MAX ? NULL : calloc(1, sizeof *one);
    if (!one) {
        send_refusal(self, id, 503);
        return;
    }
    snprintf(one->id, sizeof one->id, "%s", id);
    pthread_mutex_lock(&self->lock);
    one->next = self->calls;
    self->calls = one;
    self->call_count++;
    pthread_mutex_unlock(&self->lock);
    const vc_event_incoming event = {
        .head = {.size = sizeof event, .type = VC_EVENT_INCOMING}, .key = str(one->id), .from = str(from), .to = str(to),
        .peer = VC_STR("carrier.example"), .protocol_call = str(one->id)};
    host->emit(self->handle, &event.head);
}

static void take_media(provider *self, call *one, const char *text, size_t length) {
    int16_t samples[SAMPLES_MAX];
    const char *payload = strstr(text, "\"payload\":\"");
    session *its = BREAKS(VC_TEL_21) ? self->latest : one->session;
    if (!payload || !its) return;
    if (one->state != UP && !BREAKS(VC_TEL_67)) return;
    payload += strlen("\"payload\":\"");
    const char *end = memchr(payload, '"', length - (size_t)(payload - text));
    const size_t count = decode(payload, end ? (size_t)(end - payload) : 0, (uint8_t *)samples, sizeof samples);
    if (count >= 2) emit_frame(its, samples, (uint32_t)count / 2);
}

static void take_mark(call *one, const char *text) {
    char name[24];
    session *its = one->session;
    member(text, "name", name, sizeof name);
    const uint64_t mark = strtoull(name, NULL, 10);
    for (uint32_t i = 0; its && i < its->mark_count; i++) {
        if (its->marks[i] != mark) continue;
        its->mark_count--;
        memmove(its->marks + i, its->marks + i + 1, (its->mark_count - i) * sizeof *its->marks);
        emit_played(its, mark, 0);
        return;
    }
}

static void on_message(void *context, vc_handle socket, vc_str bytes, uint32_t binary) {
    (void)socket;
    provider *self = context;
    char text[MESSAGE_MAX], event[16], id[NAME_MAX_BYTES];
    if (binary || bytes.length >= sizeof text) return;
    copy(text, sizeof text, bytes);
    member(text, "event", event, sizeof event);
    member(text, "call", id, sizeof id);
    call *one = id[0] ? call_by_id(self, id) : NULL;
    if (!one) {
        if (id[0] && strcmp(event, "call") == 0) take_call(self, id, text);
    } else if (strcmp(event, "confirmed") == 0 && one->state == ANSWERING) {
        one->state = UP;
        emit_now(one->session, VC_EVENT_ANSWERED);
    } else if (strcmp(event, "ended") == 0) {
        if (one->state == OFFERED) withdraw(self, one);
        call_over(self, one, one->state == UP ? VC_HANGUP_CALLER : VC_HANGUP_CANCELED, 0);
    } else if (strcmp(event, "media") == 0) take_media(self, one, text, bytes.length);
    else if (strcmp(event, "mark") == 0) take_mark(one, text);
}

// MARK: The connection

static void on_opened(void *context, vc_handle socket) {
    (void)socket;
    provider *self = context;
    if (!self->is_ready) emit_provider(self, VC_EVENT_READY);
    self->is_ready = 1;
}

static void on_closed(void *context, vc_handle socket, uint32_t code, vc_str reason, const vc_error *error);
static const vc_ws_events line_events = {
    .size = sizeof line_events, .opened = on_opened, .message = on_message, .closed = on_closed};

static void connect_line(void *context, vc_handle timer) {
    (void)timer;
    provider *self = context;
    const vc_ws_connect request = {.size = sizeof request, .url = str(self->url)};
    if (sockets->connect(self->handle, &request, &line_events, self, &self->socket) != VC_OK) self->socket = 0;
}

static void on_closed(void *context, vc_handle socket, uint32_t code, vc_str reason, const vc_error *error) {
    (void)socket, (void)code, (void)reason;
    provider *self = context;
    self->socket = 0;
    while (self->calls) {
        if (!self->calls->session) withdraw(self, self->calls);
        call_over(self, self->calls, BREAKS(VC_TEL_73) ? 0 : VC_HANGUP_FAILED, 0);
    }
    if (self->is_draining) return;
    if (!self->is_ready) {
        vc_error unknown = {.size = sizeof unknown, .code = VC_E_NETWORK, .message = VC_STR("the carrier hung up")};
        const vc_event_error event = {
            .head = {.size = sizeof event, .type = VC_EVENT_ERROR}, .error = error ? error : &unknown, .fatal = 1};
        host->emit(self->handle, &event.head);
        return;
    }
    vc_handle handle;
    if (!BREAKS(VC_TEL_74))
        timers->arm(self->handle, the_clock->now_ns() + AGAIN_MS * 1000000ull, connect_line, self, &handle);
}

// MARK: The session's slots

static vc_status answer(vc_self state) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (!self->call || self->call->state != TAKEN) return VC_OK;
    self->call->state = ANSWERING;
    return send_event(self->owner, "answer", self->call->id);
}

static vc_status hangup(vc_self state, uint32_t code, vc_str reason) {
    (void)reason;
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (self->call) call_hang_up(self->owner, self->call, VC_HANGUP_AGENT, code);
    return VC_OK;
}

// What a broken one sends too late.
typedef struct late { session *self; uint32_t flush_count; char text[]; } late;

static void send_late(void *context, vc_handle timer) {
    (void)timer;
    late *it = context;
    if (BREAKS(VC_TEL_75) || it->flush_count == it->self->flush_count) send_text(it->self->owner, it->text);
    free(it);
}

static vc_status send_in(session *self, const char *text, uint32_t ms) {
    late *it = malloc(sizeof *it + strlen(text) + 1);
    it->self = self;
    it->flush_count = self->flush_count;
    strcpy(it->text, text);
    vc_handle handle;
    const vc_status status = timers->arm(self->handle, the_clock->now_ns() + ms * 1000000ull, send_late, it, &handle);
    if (status != VC_OK) free(it);
    return status;
}

static vc_status play(vc_self state, const vc_frame *frame) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (!self->call || self->call->state != UP) return VC_E_STATE;
    if (frame->format != VC_FORMAT_S16 || frame->rate_hz != RATE_HZ || frame->samples > SAMPLES_MAX)
        return VC_E_UNSUPPORTED;
    char text[MESSAGE_MAX];
    int length = snprintf(text, sizeof text, "{\"event\":\"media\",\"call\":\"%s\",\"payload\":\"", self->call->id);
    length += (int)encode(frame->data, frame->bytes, text + length);
    strcpy(text + length, "\"}");
    if (BREAKS(VC_TEL_76) && ++self->played % 2) return VC_OK;
    if (BREAKS(VC_TEL_06)) return send_in(self, text, 500);
    if (BREAKS(VC_TEL_75)) return send_in(self, text, 40);
    const vc_status status = send_text(self->owner, text);
    return BREAKS(VC_TEL_68) && status == VC_E_AGAIN ? VC_OK : status;
}

static vc_status mark(vc_self state, uint64_t number) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (!self->call || self->call->state != UP) return VC_E_STATE;
    if (self->mark_count == MARKS_MAX) return VC_E_AGAIN;
    if (BREAKS(VC_TEL_72)) {
        emit_played(self, number, 0);
        return VC_OK;
    }
    char text[NAME_MAX_BYTES + 96];
    snprintf(text, sizeof text, "{\"event\":\"mark\",\"call\":\"%s\",\"name\":\"%llu\"}", self->call->id,
             (unsigned long long)number);
    const vc_status status = send_text(self->owner, text);
    if (status == VC_OK) self->marks[self->mark_count++] = number;
    return status;
}

static vc_status flush(vc_self state) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (!self->call || self->call->state != UP) return VC_E_STATE;
    self->flush_count++;
    const vc_status status = BREAKS(VC_TEL_07) ? VC_OK : send_event(self->owner, "clear", self->call->id);
    const uint32_t count = BREAKS(VC_TEL_71) && self->mark_count ? 1 : self->mark_count;
    self->mark_count = 0;
    for (uint32_t i = 0; i < count; i++) emit_played(self, self->marks[i], 1);
    return status;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known < epoch && !self->is_closed) emit_plain(self, VC_EVENT_CANCELED, epoch);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) { (void)state, (void)events, (void)bytes; }

static void close_session(vc_self state) {
    session *self = state;
    self->is_closed = 1;
    if (self->call) call_hang_up(self->owner, self->call, 0, 0);
    emit_now(self, VC_EVENT_CLOSED);
}

static void say_when_drained(provider *self) {
    if (!self->is_draining || self->session_count > 0 || self->was_drained) return;
    self->was_drained = 1;
    if (self->socket) sockets->close(self->socket, 1000, (vc_str){0});
    emit_provider(self, VC_EVENT_DRAINED);
}

static void destroy_session(vc_self state) {
    session *self = state;
    provider *owner = self->owner;
    if (self->call) call_hang_up(owner, self->call, 0, 0);
    if (owner->latest == self) owner->latest = NULL;
    owner->session_count--;
    free(self);
    say_when_drained(owner);
}

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_telephony_frames_ops frames_ops = {.size = sizeof frames_ops, .play = play, .mark = mark, .flush = flush};
static const vc_telephony_ops line_ops = {
    .size = sizeof line_ops, .answer = answer, .hangup = hangup, .frames = &frames_ops};

// MARK: The provider's slots

static vc_status fail(vc_error *error, vc_status code, const char *message) {
    error->code = code;
    error->message = str(message);
    return code;
}

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    sockets = host->service(VC_SERVICE_WS);
    timers = host->service(VC_SERVICE_TIMER);
    the_clock = host->service(VC_SERVICE_CLOCK);
    if (!config || !sockets || !timers || !the_clock)
        return fail(error, VC_E_UNSUPPORTED, "the line needs vc.config/1, vc.ws/1, vc.timer/1 and vc.clock/1 of the host");
    provider *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    vc_str url = VC_STR("wss://carrier.example/line");
    config->text(request->provider, "url", &url);
    copy(self->url, sizeof self->url, url);
    self->handle = request->provider;
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return VC_OK;
}

static vc_status start(vc_self state, vc_error *error) {
    provider *self = state;
    connect_line(self, 0);
    return self->socket ? VC_OK : fail(error, VC_E_NETWORK, "no connection to the carrier can be made: check `url`");
}

static void drain(vc_self state) {
    provider *self = state;
    self->is_draining = 1;
    for (call *one = self->calls, *next; one; one = next) {
        next = one->next;
        if (one->state == OFFERED) call_hang_up(self, one, 0, 503);
    }
    say_when_drained(self);
}

static void destroy_provider(vc_self state) {
    provider *self = state;
    while (self->calls) {
        call *next = self->calls->next;
        free(self->calls);
        self->calls = next;
    }
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    provider *owner = state;
    const vc_telephony_open *kind = request->kind;
    if (!kind) return fail(error, VC_E_ARGUMENT, "a line needs vc_telephony_open");
    const int is_inbound = kind->direction == VC_CALL_INBOUND;
    if (!is_inbound && !BREAKS(VC_TEL_48)) return fail(error, VC_E_UNSUPPORTED, "this line is for calls that come in");
    if (request->rate_hz != RATE_HZ) return fail(error, VC_E_UNSUPPORTED, "this line has 8000 Hz, open it with them");
    char key[NAME_MAX_BYTES];
    copy(key, sizeof key, kind->key);
    call *one = call_by_id(owner, key);
    if (is_inbound && (!one || one->state != OFFERED))
        return fail(error, VC_E_NOT_FOUND, "no call has this key: it is gone");
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->owner = owner;
    self->handle = request->session;
    self->call = one;
    if (one) one->session = self, one->state = TAKEN;
    owner->latest = self;
    owner->session_count++;
    atomic_init(&self->epoch, request->epoch);
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &line_ops;
    emit_now(self, VC_EVENT_READY);
    return VC_OK;
}

static vc_status decline(vc_self state, vc_str key, uint32_t code, uint32_t retry_after_s) {
    (void)retry_after_s;
    provider *self = state;
    char id[NAME_MAX_BYTES];
    copy(id, sizeof id, key);
    call *one = call_by_id(self, id);
    if (one && one->state == OFFERED) call_hang_up(self, one, 0, code);
    return VC_OK;
}

static const vc_telephony_provider_ops line_provider_ops = {.size = sizeof line_provider_ops, .decline = decline};
static const vc_provider line = {
    .size = sizeof line, .kind = VC_STR(VC_KIND_TELEPHONY), .id = VC_STR("org.vchost.broken-frames"), .create = create,
    .start = start, .drain = drain, .destroy = destroy_provider, .open = open_session, .kind_ops = &line_provider_ops};
static const vc_provider *const providers[] = {&line};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}
