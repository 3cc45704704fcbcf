// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, the audio is sent as it is, 16 bit samples, little-endian, one channel, at the rate that the address
// names; the answer is its text.

#include "vendor.hpp"

Vendor::Vendor(const Settings &settings) : url(settings.text("url")) {
    if (url.empty()) throw Failure{VC_E_CONFIG, "`url` is empty; name the recogniser's address"};
    // Yours: further settings, as the manifest's `config` declares them.
}

void Vendor::ask(Answer &answer, uint64_t epoch, uint32_t rate_hz, const int16_t *samples,
                 uint64_t count) const {
    const std::string address = url + "?rate=" + std::to_string(rate_hz);
    Answer::Request request{};
    request.method = "POST";
    request.url = address;
    request.headers = {
        {"Content-Type", "application/octet-stream"},
        // Yours: a credential is named here and in the manifest's `secrets`; the host puts it in, and the plugin never
        // sees it: {"Authorization", "Bearer ${secret:ACME_API_KEY}"},
    };
    // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end.
    request.body = {reinterpret_cast<const char *>(samples), count * sizeof samples[0]};
    request.epoch = epoch;
    request.first_byte_ms = 3000;
    request.deadline_ms = 30'000;
    answer.ask(request);
}

void Vendor::answered(Answer &answer, std::string_view bytes) {
    // Yours: keep what is text. `answer.received` bytes of this answer came before these.
    answer.keep(bytes);
}
