// The life of a provider, of its sessions and of their requests to the vendor (line.hpp says how it is meant).

#include "line.hpp"

#include <strings.h>

#include <algorithm>

#include "vendor.hpp"

namespace {

/// As much as is kept of one answer: four minutes of speech at 16 kHz, or more words than anybody listens to.
constexpr size_t ANSWER_BYTES_MAX = 8 << 20;

const vc_host *host;
const vc_http *http;
const vc_config *config;
const void *kind_ops;
std::unique_ptr<Work> (*maker)(const vc_open &);

void fill(vc_error &error, const Failure &failure) {
    error.size = sizeof error;
    error.code = failure.code;
    error.retryable = failure.is_retryable;
    error.retry_after_ms = failure.retry_after_ms;
    error.protocol_status = failure.protocol_status;
    error.message = lend(failure.sentence);
    error.vendor_code = lend(failure.vendor_code);
}

/// `"code": "..."` of a refusal in JSON.
std::string code_of(std::string_view refusal) {
    constexpr std::string_view key = "\"code\"";
    size_t at = refusal.find(key);
    if (at == std::string_view::npos) return "";
    at = refusal.find_first_not_of(" :", at + key.size());
    if (at == std::string_view::npos || refusal[at] != '"') return "";
    const size_t end = refusal.find('"', at + 1);
    return end == std::string_view::npos ? "" : std::string(refusal.substr(at + 1, end - at - 1));
}

/// The value of a header, or nothing.
std::string_view value_of(const vc_field *headers, uint32_t count, std::string_view name) {
    const auto header = std::find_if(headers, headers + count, [&](const vc_field &header) {
        return header.name.length == name.size() && strncasecmp(header.name.data, name.data(), name.size()) == 0;
    });
    return header == headers + count ? "" : borrow(header->value);
}

} // namespace

// The vendor's answers.

/// What the host calls for a request; each as a call of its session.
struct AnswerEvents {
    template <class Change> static void arrived(void *context, Change change) noexcept {
        auto &answer = *static_cast<Answer *>(context);
        control<Work>(&answer.owner, [&](Session &session, Work &work) {
            change(answer);
            work.advance(session); // May destroy the answer.
            return VC_OK;
        });
    }

    static void response(void *context, vc_handle, uint32_t status, const vc_field *headers, uint32_t count) {
        arrived(context, [&](Answer &answer) {
            if (status == 200) {
                if (strncasecmp(std::string(value_of(headers, count, "content-type")).c_str(), "text/html", 9) == 0)
                    answer.fail({VC_E_VENDOR, "a page of HTML came for an answer: is `url` the server's, and no proxy's?"});
                return;
            }
            // What a status means to the host, which decides by it whether to try again, or elsewhere.
            Failure why{status == 401 || status == 403 ? VC_E_AUTH : status == 429 ? VC_E_QUOTA : VC_E_VENDOR,
                        "the server answered with HTTP status " + std::to_string(status)};
            why.is_retryable = status == 429 || status >= 500;
            why.protocol_status = status;
            for (const char digit : value_of(headers, count, "retry-after")) {
                if (digit < '0' || digit > '9' || why.retry_after_ms >= 86'400'000) break;
                why.retry_after_ms = why.retry_after_ms * 10 + static_cast<uint32_t>(digit - '0') * 1000;
            }
            answer.failure = std::make_unique<Failure>(std::move(why)); // Complete when its body is there.
        });
    }

    static void data(void *context, vc_handle, vc_str bytes) {
        arrived(context, [&](Answer &answer) {
            if (answer.failure) {
                if (answer.refusal.size() < 1024) answer.refusal += borrow(bytes);
                return;
            }
            Vendor::answered(answer, borrow(bytes));
            answer.received += bytes.length;
        });
    }

