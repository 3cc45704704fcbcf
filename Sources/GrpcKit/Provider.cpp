// Settings, services, and the tables of the contract (Provider.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "GrpcKit/Provider.hpp"

#include <fstream>
#include <sstream>
#include <system_error>

#include <grpc/support/log.h>

#include "GrpcKit/Session.hpp"

namespace grpckit {

static const vc_host *the_host;
static Plugin the_plugin;

const vc_host *host() { return the_host; }

template <class Service> static const Service *service(const char *id) {
    return static_cast<const Service *>(the_host->service(id));
}

static const vc_config *config_service() { return service<vc_config>(VC_SERVICE_CONFIG); }
const vc_log *log_service() { return service<vc_log>(VC_SERVICE_LOG); }
const vc_secret *secret_service() { return service<vc_secret>(VC_SERVICE_SECRET); }
const vc_http *http_service() { return service<vc_http>(VC_SERVICE_HTTP); }
const vc_clock *clock_service() { return service<vc_clock>(VC_SERVICE_CLOCK); }

void log_line(vc_handle object, uint32_t level, std::string_view message) {
    if (const vc_log *log = log_service()) log->write(object, level, lend(message), nullptr, 0);
}

// Settings.

std::string Settings::text(const char *key) const {
    vc_str value{};
    if (config_service()->text(object, key, &value) != VC_OK) return "";
    return std::string(borrow(value));
}

int64_t Settings::integer(const char *key, int64_t otherwise) const {
    int64_t value = otherwise;
    return config_service()->integer(object, key, &value) == VC_OK ? value : otherwise;
}

double Settings::number(const char *key, double otherwise) const {
    double value = otherwise;
    return config_service()->number(object, key, &value) == VC_OK ? value : otherwise;
}

bool Settings::flag(const char *key, bool otherwise) const {
    uint32_t value = otherwise;
    return config_service()->flag(object, key, &value) == VC_OK ? value != 0 : otherwise;
}

bool Settings::has(const char *key) const {
    double value;
    return config_service()->number(object, key, &value) == VC_OK;
}

Endpoint read_endpoint(const Settings &settings) {
    Endpoint endpoint;
    endpoint.address = settings.text("address");
    const size_t colon = endpoint.address.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == endpoint.address.size()
        || endpoint.address.find("//") != std::string::npos)
        throw Failure{VC_E_CONFIG, "`address` is `" + quotable(endpoint.address) + "`; it must be HOST:PORT, with `tls`"
                                   " for a server with a certificate"};
    endpoint.is_tls = settings.flag("tls");
    endpoint.tls_name = settings.text("tls_name");
    if (const std::string path = settings.text("tls_certificates"); !path.empty()) {
        std::ifstream file(path);
        std::stringstream text;
        text << file.rdbuf();
        endpoint.root_certificates = text.str();
        if (endpoint.root_certificates.find("BEGIN CERTIFICATE") == std::string::npos)
            throw Failure{VC_E_CONFIG, "`tls_certificates` names " + path + ", which has no certificate in PEM"};
    }
    endpoint.connect_ms = static_cast<uint32_t>(settings.integer("connect_ms", endpoint.connect_ms));
    endpoint.keepalive_ms = static_cast<uint32_t>(settings.integer("keepalive_ms", endpoint.keepalive_ms));
    endpoint.reconnect_max_ms = static_cast<uint32_t>(settings.integer("reconnect_max_ms", endpoint.reconnect_max_ms));
    return endpoint;
}

// Providers.

Provider::Provider(vc_handle handle, Endpoint endpoint, const Settings &settings)
    : handle(handle), worker([this] {
          for (auto &[session, _] : sessions) session->notice();
      }),
      channel(std::move(endpoint), worker), token_header(settings.text("token_header")) {
    const std::string token = settings.text("token");
    constexpr std::string_view opening = "${secret:";
    if (token.empty()) return;
    if (token.size() <= opening.size() + 1 || token.compare(0, opening.size(), opening) != 0 || token.back() != '}')
        throw Failure{VC_E_CONFIG, "`token` must name a secret as ${secret:NAME}, and not be one"};
    token_name = token.substr(opening.size(), token.size() - opening.size() - 1);
}

Provider::~Provider() = default;

Metadata Provider::credentials(vc_handle object) const {
    Metadata metadata;
    if (token_name.empty()) return metadata;
    const vc_secret *secrets = secret_service();
    std::string token;
    const auto use = [](void *context, vc_str secret) { static_cast<std::string *>(context)->assign(borrow(secret)); };
    const vc_status status = secrets ? secrets->with(object, token_name.c_str(), use, &token) : VC_E_UNSUPPORTED;
    if (status != VC_OK || token.empty())
        throw Failure{VC_E_AUTH, "the secret " + token_name + " is not set; name it under [secrets]"};
    const bool is_bearer = token_header.empty() || token_header == "authorization";
    metadata.emplace_back(token_header.empty() ? "authorization" : token_header, is_bearer ? "Bearer " + token : token);
    return metadata;
}

void Provider::for_each_session(const std::function<void(Session &)> &visit) {
    for (auto &[session, _] : sessions) visit(*session);
}

