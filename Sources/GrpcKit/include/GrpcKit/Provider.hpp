// A provider: its settings, its connection, its worker, and the tables by which the host calls all of it.
// SPDX-License-Identifier: Apache-2.0
#ifndef GRPCKIT_PROVIDER_HPP
#define GRPCKIT_PROVIDER_HPP

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "Channel.hpp"

namespace grpckit {

class Session;

/// The settings of a provider or a session, defaults filled in. Reads them through "vc.config/1".
struct Settings {
    vc_handle object;
    std::string text(const char *key) const;
    int64_t integer(const char *key, int64_t otherwise = 0) const;
    double number(const char *key, double otherwise = 0) const;
    bool flag(const char *key, bool otherwise = false) const;
    /// Whether a number is set, since 0 may be one.
    bool has(const char *key) const;
};

/// `address`, `tls` and the settings beside them. Throws a Failure where one cannot work.
Endpoint read_endpoint(const Settings &settings);

class Provider {
public:
    Provider(vc_handle handle, Endpoint endpoint, const Settings &settings);
    virtual ~Provider();
    Provider(const Provider &) = delete;

    /// A session for a call; on any thread of the host.
    virtual std::unique_ptr<Session> make_session(const vc_open &request) = 0;
    /// In `start`, as VC_CONTROL of the provider: what has to be fetched ahead.
    virtual void starting() {}

    /// What every RPC carries: the token, from the secret that `token` names. Only within a VC_CONTROL call of
    /// `object`. The secret is lent: the text is dropped when the request that it serves needs no further RPC.
    Metadata credentials(vc_handle object) const;
    /// The setting `token` without `${secret:` and `}`, or empty.
    const std::string &token_secret() const { return token_name; }

    /// On the worker's thread.
    void for_each_session(const std::function<void(Session &)> &visit);

    const vc_handle handle;
    Worker worker;
    Channel channel;

private:
    friend struct Slots;
    std::string token_name, token_header;
    std::unordered_map<Session *, std::unique_ptr<Session>> sessions; // The worker's.
};

/// The host, as it was given to the entry.
const vc_host *host();
/// A service, or NULL; looked up once for each type.
const vc_log *log_service();
const vc_secret *secret_service();
const vc_http *http_service();
const vc_clock *clock_service();

/// A line of the operator's log.
void log_line(vc_handle object, uint32_t level, std::string_view message);

/// What makes a plugin out of the above.
struct Plugin {
    const char *kind;
    const char *id;
    const void *kind_ops;
    std::unique_ptr<Provider> (*make)(const vc_create &request); ///< May throw a Failure.
};

/// The module of a plugin with this one provider, for its entry.
const vc_module *make_module(const vc_host *host, const Plugin &plugin);

} // namespace grpckit

#endif
