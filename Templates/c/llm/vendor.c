// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, {"messages": [...], "tools": [...], "options": {...}} is sent, and the answer is plain text as it
// comes. It ends with a line feed: what has none was cut off, and half an answer is none.

#include "vendor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

vc_status vendor_configure(vendor *v, const vc_config *config, vc_handle provider, vc_error *error) {
    vc_str url = { NULL, 0 };
    config->text(provider, "url", &url);
    if (url.length == 0 || url.length >= sizeof v->url) {
        error->code = VC_E_CONFIG;
        error->message = (vc_str)VC_STR("`url` is empty or longer than 1,023 bytes; name the language model's address");
        return error->code;
    }
    memcpy(v->url, url.data, url.length);
    v->url[url.length] = '\0';
    // Yours: further settings, as the manifest's `config` declares them.
    return VC_OK;
}

void vendor_ask(const vendor *v, answer *a, const vc_llm_request *question) {
    // Yours: the question, as the vendor wants it put.
    const vc_str messages = question->messages, tools = question->tools, options = question->options;
    char *body = malloc(messages.length + tools.length + options.length + 64);
    if (body == NULL) {
        answer_fail(a, VC_E_MEMORY, "there is no memory left for the question");
        return;
    }
    const int length = sprintf(body, "{\"messages\": %.*s, \"tools\": %.*s, \"options\": %.*s}", (int)messages.length,
        messages.data, (int)tools.length, tools.data, (int)options.length, options.data);
    const vc_field headers[] = {
        { VC_STR("Content-Type"), VC_STR("application/json") },
        // Yours: a credential is named here and in the manifest's `secrets`; the host puts it in, and the plugin never
        // sees it: { VC_STR("Authorization"), VC_STR("Bearer ${secret:ACME_API_KEY}") },
    };
    const vc_http_request request = {
        .size = sizeof request, .epoch = question->epoch, .method = VC_STR("POST"), .url = { v->url, strlen(v->url) },
        .headers = headers, .header_count = sizeof headers / sizeof headers[0],
        // Yours: how long an answer may take to begin, and to end.
        .first_byte_ms = 5000, .deadline_ms = 60000,
        .body = { body, (uint64_t)length },
    };
    answer_ask(a, &request);
    free(body); // All of a request is copied.
}

void vendor_answered(answer *a, vc_str bytes) {
    // Yours: keep what is text. `a->received` bytes of this answer came before these.
    answer_keep(a, bytes.data, bytes.length);
}

void vendor_ended(answer *a) {
    // Yours: what the end of an answer looks like.
    if (a->length > 0 && a->bytes[a->length - 1] == '\n') return;
    answer_fail(a, VC_E_VENDOR, "the server's answer breaks off before its end, a line feed");
    a->failure.retryable = 1;
}
