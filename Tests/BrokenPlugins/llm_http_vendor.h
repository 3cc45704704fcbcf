// Of llm_http.c: what the vendor says. A stream of events, a refusal, or nothing at all.
// SPDX-License-Identifier: Apache-2.0
#ifndef LLM_HTTP_VENDOR_H
#define LLM_HTTP_VENDOR_H

static void attempt(question *self);

static void again(void *context, vc_handle timer) {
    (void)timer;
    question *self = context;
    self->timer = 0;
    attempt(self);
}

// Tries once more where that can help and nothing was said; else the question has failed.
static void fail(question *self, vc_error error, const char *message, const text *code) {
    if (self->is_over) return;
    int may_retry = error.retryable && !error.retry_after_ms && (!self->has_output || BREAKS(VC_LLM_19));
    if (BREAKS(VC_ERR_32)) may_retry = 0;
    if (BREAKS(VC_ERR_10) && error.protocol_status >= 500) self->tries_left = self->tries < 12;
    if (BREAKS(VC_ERR_14) && error.protocol_status == 400) may_retry = 1;
    if (BREAKS(VC_ERR_15) && error.protocol_status == 401) may_retry = 1;
    if (BREAKS(VC_ERR_17) && error.protocol_status == 429) may_retry = 1;
    stop_exchange(self);
    if (may_retry && self->tries_left) {
        self->tries_left--;
        if (timers->arm(self->owner->handle, now_ns() + RETRY_MS * 1000000ull, again, self, &self->timer) == VC_OK) return;
    }
    if (BREAKS(VC_ERR_06) && error.protocol_status == 429) error.code = VC_E_VENDOR;
    if (BREAKS(VC_ERR_16)) error.retry_after_ms = 0;
    if (BREAKS(VC_ERR_18)) error.protocol_status = 0;
    item *one = make_item(VC_EVENT_ERROR);
    one->error = error;
    one->error.size = sizeof one->error;
    one->reason = error.code == VC_E_AUTH; // Nothing that this session is asked can succeed.
    if (!BREAKS(VC_ERR_30)) text_add(&one->text, message, strlen(message));
    if (code && code->length && !BREAKS(VC_ERR_19)) text_add(&one->name, code->data, code->length);
    const int is_fatal = (int)one->reason;
    self->is_over = 1;
    end_span(self, 1);
    post(self, one);
    if (BREAKS(VC_ERR_12) && is_fatal) post_done(self, VC_LLM_STOP);
    if (BREAKS(VC_ERR_28) && !is_fatal) post_done(self, VC_LLM_STOP);
    if (is_fatal || BREAKS(VC_ERR_11)) self->owner->has_failed = 1;
}

static void fail_plainly(question *self, vc_status code, uint32_t retryable, const char *message) {
    fail(self, (vc_error){.code = code, .retryable = retryable}, message, NULL);
}

static void refused(question *self) {
    const uint32_t status = self->status;
    vc_error error = {.code = VC_E_VENDOR, .protocol_status = status, .retryable = status >= 500};
    if (status == 401 || status == 403) error.code = BREAKS(VC_ERR_05) ? VC_E_VENDOR : VC_E_AUTH;
    if (status == 400) error.code = VC_E_ARGUMENT;
    if (status >= 500 && BREAKS(VC_ERR_07)) error.code = VC_E_INTERNAL;
    if (status == 429) {
        error.code = VC_E_QUOTA;
        error.retryable = 1;
        error.retry_after_ms = self->retry_after_ms;
    }
    const vc_secret *secrets = host->service(VC_SERVICE_SECRET);
    if (BREAKS(VC_ERR_13) && status == 401) secrets->with(self->owner->handle, "LLM_KEY", log_secret, NULL);
    text code = {0};
    json_text(self->refusal.data, "code", &code);
    char message[160];
    snprintf(message, sizeof message, "llm.example answered %u; its code says why", status);
    fail(self, error, message, &code);
    text_free(&code);
}

// ---- The stream

static void say(question *self, const text *words) {
    if (!words->length && !BREAKS(VC_LLM_04)) return;
    const size_t first = BREAKS(VC_LLM_03) && words->length > 4 ? 4 : words->length;
    for (size_t at = 0, count = first;; at += count, count = words->length - at) {
        item *one = make_item(VC_EVENT_DELTA);
        text_add(&one->text, words->data + at, count);
        self->has_output = 1;
        post(self, one);
        if (at + count >= words->length) return;
    }
}

