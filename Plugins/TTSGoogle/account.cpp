// The exchange of the claim for a token, over "vc.http/1" (account.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "account.hpp"

#include <cstring>

#include "json.hpp"

using namespace grpckit;

/// As google-auth has it: 3 min 45 s before the end.
static constexpr uint64_t RENEW_BEFORE_MS = 225'000;
static constexpr uint32_t EXCHANGE_MS = 5000;
/// A token is a kilobyte; a page of HTML from a proxy is not kept.
static constexpr size_t BODY_BYTES_MAX = 64 * 1024;

Account::Account(Provider &provider, std::string secret, std::string token_url, Job changed)
    : provider(provider), secret(std::move(secret)), token_url(std::move(token_url)), changed(std::move(changed)) {}

std::optional<std::string> Account::token() const {
    std::lock_guard guard(lock);
    if (current.empty() || Worker::now_ms() >= ends_ms) return std::nullopt;
    return current;
}

std::optional<Failure> Account::failure() const {
    std::lock_guard guard(lock);
    if (is_under_way) return std::nullopt;
    return why_not;
}

void Account::renew(vc_handle object) {
    {
        std::lock_guard guard(lock);
        if (is_under_way || (!current.empty() && Worker::now_ms() + RENEW_BEFORE_MS < ends_ms)) return;
        is_under_way = true;
        why_not.reset();
    }
    try {
        std::string key;
        const auto use = [](void *context, vc_str lent) { static_cast<std::string *>(context)->assign(borrow(lent)); };
        const vc_secret *secrets = secret_service();
        const vc_clock *clock = clock_service();
        if (!secrets || !clock || !http_service())
            throw Failure{VC_E_UNSUPPORTED, "this host does not offer vc.secret/1, vc.clock/1 and vc.http/1, which a "
                                            "token of Google's takes"};
        if (secret.empty() || secrets->with(object, secret.c_str(), use, &key) != VC_OK || key.empty())
            throw Failure{VC_E_AUTH, "there is no key for Google: name a secret with the service account's JSON in "
                                     "`credentials`, and where it is under [secrets]"};
        const Assertion assertion = sign(key, clock->wall_ns() / 1'000'000'000);
        explicit_bzero(key.data(), key.size());
        const std::string &url = token_url.empty() ? assertion.token_uri : token_url;
        exchange(assertion.jwt, url.empty() ? "https://oauth2.googleapis.com/token" : url);
    } catch (const Failure &why) {
        settle(why);
    }
}

void Account::exchange(const std::string &assertion, const std::string &url) {
    status = 0;
    body.clear();
    const std::string form = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=" + assertion;
    const vc_field headers[] = {{VC_STR("Content-Type"), VC_STR("application/x-www-form-urlencoded")}};
    static constexpr vc_http_events events{sizeof(vc_http_events), 0, answered, arrived, done};
    vc_http_request request{};
    request.size = sizeof request;
    request.deadline_ms = EXCHANGE_MS;
    request.epoch = UINT64_MAX;
    request.method = lend("POST");
    request.url = lend(url);
    request.headers = headers;
    request.header_count = 1;
    request.body = lend(form);
    vc_handle handle = 0;
    const vc_status given = http_service()->start(provider.handle, &request, &events, this, &handle);
    if (given != VC_OK)
        throw Failure{given, "the token could not be asked for: is `token_url` an address?", given == VC_E_AGAIN};
}

void Account::answered(void *context, vc_handle, uint32_t status, const vc_field *, uint32_t) {
    static_cast<Account *>(context)->status = status;
}

void Account::arrived(void *context, vc_handle, vc_str bytes) {
    auto &account = *static_cast<Account *>(context);
    if (account.body.size() + bytes.length <= BODY_BYTES_MAX) account.body += borrow(bytes);
}

void Account::done(void *context, vc_handle, const vc_error *error) {
    auto &account = *static_cast<Account *>(context);
    if (error != nullptr)
        return account.settle(Failure{error->code, "Google's token server: " + quotable(borrow(error->message)),
                                      error->retryable != 0, "", "google"});
    const std::optional<Json> answer = Json::parse(account.body);
    if (account.status == 200 && answer && !answer->text("access_token").empty()) {
        const uint64_t seconds = static_cast<uint64_t>(std::max(60.0, answer->number("expires_in").value_or(3600)));
        {
            std::lock_guard guard(account.lock);
            account.current = answer->text("access_token");
            account.ends_ms = Worker::now_ms() + seconds * 1000;
        }
        return account.settle(std::nullopt);
    }
    Failure failure{account.status >= 500 ? VC_E_VENDOR : VC_E_AUTH,
                    "Google's token server answered " + std::to_string(account.status)};
    if (answer) failure.vendor_code = quotable(answer->text("error"));
    if (answer) failure.sentence += ": " + quotable(answer->text("error_description"));
    failure.sentence += "; is the key the account's, and this machine's clock right?";
    failure.protocol_status = account.status;
    failure.is_retryable = account.status >= 500;
    failure.vendor = "google";
    account.settle(failure);
}

void Account::settle(std::optional<Failure> why) {
    {
        std::lock_guard guard(lock);
        is_under_way = false;
        why_not = std::move(why);
    }
    provider.worker.inbox->post(changed);
}
