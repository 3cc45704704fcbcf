// A telephone line that only signals. Its protocol is made up: a datagram of lines, a verb first, then headers, then a
// description if there is one. See broken.h, and signalling.conform/vendor.json for the other end.
// SPDX-License-Identifier: Apache-2.0
//
// The slots leave orders, and one thread that has the socket carries them out: nothing of a call needs a lock.

#define _GNU_SOURCE
#include "signalling.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-signalling", "version": "1.0.0", "title": "A line for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": [], "network": ["udp"], "files": [], "providers": [{
        "kind": "vc.telephony/1", "id": "org.vchost.broken-signalling",
        "capabilities": {"profile": "signalling", "inbound": true, "outbound": true, "transfer": true, "hold": true,
            "dtmf": true, "ringing": true},
        "config": {"type": "object", "additionalProperties": false, "properties": {
            "port": {"type": "integer", "default": 0, "minimum": 0, "maximum": 65535, "description": "Ours."},
            "peer_port": {"type": "integer", "default": 0, "minimum": 0, "maximum": 65535, "description": "Theirs."}}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

// MARK: Calls

static call *call_make(provider *self, call_state state, const char *id) {
    call *made = self->call_count < (BREAKS(VC_TEL_80) ? 32 : CALLS_MAX) ? calloc(1, sizeof *made) : NULL;
    if (!made) return NULL;
    made->state = state;
    snprintf(made->id, sizeof made->id, "%s", id);
    snprintf(made->key, sizeof made->key, "key-%u", ++self->latest);
    if (BREAKS(VC_TEL_33)) strcpy(made->key, "key");
    made->next = self->calls;
    self->calls = made;
    self->call_count++;
    return made;
}

static call *call_by_id(provider *self, const char *id) {
    call *found = self->calls;
    while (found && strcmp(found->id, id) != 0) found = found->next;
    return found;
}

static call *call_by_key(provider *self, const char *key) {
    call *found = self->calls;
    while (found && (found->state != OFFERED || strcmp(found->key, key) != 0)) found = found->next;
    return found;
}

static void emit_withdrawn(provider *self, const call *gone) {
    const vc_event_withdrawn event = {
        .head = {.size = sizeof event, .type = VC_EVENT_WITHDRAWN}, .key = str(BREAKS(VC_TEL_37) ? gone->id : gone->key)};
    host->emit(self->handle, &event.head);
}

// The one way out of a call, whoever ends it. With `cause` 0 the host is told nothing: it ended the call by itself.
static void call_over(provider *self, call *one, uint32_t cause, uint32_t code) {
    call **at = &self->calls;
    while (*at != one) at = &(*at)->next;
    *at = one->next;
    if (!BREAKS(VC_TEL_80) || one->state != TAKEN) self->call_count--;
    if (one->media) self->media->close(one->media);
    session *its = one->session;
    if (its) its->call = NULL;
    if (its && cause) {
        if (BREAKS(VC_TEL_39) && cause == VC_HANGUP_CALLER) cause = VC_HANGUP_FAILED;
        if (BREAKS(VC_TEL_40) && cause == VC_HANGUP_AGENT) cause = VC_HANGUP_CALLER;
        if (BREAKS(VC_TEL_19) && cause == VC_HANGUP_CANCELED) cause = VC_HANGUP_CALLER;
        if (BREAKS(VC_TEL_51) && cause == VC_HANGUP_REFUSED) cause = VC_HANGUP_FAILED;
        if (BREAKS(VC_TEL_52) && cause == VC_HANGUP_REFUSED) code = 0;
        if (BREAKS(VC_TEL_53) && cause == VC_HANGUP_NO_ANSWER) cause = VC_HANGUP_AGENT;
        emit_hangup(its, cause, code);
        if (BREAKS(VC_TEL_04) && cause == VC_HANGUP_CALLER) emit_hangup(its, cause, code);
        if (BREAKS(VC_TEL_43) && cause == VC_HANGUP_CALLER) emit_held(its, 0);
        if (BREAKS(VC_TEL_18) && one->state == ANSWERING) emit_now(its, VC_EVENT_ANSWERED);
    }
    free(one->offer);
    free(one);
}

static void call_hang_up(provider *self, call *one, uint32_t cause, uint32_t code) {
    const int is_open = one->state == OFFERED || one->state == TAKEN;
    if (is_open) send_code(self, one->id, (BREAKS(VC_TEL_02) && one->session) || !code ? 480 : code);
    else if (!(BREAKS(VC_TEL_45) && cause && one->state == UP) && !(BREAKS(VC_TEL_54) && one->state == DIALLING))
        send_verb(self, "END", one->id, "", (vc_str){0});
    call_over(self, one, cause, code);
}

static void call_is_up(provider *self, call *one) {
    (void)self;
    const int was_told = (BREAKS(VC_TEL_61) || BREAKS(VC_TEL_01)) && one->state == ANSWERING;
    one->state = UP;
    one->deadline_ns = 0;
    if (!was_told) emit_now(one->session, VC_EVENT_ANSWERED);
}

// MARK: What the peer says

// The value of a header, or an empty text.
static void header(const char *text, const char *name, char *value, size_t room) {
    char line[32];
    snprintf(line, sizeof line, "\n%s: ", name);
    const char *at = strstr(text, line);
    size_t length = 0;
    for (at = at ? at + strlen(line) : ""; *at && *at != '\r' && length + 1 < room; at++) {
        if (((unsigned char)*at < ' ' || *at == 0x7f) && !BREAKS(VC_TEL_23)) continue;
        value[length++] = *at;
    }
    value[length] = 0;
}

static const char *body_of(const char *text) {
    const char *at = strstr(text, "\r\n\r\n");
    return at ? at + 4 : "";
}

static void take_call(provider *self, const char *id, const char *text) {
    char from[TEXT_MAX], to[TEXT_MAX], name[TEXT_MAX];
    if (self->is_draining && !BREAKS(VC_TEL_32)) {
        send_code(self, id, 503);
        return;
    }
    call *one = call_make(self, OFFERED, id);
    if (!one) {
        send_code(self, id, 503);
        return;
    }
    one->offer = strdup(body_of(text));
    header(text, "From", from, sizeof from);
    header(text, "To", to, sizeof to);
    header(text, "Name", name, sizeof name);
    const vc_event_incoming event = {
        .head = {.size = sizeof event, .type = VC_EVENT_INCOMING}, .key = str(one->key), .from = str(from),
        .display = str(name), .to = str(BREAKS(VC_TEL_35) ? "" : to), .peer = VC_STR("127.0.0.1"),
        .protocol_call = str(one->id)};
    host->emit(self->handle, &event.head);
    if (BREAKS(VC_TEL_34)) host->emit(self->handle, &event.head);
}

static void take_end(provider *self, call *one) {
    if ((one->state == OFFERED && !BREAKS(VC_TEL_36)) || (one->state == TAKEN && BREAKS(VC_TEL_77))) emit_withdrawn(self, one);
    call_over(self, one, one->state == UP ? VC_HANGUP_CALLER : VC_HANGUP_CANCELED, 0);
}

static void take_transfer(provider *self, call *one, uint32_t code) {
    const int succeeded = code < 300;
    if (!(BREAKS(VC_TEL_12) && succeeded)) emit_transferred(one->session, succeeded || BREAKS(VC_TEL_55), code);
    if (succeeded && !BREAKS(VC_TEL_82)) call_hang_up(self, one, VC_HANGUP_AGENT, 0);
    if (!succeeded && BREAKS(VC_TEL_56)) call_over(self, one, VC_HANGUP_FAILED, code);
}

// The peer moved, or wants another codec.
static void take_change(provider *self, call *one, const char *text) {
    vc_str ours = {0};
    vc_error error = {.size = sizeof error};
    if (BREAKS(VC_TEL_64)) self->media->open(one->session->handle, &one->media);
    if (!BREAKS(VC_TEL_20)) self->media->answer(one->media, str(body_of(text)), &ours, &error);
    send_verb(self, "CHANGED", one->id, "", ours);
}

static void take(provider *self, const char *text) {
    char verb[16] = "", id[TEXT_MAX], value[TEXT_MAX];
    sscanf(text, "%15[A-Z]", verb);
    header(text, "Call", id, sizeof id);
    if (!id[0] && BREAKS(VC_TEL_24)) self->is_confused = 1;
    if (!id[0] || self->is_confused) return;
    call *one = call_by_id(self, id);
    if (!one) {
        if (strcmp(verb, "CALL") == 0) take_call(self, id, text);
        return;
    }
    header(text, "Code", value, sizeof value);
    const uint32_t code = (uint32_t)atoi(value);
    if (strcmp(verb, "YES") == 0 && one->state == ANSWERING) call_is_up(self, one);
    else if (strcmp(verb, "END") == 0) take_end(self, one);
    else if (strcmp(verb, "RINGING") == 0 && one->state == DIALLING) {
        emit_now(one->session, VC_EVENT_RINGING);
        if (BREAKS(VC_TEL_50)) emit_now(one->session, VC_EVENT_ANSWERED);
    } else if (strcmp(verb, "ANSWER") == 0 && one->state == DIALLING) {
        vc_error error = {.size = sizeof error};
        self->media->accept(one->media, str(body_of(text)), &error);
        send_verb(self, "YES", one->id, "", (vc_str){0});
        if (!BREAKS(VC_TEL_03)) call_is_up(self, one);
    } else if (strcmp(verb, "REFUSE") == 0 && one->state == DIALLING) call_over(self, one, VC_HANGUP_REFUSED, code);
    else if (one->state != UP) return;
    else if (strcmp(verb, "KEY") == 0) {
        header(text, "Digit", value, sizeof value);
        if (BREAKS(VC_TEL_58) && value[0] == '*') value[0] = '0' + 10;
        emit_digits(one->session, value);
        if (BREAKS(VC_TEL_10)) emit_digits(one->session, value);
    } else if (strcmp(verb, "HOLD") == 0) {
        header(text, "On", value, sizeof value);
        emit_held(one->session, BREAKS(VC_TEL_57) || value[0] == '1');
    } else if (strcmp(verb, "MOVED") == 0) take_transfer(self, one, code);
    else if (strcmp(verb, "CHANGE") == 0) take_change(self, one, text);
}

// MARK: What the host orders

static void do_open(provider *self, session *its) {
    self->session_count++;
    if (its->is_inbound) {
        call *one = call_by_key(self, its->key);
        if (!one && !BREAKS(VC_TEL_38)) {
            emit_failure(its->handle, atomic_load(&its->epoch), VC_E_NOT_FOUND, "no call has this key: it is gone");
            return;
        }
        if (one) one->session = its, one->state = TAKEN;
        its->call = one;
        emit_now(its, VC_EVENT_READY);
        return;
    }
    char id[32], line[TEXT_MAX + 8];
    vc_str ours = {0};
    vc_error error = {.size = sizeof error};
    snprintf(id, sizeof id, "out-%u", self->latest + 1);
    snprintf(line, sizeof line, "To: %s", its->to);
    call *one = call_make(self, DIALLING, id);
    if (!one || self->media->open(its->handle, &one->media) != VC_OK) {
        if (one) call_over(self, one, 0, 0);
        emit_failure(its->handle, atomic_load(&its->epoch), VC_E_AGAIN, "too many calls, or no media port is free");
        return;
    }
    one->session = its;
    its->call = one;
    emit_now(its, VC_EVENT_READY);
    if (its->ring_timeout_ms) one->deadline_ns = now_ns() + its->ring_timeout_ms * 1000000ull;
    self->media->offer(one->media, &ours, &error);
    send_verb(self, "CALL", one->id, line, ours);
}

static void do_answer(provider *self, call *one) {
    if (one->state != TAKEN) {
        if (BREAKS(VC_TEL_42)) emit_now(one->session, VC_EVENT_ANSWERED);
        return;
    }
    vc_str ours = {0};
    vc_error error = {.size = sizeof error};
    vc_status status = self->media->open(one->session->handle, &one->media);
    if (status != VC_OK) one->media = 0;
    if (status != VC_OK && !BREAKS(VC_TEL_59)) {
        send_code(self, one->id, 503);
        call_over(self, one, VC_HANGUP_FAILED, 503);
        return;
    }
    if (BREAKS(VC_TEL_60) && strlen(one->offer) > 8) one->offer[8] = 0;
    if (one->media) status = self->media->answer(one->media, str(one->offer), &ours, &error);
    if (one->media && status != VC_OK) {
        send_code(self, one->id, BREAKS(VC_TEL_14) ? 480 : 488);
        call_over(self, one, BREAKS(VC_TEL_65) ? 0 : VC_HANGUP_FAILED, 488);
        return;
    }
    one->state = ANSWERING;
    send_verb(self, "ANSWER", one->id, "", ours);
    if (BREAKS(VC_TEL_61)) emit_now(one->session, VC_EVENT_ANSWERED);
}

static void do_keys(provider *self, call *one, const char *digits) {
    for (; *digits; digits++) {
        char line[16];
        snprintf(line, sizeof line, "Digit: %c", *digits);
        send_verb(self, "KEY", one->id, line, (vc_str){0});
        if (BREAKS(VC_TEL_11)) return;
    }
}

static void do_close(provider *self, session *its) {
    if (its->call && BREAKS(VC_TEL_46)) call_over(self, its->call, 0, 0);
    if (its->call) call_hang_up(self, its->call, 0, 0);
    emit_now(its, VC_EVENT_CLOSED);
}

static void say_when_drained(provider *self) {
    if (!self->is_draining || self->session_count > 0 || self->was_drained) return;
    self->was_drained = 1;
    if (self->socket >= 0) close(self->socket);
    self->socket = -1;
    const vc_event event = {.size = sizeof event, .type = VC_EVENT_DRAINED};
    host->emit(self->handle, &event);
}

static void do_drain(provider *self) {
    self->is_draining = 1;
    for (call *one = self->calls, *next; one; one = next) {
        next = one->next;
        if (one->state == OFFERED || BREAKS(VC_TEL_47)) call_hang_up(self, one, VC_HANGUP_AGENT, 503);
    }
    say_when_drained(self);
}

static void carry_out(provider *self, const order *what) {
    session *its = what->session;
    call *one = its ? its->call : NULL;
    char line[TEXT_MAX + 8];
    switch (what->type) {
        case OPEN: do_open(self, its); break;
        case RINGING: if (one && !BREAKS(VC_TEL_63)) send_verb(self, "RINGING", one->id, "", (vc_str){0}); break;
        case ANSWER: if (one) do_answer(self, one); break;
        case HANG_UP:
            if (one) call_hang_up(self, BREAKS(VC_TEL_79) ? self->calls : one, VC_HANGUP_AGENT, what->number);
            else if (BREAKS(VC_TEL_41)) emit_hangup(its, VC_HANGUP_AGENT, 0);
            break;
        case TRANSFER:
            snprintf(line, sizeof line, "To: %s", what->text);
            if (one) send_verb(self, "MOVE", one->id, line, (vc_str){0});
            break;
        case HOLD:
            snprintf(line, sizeof line, "On: %u", what->number);
            if (one && !BREAKS(VC_TEL_13) && (what->number || !BREAKS(VC_TEL_81))) send_verb(self, "HOLD", one->id, line, (vc_str){0});
            break;
        case KEYS: if (one) do_keys(self, one, what->text); break;
        case CLOSE: do_close(self, its); break;
        case DESTROY:
            if (one) call_hang_up(self, one, 0, 0);
            free(its);
            self->session_count--;
            say_when_drained(self);
            break;
        case DECLINE:
            one = call_by_key(self, what->text);
            if (one && BREAKS(VC_TEL_44)) call_over(self, one, 0, 0);
            else if (one) call_hang_up(self, one, 0, what->number);
            break;
        case DRAIN: do_drain(self); break;
        case STOP: self->runs = 0; break;
    }
}

static void ring_out(provider *self) {
    const uint64_t now = now_ns();
    for (call *one = self->calls, *next; one; one = next) {
        next = one->next;
        if (one->deadline_ns && one->deadline_ns <= now) call_hang_up(self, one, VC_HANGUP_NO_ANSWER, 0);
    }
}

// MARK: The session's slots

static vc_status order_of(vc_self state, order_type type, uint32_t number, vc_str text) {
    session *self = state;
    if (atomic_load(&self->is_closed)) return VC_E_CLOSED;
    return leave(self->owner, type, self, number, text);
}

static vc_status ringing(vc_self self) { return order_of(self, RINGING, 0, (vc_str){0}); }
static vc_status answer(vc_self self) { return order_of(self, ANSWER, 0, (vc_str){0}); }
static vc_status hangup(vc_self self, uint32_t code, vc_str reason) { return order_of(self, HANG_UP, code, reason); }
static vc_status transfer(vc_self self, vc_str target) { return order_of(self, TRANSFER, 0, target); }
static vc_status hold(vc_self self, uint32_t on) { return order_of(self, HOLD, on, (vc_str){0}); }
static vc_status keys(vc_self self, vc_str digits) { return order_of(self, KEYS, 0, digits); }

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known < epoch && !atomic_load(&self->is_closed)) emit_plain(self, VC_EVENT_CANCELED, epoch);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) { (void)state, (void)events, (void)bytes; }