// Slots.

/// What the host calls. Each is the contract's slot of its name.
struct Slots {
    static vc_status refuse(vc_error *error, const Failure &failure) {
        // The host reads it as soon as we have returned. Never destroyed: no business at the process's end.
        static thread_local Failure &last = *new Failure;
        last = failure;
        fill(*error, last);
        return failure.code;
    }

    template <class Work> static vc_status attempt(vc_error *error, Work &&work) {
        try {
            work();
            return VC_OK;
        } catch (const Failure &failure) {
            return refuse(error, failure);
        } catch (const std::system_error &) {
            return refuse(error, {VC_E_MEMORY, "there is no thread to be had for the connection"});
        } catch (const std::bad_alloc &) {
            return VC_E_MEMORY;
        } catch (...) {
            return VC_E_INTERNAL;
        }
    }

    static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
        return attempt(error, [&] {
            if (!config_service()) throw Failure{VC_E_UNSUPPORTED, "this host does not offer vc.config/1"};
            *self = the_plugin.make(*request).release();
        });
    }

    static vc_status start(vc_self self, vc_error *error) {
        auto &provider = *static_cast<Provider *>(self);
        return attempt(error, [&] {
            provider.worker.start();
            provider.worker.inbox->post([&provider] {
                // gRPC would write to stderr, where a line has no place in the operator's log.
                gpr_set_log_function([](gpr_log_func_args *line) {
                    if (line->severity >= GPR_LOG_SEVERITY_ERROR) log_line(0, VC_LOG_WARNING, quotable(line->message));
                });
                // A server that is not there yet is no reason to have no provider: gRPC goes on trying.
                provider.channel.connect();
                const vc_event event{sizeof event, VC_EVENT_READY, 0, 0, 0, 0};
                the_host->emit(provider.handle, &event);
            });
            provider.starting();
        });
    }

    static void destroy(vc_self self) {
        auto *provider = static_cast<Provider *>(self);
        // Before anything of the plugin's own is gone: the jobs that are left free its sessions.
        provider->worker.stop();
        provider->sessions.clear();
        delete provider;
    }

    static vc_status open(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
        auto &provider = *static_cast<Provider *>(self);
        return attempt(error, [&] {
            // Not yet the provider's, but never lost: a job that is forgotten frees it.
            auto session = std::make_shared<std::unique_ptr<Session>>(provider.make_session(*request));
            Session *known = session->get();
            const uint64_t epoch = request->epoch;
            provider.worker.inbox->post([&provider, session, epoch] {
                Session &opened = *provider.sessions.emplace(session->get(), std::move(*session)).first->second;
                provider.channel.connect(); // It may have been lost while nobody called.
                opened.emit_plain(VC_EVENT_READY, epoch, 0);
                opened.notice();
            });
            out->state = known;
            out->ops = &session_ops;
            out->kind_ops = the_plugin.kind_ops;
        });
    }

    static void cancel(vc_self self, uint64_t epoch) {
        auto &session = *static_cast<Session *>(self);
        uint64_t seen = session.wanted_epoch.load();
        while (seen < epoch)
            if (session.wanted_epoch.compare_exchange_weak(seen, epoch)) return session.provider.worker.inbox->nudge();
    }

    static void credit(vc_self self, uint32_t, uint64_t) {
        auto &session = *static_cast<Session *>(self);
        guarded([&] { return session.post([&session] { session.deliver(); }), VC_OK; });
    }

    static void close(vc_self self) {
        auto &session = *static_cast<Session *>(self);
        session.is_closing = true;
        guarded([&] {
            session.post([&session] {
                session.closing();
                session.outbox.clear();
                session.is_closed = true;
                // Nothing of it is left in gRPC then. The session may be gone, if the host gave it up.
                const vc_handle handle = session.handle;
                const uint64_t epoch = session.epoch;
                session.provider.worker.when_quiet([handle, epoch] {
                    const vc_event event{sizeof event, VC_EVENT_CLOSED, 0, 0, epoch, 0};
                    the_host->emit(handle, &event);
                });
            });
            return VC_OK;
        });
    }

    static void destroy_session(vc_self self) {
        auto *session = static_cast<Session *>(self);
        Provider &provider = session->provider;
        guarded([&] {
            provider.worker.inbox->post([&provider, session] { provider.sessions.erase(session); });
            return VC_OK;
        });
    }

    static constexpr vc_session_ops session_ops{sizeof(vc_session_ops), 0, cancel, credit, close, destroy_session};
};

const vc_module *make_module(const vc_host *host, const Plugin &plugin) {
    the_host = host;
    the_plugin = plugin;
    static vc_provider provider;
    provider = {};
    provider.size = sizeof provider;
    provider.kind = lend(plugin.kind);
    provider.id = lend(plugin.id);
    provider.create = Slots::create;
    provider.start = Slots::start;
    provider.destroy = Slots::destroy;
    provider.open = Slots::open;
    static const vc_provider *const providers[] = {&provider};
    static const vc_module module{sizeof module, VC_ABI_MINOR, 0, 1, providers};
    return &module;
}

} // namespace grpckit