    static void done(void *context, vc_handle, const vc_error *error) {
        arrived(context, [&](Answer &answer) {
            answer.exchange = 0;
            if (error != nullptr) {
                Failure why{error->code, std::string(borrow(error->message))};
                why.is_retryable = error->retryable != 0;
                answer.fail(std::move(why));
            }
            if (answer.failure) answer.failure->vendor_code = code_of(answer.refusal);
            else if (answer.received == 0) answer.fail({VC_E_VENDOR, "the server answered with nothing"});
            answer.is_complete = true;
        });
    }

    static constexpr vc_http_events table{sizeof(vc_http_events), 0, response, data, done};
};

Answer::~Answer() {
    if (exchange != 0) http->cancel(exchange);
}

void Answer::ask(const Request &request) {
    std::vector<vc_field> fields;
    for (const auto &[name, value] : request.headers) fields.push_back({lend(name), lend(value)});
    vc_http_request sent{};
    sent.size = sizeof sent;
    sent.deadline_ms = request.deadline_ms;
    sent.epoch = request.epoch;
    sent.method = lend(request.method);
    sent.url = lend(request.url);
    sent.headers = fields.data();
    sent.header_count = static_cast<uint32_t>(fields.size());
    sent.first_byte_ms = request.first_byte_ms;
    sent.body = lend(request.body);
    const vc_status status = http->start(owner.handle, &sent, &AnswerEvents::table, this, &exchange);
    if (status == VC_OK) return;
    exchange = 0;
    Failure why{status, status == VC_E_AGAIN ? "32 requests of this session are under way already"
                                             : "the request could not be sent: is `url` an http or https address?"};
    why.is_retryable = status == VC_E_AGAIN;
    fail(std::move(why));
}

void Answer::keep(std::string_view more) {
    if (more.size() > ANSWER_BYTES_MAX - bytes.size())
        return fail({VC_E_VENDOR, "the server's answer is longer than 8 MiB, and was cut off"});
    bytes += more;
}

size_t Answer::whole_characters(std::string_view text) {
    size_t whole = 0;
    while (whole < text.size()) {
        const auto *c = reinterpret_cast<const unsigned char *>(text.data()) + whole;
        const size_t needed = *c < 0x80 ? 1 : *c >= 0xC2 && *c < 0xE0 ? 2 : *c >= 0xE0 && *c < 0xF0 ? 3
            : *c >= 0xF0 && *c < 0xF5 ? 4 : 0;
        size_t at = 1;
        while (at < needed && whole + at < text.size() && (c[at] & 0xC0) == 0x80) at++;
        // Too long a form, half of a pair, or beyond the last character.
        const bool is_wrong = at > 1 && ((*c == 0xE0 && c[1] < 0xA0) || (*c == 0xED && c[1] > 0x9F)
            || (*c == 0xF0 && c[1] < 0x90) || (*c == 0xF4 && c[1] > 0x8F));
        if (at == needed && !is_wrong) {
            whole += needed;
            continue;
        }
        if (is_wrong || needed == 0 || whole + at < text.size())
            fail({VC_E_VENDOR, "the server's answer is no text in UTF-8"});
        break;
    }
    return whole;
}

void Answer::fail(Failure why) {
    if (!failure) failure = std::make_unique<Failure>(std::move(why));
    is_complete = true;
}

// Sessions.

Session::Session(const Vendor &vendor, const vc_open &request, std::unique_ptr<Work> work)
    : vendor(vendor), handle(request.session), epoch(request.epoch), work(std::move(work)) {}

vc_status Session::emit(const vc_event &head) const { return host->emit(handle, &head); }

vc_status Session::emit_plain(uint32_t type, uint64_t epoch, uint64_t request) const {
    return emit(vc_event{sizeof(vc_event), type, 0, 0, epoch, request});
}

vc_status Session::report(const Failure &failure, uint64_t epoch, uint64_t request) const {
    vc_error error{};
    fill(error, failure);
    auto event = make_event<vc_event_error>(VC_EVENT_ERROR, epoch, request);
    event.error = &error;
    return emit(event.head);
}

