// Google's account: a key that signs, a token that it is exchanged for, and one token for all calls.
//
// The key is lent by "vc.secret/1" for the moment of signing, 1 ms of RSA; what is kept is the token, which ends by
// itself after an hour. It is fetched ahead: when the provider starts, and 225 s before it ends, as Google's own
// library does it, so that no caller waits for it.
// SPDX-License-Identifier: Apache-2.0
#ifndef TTSGOOGLE_ACCOUNT_HPP
#define TTSGOOGLE_ACCOUNT_HPP

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include <GrpcKit/Provider.hpp>

class Account {
public:
    /// `token_url` empty: that of the key. `changed` is called on the worker's thread when a token came, or did not.
    Account(grpckit::Provider &provider, std::string secret, std::string token_url, grpckit::Job changed);

    /// Sees to it that there is a token, now or later. Within a VC_CONTROL call of `object`.
    void renew(vc_handle object);
    /// The token, if there is one.
    std::optional<std::string> token() const;
    /// Why there is none, if none is under way.
    std::optional<grpckit::Failure> failure() const;

private:
    static void answered(void *context, vc_handle, uint32_t status, const vc_field *, uint32_t);
    static void arrived(void *context, vc_handle, vc_str bytes);
    static void done(void *context, vc_handle, const vc_error *error);
    void exchange(const std::string &assertion, const std::string &url);
    void settle(std::optional<grpckit::Failure> why);

    grpckit::Provider &provider;
    const std::string secret, token_url;
    const grpckit::Job changed;

    mutable std::mutex lock; // Held to copy a text.
    std::string current;
    uint64_t ends_ms = 0;
    bool is_under_way = false;
    std::optional<grpckit::Failure> why_not;

    // Of the exchange under way; the host's callbacks come one at a time.
    uint32_t status = 0;
    std::string body;
};

/// A signed claim that whoever has the key of this service account asks for a token, and where to ask.
/// Throws a Failure when the text is no service account.
struct Assertion {
    std::string jwt, token_uri;
};
Assertion sign(const std::string &service_account, uint64_t now_s);

#endif
