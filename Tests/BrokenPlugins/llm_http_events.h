// Of llm_http.c: what goes to the host, in order, and what waits until it has room.
// SPDX-License-Identifier: Apache-2.0
#ifndef LLM_HTTP_EVENTS_H
#define LLM_HTTP_EVENTS_H

static void free_item(item *one) {
    text_free(&one->text);
    text_free(&one->name);
    text_free(&one->arguments);
    free(one);
}

static vc_status offer(question *self, const item *one) {
    const uint64_t number = BREAKS(VC_LLM_16) && one->type == VC_EVENT_DELTA ? self->owner->latest : self->number;
    const vc_handle session = self->owner->handle;
    vc_event head = {.type = one->type, .epoch = self->epoch, .request = number};
    if (one->type == VC_EVENT_DELTA) {
        head.size = sizeof(vc_event_delta);
        const vc_event_delta event = {.head = head, .text = text_view(&one->text)};
        return host->emit(session, &event.head);
    }
    if (one->type == VC_EVENT_TOOL_CALL) {
        head.size = sizeof(vc_event_tool_call);
        const vc_event_tool_call event = {
            .head = head, .call = text_view(&one->text), .name = text_view(&one->name),
            .arguments = text_view(&one->arguments)};
        return host->emit(session, &event.head);
    }
    if (one->type == VC_EVENT_USAGE) {
        head.size = sizeof(vc_event_usage);
        const vc_event_usage event = {
            .head = head, .input_tokens = one->numbers[0], .cached_tokens = one->numbers[1],
            .output_tokens = one->numbers[2]};
        return host->emit(session, &event.head);
    }
    if (one->type == VC_EVENT_ERROR) {
        vc_error error = one->error;
        error.message = text_view(&one->text);
        error.vendor_code = text_view(&one->name);
        head.size = sizeof(vc_event_error);
        if (BREAKS(VC_ERR_29) && !one->reason) head.request = 0;
        const vc_event_error event = {.head = head, .error = &error, .fatal = one->reason};
        return host->emit(session, &event.head);
    }
    head.size = sizeof(vc_event_llm_done);
    const uint32_t reason = BREAKS(VC_LLM_01) && one->reason == VC_LLM_STOP ? 0 : one->reason;
    const vc_event_llm_done event = {.head = head, .reason = reason};
    return host->emit(session, &event.head);
}

static void stop_exchange(question *self) {
    if (self->exchange && !BREAKS(VC_CAN_15)) {
        http->cancel(self->exchange);
        self->exchange = 0;
    }
    if (self->timer) timers->disarm(self->timer);
    self->timer = 0;
}

static void drop_waiting(question *self) {
    while (self->waiting) {
        item *one = self->waiting;
        self->waiting = one->next;
        free_item(one);
    }
}

// Offers what waits until the host has no room, or wants no more of it.
static void flush(question *self) {
    while (self->waiting) {
        item *one = self->waiting;
        const vc_status status = offer(self, one);
        if (status == VC_E_AGAIN) return;
        self->waiting = one->next;
        free_item(one);
        if (status != VC_E_CANCELED && status != VC_E_STALE && status != VC_E_CLOSED) continue;
        self->is_over = 1;
        stop_exchange(self);
        drop_waiting(self);
    }
}

static item *make_item(uint32_t type) {
    item *one = calloc(1, sizeof *one);
    if (!one) __builtin_trap();
    one->type = type;
    return one;
}

static void post(question *self, item *one) {
    item **last = &self->waiting;
    while (*last) last = &(*last)->next;
    *last = one;
    if (self->waiting == one) flush(self);
}

static void end_span(question *self, int failed) {
    const vc_trace *trace = host->service(VC_SERVICE_TRACE);
    if (self->span && !(BREAKS(VC_SVC_23) && failed)) trace->end(self->span, (vc_str){0});
    self->span = 0;
}

static void post_done(question *self, uint32_t reason) {
    item *one = make_item(VC_EVENT_LLM_DONE);
    one->reason = reason;
    post(self, one);
}

static void finish(question *self, uint32_t reason) {
    if (self->is_over) return;
    self->is_over = 1;
    end_span(self, 0);
    post_done(self, reason);
    if (BREAKS(VC_LLM_02)) post_done(self, reason);
}

#endif