void Session::prewarm(std::string_view url) const { http->prewarm(handle, lend(url)); }

vc_status Session::check(uint64_t wanted) const {
    const uint64_t current = epoch;
    return current == UINT64_MAX ? VC_E_CLOSED : wanted < current ? VC_E_CANCELED : VC_OK;
}

static void cancel(vc_self self, uint64_t epoch) {
    auto &session = *static_cast<Session *>(self);
    uint64_t seen = session.epoch;
    while (seen < epoch) {
        if (!session.epoch.compare_exchange_weak(seen, epoch)) continue;
        session.emit_plain(VC_EVENT_CANCELED, epoch, 0);
        return;
    }
}

static void credit(vc_self self, uint32_t, uint64_t) {
    // The host counts; offering again is how we learn whether it is enough.
    control<Work>(self, [](Session &session, Work &work) { return work.advance(session), VC_OK; });
}

static void close_session(vc_self self) {
    control<Work>(self, [](Session &session, Work &work) {
        const uint64_t epoch = session.epoch.exchange(UINT64_MAX);
        work.clear();
        return session.emit_plain(VC_EVENT_CLOSED, epoch, 0);
    });
}

static void destroy_session(vc_self self) { delete static_cast<Session *>(self); }

static constexpr vc_session_ops session_ops{sizeof(vc_session_ops), 0, cancel, credit, close_session, destroy_session};

// Providers.

std::string Settings::text(const char *key) const {
    vc_str value{};
    if (config->text(provider, key, &value) != VC_OK) return "";
    return std::string(borrow(value));
}

int64_t Settings::integer(const char *key, int64_t otherwise) const {
    int64_t value = otherwise;
    return config->integer(provider, key, &value) == VC_OK ? value : otherwise;
}

static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
    // The host reads it as soon as we have returned. Never destroyed: a plugin has no business at the process's end.
    static std::string &last = *new std::string;
    try {
        http = static_cast<const vc_http *>(host->service(VC_SERVICE_HTTP));
        if (http == nullptr)
            throw Failure{VC_E_UNSUPPORTED, "this host does not offer vc.http/1, over which the vendor is asked"};
        config = static_cast<const vc_config *>(host->service(VC_SERVICE_CONFIG));
        if (config == nullptr)
            throw Failure{VC_E_UNSUPPORTED, "this host does not offer vc.config/1, which has the vendor's address"};
        *self = new Vendor(Settings(request->provider));
        return VC_OK;
    } catch (const Failure &failure) {
        last = failure.sentence;
        error->code = failure.code;
        error->message = lend(last);
        return failure.code;
    } catch (const std::bad_alloc &) {
        return VC_E_MEMORY;
    } catch (...) {
        return VC_E_INTERNAL;
    }
}

static void destroy(vc_self self) { delete static_cast<Vendor *>(self); }

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *) {
    try {
        auto session = std::make_unique<Session>(*static_cast<const Vendor *>(self), *request, maker(*request));
        session->emit_plain(VC_EVENT_READY, request->epoch, 0);
        session->prewarm(session->vendor.url);
        out->state = session.release();
        out->ops = &session_ops;
        out->kind_ops = kind_ops;
        return VC_OK;
    } catch (...) {
        return VC_E_MEMORY;
    }
}

const vc_module *make_module(const vc_host *the_host, std::string_view kind, std::string_view id, const void *ops,
                             std::unique_ptr<Work> (*the_maker)(const vc_open &)) {
    host = the_host;
    kind_ops = ops;
    maker = the_maker;
    static const vc_provider provider{sizeof provider, 0, lend(kind), lend(id), create, nullptr, nullptr, destroy,
                                      open_session, nullptr};
    static const vc_provider *const providers[] = {&provider};
    static const vc_module module{sizeof module, VC_ABI_MINOR, 0, 1, providers};
    return &module;
}
