// JSON out, base64 in (rest.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "rest.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <strings.h>

#include <openssl/evp.h>

#include "json.hpp"

using namespace grpckit;

/// Four minutes of speech at 24 kHz in base64; a clause is a hundredth of it.
static constexpr size_t BODY_BYTES_MAX = 16 << 20;
static constexpr uint32_t ANSWER_MS = 15'000;

void RestRequest::start(const std::string &url, const std::string &text, const RestVoice &voice,
                        const std::string &token) {
    // Objects within objects are put together here, since there are three of them.
    const std::string json = "{\"input\":" + Json::object({{"text", text}}) + ",\"voice\":"
        + Json::object({{"languageCode", voice.language}, {"name", voice.name}}) + ",\"audioConfig\":"
        + Json::object({{"audioEncoding", "LINEAR16"}},
                       {{"sampleRateHertz", voice.rate_hz}, {"speakingRate", voice.speaking_rate}}) + "}";
    const std::string address = url + "/text:synthesize", bearer = "Bearer " + token;
    const vc_field headers[] = {{VC_STR("Content-Type"), VC_STR("application/json")},
                                {VC_STR("Authorization"), lend(bearer)}};
    static constexpr vc_http_events events{sizeof(vc_http_events), 0, answered, arrived, done};
    vc_http_request request{};
    request.size = sizeof request;
    request.deadline_ms = ANSWER_MS;
    request.epoch = epoch;
    request.method = lend("POST");
    request.url = lend(address);
    request.headers = headers;
    request.header_count = 2;
    request.body = lend(json);
    const vc_http *http = http_service();
    const vc_status given = http ? http->start(session.handle, &request, &events, this, &exchange) : VC_E_UNSUPPORTED;
    if (given != VC_OK) finish(std::nullopt, {given, "Google could not be asked over HTTP: is `url` an address?"});
}

void RestRequest::cancel() {
    if (is_done) return;
    is_done = true;
    if (const vc_http *http = http_service(); http && exchange) http->cancel(exchange);
}

void RestRequest::answered(void *context, vc_handle, uint32_t status, const vc_field *headers, uint32_t count) {
    auto &request = *static_cast<RestRequest *>(context);
    request.status = status;
    for (const vc_field *header = headers; header != headers + count; header++) {
        if (header->name.length != 11 || strncasecmp(header->name.data, "retry-after", 11) != 0) continue;
        const unsigned long seconds = std::strtoul(std::string(borrow(header->value)).c_str(), nullptr, 10);
        request.retry_after_ms = static_cast<uint32_t>(std::min(seconds, 86'400UL)) * 1000;
    }
}

void RestRequest::arrived(void *context, vc_handle, vc_str bytes) {
    auto &request = *static_cast<RestRequest *>(context);
    if (request.body.size() + bytes.length <= BODY_BYTES_MAX) request.body += borrow(bytes);
}

void RestRequest::done(void *context, vc_handle, const vc_error *error) {
    auto &request = *static_cast<RestRequest *>(context);
    if (error == nullptr) return request.read();
    request.finish(std::nullopt, {error->code, "Google: " + quotable(borrow(error->message)), error->retryable != 0, "",
                                  "google"});
}

void RestRequest::read() {
    const std::optional<Json> answer = Json::parse(body);
    if (status != 200) {
        Failure failure{status == 401 || status == 403 ? VC_E_AUTH : status == 429 ? VC_E_QUOTA : VC_E_VENDOR,
                        "Google answered " + std::to_string(status)};
        if (answer) failure.sentence += ": " + quotable(answer->text("error.message"));
        // Google's own is `status`; what stands before it may speak otherwise.
        if (answer) failure.vendor_code = quotable(answer->text("error.status"));
        if (answer && failure.vendor_code.empty()) failure.vendor_code = quotable(answer->text("error.code"));
        failure.retry_after_ms = retry_after_ms;
        failure.is_retryable = status == 429 || status >= 500;
        failure.protocol_status = status;
        failure.vendor = "google";
        return finish(std::nullopt, failure);
    }
    const std::string text = answer ? answer->text("audioContent") : "";
    std::string bytes(text.size() / 4 * 3, '\0');
    const int length =
        EVP_DecodeBlock(reinterpret_cast<unsigned char *>(bytes.data()),
                        reinterpret_cast<const unsigned char *>(text.data()), static_cast<int>(text.size()));
    if (text.empty() || length < 0)
        return finish(std::nullopt,
                      {VC_E_VENDOR, "Google's answer has no `audioContent` in base64", false, "", "google"});
    // What stands for the padding is no audio.
    bytes.resize(static_cast<size_t>(length) - (text.back() == '=') - (text[text.size() - 2] == '='));
    finish(std::string(samples_of(bytes)), {VC_OK, ""});
}

void RestRequest::finish(std::optional<std::string> samples, Failure failure) {
    session.post([this, samples = std::move(samples), failure = std::move(failure)] {
        if (is_done) return;
        is_done = true;
        over(samples, failure);
    });
}

std::string_view samples_of(std::string_view wav) {
    if (wav.size() < 12 || wav.substr(0, 4) != "RIFF" || wav.substr(8, 4) != "WAVE") return wav;
    for (size_t at = 12; at + 8 <= wav.size();) {
        uint32_t length;
        std::memcpy(&length, wav.data() + at + 4, 4);
        if (wav.substr(at, 4) == "data") return wav.substr(at + 8, length);
        at += 8 + length + (length & 1);
    }
    return {};
}