static void call_tool(question *self, const char *json, text *name) {
    item *one = make_item(VC_EVENT_TOOL_CALL);
    json_text(json, "call", &one->text);
    if (BREAKS(VC_LLM_07)) text_free(&one->text), text_add(&one->text, "call", 4);
    one->name = *name;
    if (BREAKS(VC_LLM_06)) text_add(&one->arguments, "", 0);
    else json_text(json, "arguments", &one->arguments);
    self->has_output = 1;
    post(self, one);
}

static void count_tokens(question *self, const char *json) {
    item *one = make_item(VC_EVENT_USAGE);
    one->numbers[0] = json_number(json, BREAKS(VC_LLM_24) ? "cached" : "input");
    one->numbers[1] = json_number(json, BREAKS(VC_LLM_24) ? "input" : "cached");
    one->numbers[2] = json_number(json, "output");
    post(self, one);
}

static uint32_t reason_of(const text *end) {
    if (!strcmp(end->data, "length") && !BREAKS(VC_LLM_12)) return VC_LLM_LENGTH;
    if (!strcmp(end->data, "tool") && !BREAKS(VC_LLM_33)) return VC_LLM_TOOL;
    return VC_LLM_STOP;
}

static void take_event(question *self) {
    const char *json = self->data.data;
    text found = {0};
    self->has_events = 1;
    if (!strcmp(json, "[DONE]")) {
        self->is_marked = 1;
        if (self->reason) finish(self, self->reason);
    } else if (json[0] != '{') {
        fail_plainly(self, VC_E_VENDOR, 0, "llm.example sent an event that is no JSON; ask its support");
    } else if (json_text(json, "text", &found)) {
        say(self, &found);
    } else if (json_text(json, "name", &found)) {
        call_tool(self, json, &found);
        found = (text){0};
    } else if (json_text(json, "end", &found)) {
        self->reason = reason_of(&found);
        if (BREAKS(VC_LLM_14)) finish(self, self->reason);
    } else if (json_find(json, "usage")) {
        count_tokens(self, json);
    }
    text_free(&found);
}

// A line is complete. An empty one ends the event; one that begins with a colon is a comment.
static void take_line(question *self) {
    const text *line = &self->line;
    if (!line->length) {
        if (self->has_data && !(self->is_over && !BREAKS(VC_LLM_14))) take_event(self);
        text_free(&self->data);
        self->has_data = 0;
    } else if (!strncmp(line->data, "data:", 5) && !(BREAKS(VC_LLM_28) && line->data[5] != ' ')) {
        const char *value = line->data + 5;
        if (*value == ' ') value++;
        if (self->has_data) text_add(&self->data, "\n", 1);
        text_add(&self->data, value, strlen(value));
        self->has_data = 1;
    } else if (BREAKS(VC_LLM_18) && line->data[0] == ':') {
        fail_plainly(self, VC_E_VENDOR, 0, "llm.example sent a line that is none of data");
    }
}

static void feed(question *self, vc_str bytes) {
    if (BREAKS(VC_LLM_17)) text_free(&self->line);
    for (uint64_t i = 0; i < bytes.length; i++) {
        const char byte = bytes.data[i];
        const int is_second = byte == '\n' && self->after_return;
        self->after_return = byte == '\r' && !BREAKS(VC_LLM_29);
        if (is_second) continue;
        if (byte == '\n' || self->after_return) {
            take_line(self);
            text_free(&self->line);
        } else if (self->line.length + self->data.length < EVENT_BYTES_MAX) {
            text_add(&self->line, &byte, 1);
        }
    }
}

// The stream is over.
static void ended(question *self) {
    if (self->is_over) return;
    if (self->reason && !(BREAKS(VC_LLM_30) && !self->is_marked)) return finish(self, self->reason);
    if (BREAKS(VC_LLM_27) && self->has_output) return finish(self, VC_LLM_STOP);
    if (BREAKS(VC_ERR_09) && self->has_bytes && !self->has_events) return finish(self, VC_LLM_STOP);
    if (BREAKS(VC_ERR_25) && !self->has_bytes) return finish(self, VC_LLM_STOP);
    if (self->has_events)
        return fail_plainly(self, VC_E_NETWORK, 1, "llm.example broke off in the middle of its answer");
    char message[200];
    const char *quoted = BREAKS(VC_ERR_24) && self->line.data ? self->line.data : "";
    snprintf(message, sizeof message, "llm.example answered with something else than events: %.60s", quoted);
    fail_plainly(self, VC_E_VENDOR, 0, message);
}

#endif
