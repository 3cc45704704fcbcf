// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, {"messages": [...], "tools": [...], "options": {...}} is sent, and the answer is plain text as it
// comes. It ends with a line feed: what has none was cut off, and half an answer is none.

#include "vendor.hpp"

Vendor::Vendor(const Settings &settings) : url(settings.text("url")) {
    if (url.empty()) throw Failure{VC_E_CONFIG, "`url` is empty; name the language model's address"};
    // Yours: further settings, as the manifest's `config` declares them.
}

void Vendor::ask(Answer &answer, const vc_llm_request &question) const {
    Answer::Request request{};
    request.method = "POST";
    request.url = url;
    request.headers = {
        {"Content-Type", "application/json"},
        // Yours: a credential is named here and in the manifest's `secrets`; the host puts it in, and the plugin never
        // sees it: {"Authorization", "Bearer ${secret:ACME_API_KEY}"},
    };
    // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end.
    std::string body = "{\"messages\": ";
    body.append(borrow(question.messages)).append(", \"tools\": ").append(borrow(question.tools));
    body.append(", \"options\": ").append(borrow(question.options)).append("}");
    request.body = body;
    request.epoch = question.epoch;
    request.first_byte_ms = 5000;
    request.deadline_ms = 60'000;
    answer.ask(request);
}

void Vendor::answered(Answer &answer, std::string_view bytes) {
    // Yours: keep what is text. `answer.received` bytes of this answer came before these.
    answer.keep(bytes);
}

void Vendor::ended(Answer &answer) {
    // Yours: what the end of an answer looks like.
    if (!answer.bytes.empty() && answer.bytes.back() == '\n') return;
    Failure why{VC_E_VENDOR, "the server's answer breaks off before its end, a line feed"};
    why.is_retryable = true;
    answer.fail(std::move(why));
}
