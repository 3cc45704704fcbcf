// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, the audio is sent as it is, 16 bit samples, little-endian, one channel, at the rate that the address
// names; the answer is its text.

#include "vendor.h"

#include <stdio.h>
#include <string.h>

vc_status vendor_configure(vendor *v, const vc_config *config, vc_handle provider, vc_error *error) {
    vc_str url = { NULL, 0 };
    config->text(provider, "url", &url);
    if (url.length == 0 || url.length >= sizeof v->url) {
        error->code = VC_E_CONFIG;
        error->message = (vc_str)VC_STR("`url` is empty or longer than 1,023 bytes; name the recogniser's address");
        return error->code;
    }
    memcpy(v->url, url.data, url.length);
    v->url[url.length] = '\0';
    // Yours: further settings, as the manifest's `config` declares them.
    return VC_OK;
}

void vendor_ask(const vendor *v, answer *a, uint64_t epoch, uint32_t rate_hz, const int16_t *samples, uint64_t count) {
    char url[sizeof v->url + 16];
    const int length = snprintf(url, sizeof url, "%s?rate=%u", v->url, rate_hz);
    const vc_field headers[] = {
        { VC_STR("Content-Type"), VC_STR("application/octet-stream") },
        // Yours: a credential is named here and in the manifest's `secrets`; the host puts it in, and the plugin never
        // sees it: { VC_STR("Authorization"), VC_STR("Bearer ${secret:ACME_API_KEY}") },
    };
    const vc_http_request request = {
        .size = sizeof request, .epoch = epoch, .method = VC_STR("POST"), .url = { url, (uint64_t)length },
        .headers = headers, .header_count = sizeof headers / sizeof headers[0],
        // Yours: how long an answer may take to begin, and to end.
        .first_byte_ms = 3000, .deadline_ms = 30000,
        // Yours: the question, as the vendor wants it put.
        .body = { (const char *)samples, count * sizeof samples[0] },
    };
    answer_ask(a, &request);
}

void vendor_answered(answer *a, vc_str bytes) {
    // Yours: keep what is text. `a->received` bytes of this answer came before these.
    answer_keep(a, bytes.data, bytes.length);
}