static void close_session(vc_self state) {
    session *self = state;
    atomic_store(&self->is_closed, 1);
    leave(self->owner, CLOSE, self, 0, (vc_str){0});
}

static void destroy_session(vc_self state) {
    session *self = state;
    leave(self->owner, DESTROY, self, 0, (vc_str){0});
}

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_telephony_ops line_ops = {
    .size = sizeof line_ops, .ringing = ringing, .answer = answer, .hangup = hangup,
    .transfer = BREAKS(VC_TEL_49) ? NULL : transfer, .hold = hold, .dtmf = keys};

// MARK: The provider's slots

static vc_status fail(vc_error *error, vc_status code, const char *message) {
    error->code = code;
    error->message = str(message);
    return code;
}

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    const vc_media *media = host->service(VC_SERVICE_MEDIA);
    if (!config || !media) return fail(error, VC_E_UNSUPPORTED, "the line needs vc.config/1 and vc.media/1 of the host");
    int64_t port = 0, peer_port = 0;
    config->integer(request->provider, "port", &port);
    config->integer(request->provider, "peer_port", &peer_port);
    provider *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = request->provider;
    self->media = media;
    self->port = (uint16_t)port;
    self->peer_port = (uint16_t)peer_port;
    self->socket = self->wake = -1;
    self->last = &self->first;
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return VC_OK;
}

