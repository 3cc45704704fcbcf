// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, the text is sent as it is, and the answer is its audio: 16 bit samples, little-endian, one channel, at
// the rate that the address names.

#include "vendor.hpp"

Vendor::Vendor(const Settings &settings) : url(settings.text("url")) {
    if (url.empty()) throw Failure{VC_E_CONFIG, "`url` is empty; name the speech server's address"};
    // Yours: further settings, as the manifest's `config` declares them.
}

void Vendor::ask(Answer &answer, uint64_t epoch, uint32_t rate_hz, std::string_view text) const {
    const std::string address = url + "?rate=" + std::to_string(rate_hz);
    Answer::Request request{};
    request.method = "POST";
    request.url = address;
    request.headers = {
        {"Content-Type", "text/plain; charset=utf-8"},
        // Yours: a credential is named here and in the manifest's `secrets`; the host puts it in, and the plugin never
        // sees it: {"Authorization", "Bearer ${secret:ACME_API_KEY}"},
    };
    // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end.
    request.body = text;
    request.epoch = epoch;
    request.first_byte_ms = 3000;
    request.deadline_ms = 30'000;
    answer.ask(request);
}

void Vendor::answered(Answer &answer, std::string_view bytes) {
    // Yours: keep what is audio. `answer.received` bytes of this answer came before these.
    answer.keep(bytes);
}