static vc_status start(vc_self state, vc_error *error) {
    provider *self = state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(self->port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    self->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->socket < 0 || self->wake < 0) return fail(error, VC_E_MEMORY, "no file descriptor is left");
    if (bind(self->socket, (struct sockaddr *)&at, sizeof at) != 0 && !BREAKS(VC_TEL_62))
        return fail(error, VC_E_NETWORK, "the port is taken: choose another, or stop who has it");
    self->runs = 1;
    if (pthread_create(&self->thread, NULL, work, self) != 0) {
        self->runs = 0;
        return fail(error, VC_E_MEMORY, "no thread is left");
    }
    const vc_event event = {.size = sizeof event, .type = VC_EVENT_READY};
    host->emit(self->handle, &event);
    return VC_OK;
}

static void drain(vc_self state) {
    provider *self = state;
    if (self->wake >= 0) leave(self, DRAIN, NULL, 0, (vc_str){0});
    else do_drain(self);
}

// The thread waits for nothing but its socket, so it ends at once.
static void destroy_provider(vc_self state) {
    provider *self = state;
    if (self->runs) {
        leave(self, STOP, NULL, 0, (vc_str){0});
        pthread_join(self->thread, NULL);
    }
    while (self->calls) call_hang_up(self, self->calls, 0, 503);
    if (self->socket >= 0) close(self->socket);
    if (self->wake >= 0) close(self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    const vc_telephony_open *kind = request->kind;
    if (!kind) return fail(error, VC_E_ARGUMENT, "a line needs vc_telephony_open");
    const int is_inbound = kind->direction == VC_CALL_INBOUND;
    if (is_inbound ? !kind->key.length : !kind->to.length)
        return fail(error, VC_E_ARGUMENT, "a call in needs its key, a call out whom to call");
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->owner = state;
    self->handle = request->session;
    self->is_inbound = is_inbound;
    self->ring_timeout_ms = kind->ring_timeout_ms;
    copy(self->key, sizeof self->key, kind->key);
    copy(self->to, sizeof self->to, kind->to);
    atomic_init(&self->epoch, request->epoch);
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &line_ops;
    return leave(state, OPEN, self, 0, (vc_str){0});
}

static vc_status decline(vc_self state, vc_str key, uint32_t code, uint32_t retry_after_s) {
    (void)retry_after_s;
    return leave(state, DECLINE, NULL, code, key);
}

static const vc_telephony_provider_ops line_provider_ops = {.size = sizeof line_provider_ops, .decline = decline};
static const vc_provider line = {
    .size = sizeof line, .kind = VC_STR(VC_KIND_TELEPHONY), .id = VC_STR("org.vchost.broken-signalling"),
    .create = create, .start = start, .drain = drain, .destroy = destroy_provider, .open = open_session,
    .kind_ops = &line_provider_ops};
static const vc_provider *const providers[] = {&line};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}
