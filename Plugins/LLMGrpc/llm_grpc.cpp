// The plugin: a language model behind the existing gRPC service.
// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

using namespace grpckit;

namespace {

class Model final : public Provider {
public:
    Model(const vc_create &request, const Settings &settings)
        : Provider(request.provider, read_endpoint(settings), settings) {
        // The settings in JSON, because a list has no form of its own in "vc.config/1".
        defaults.options = read_options(borrow(request.config));
        defaults.history_turns = static_cast<int>(settings.integer("history_turns", 4));
        defaults.patience.whole_ms = static_cast<uint32_t>(settings.integer("timeout_ms", 30'000));
        defaults.patience.first_ms = static_cast<uint32_t>(settings.integer("first_token_ms", 5000));
        defaults.patience.next_ms = static_cast<uint32_t>(settings.integer("next_token_ms", 5000));
        defaults.retries = static_cast<int>(settings.integer("retries", 1));
    }

    std::unique_ptr<Session> make_session(const vc_open &request) override {
        return std::make_unique<ModelSession>(*this, request, defaults);
    }

private:
    Defaults defaults;
};

std::unique_ptr<Provider> make(const vc_create &request) {
    return std::make_unique<Model>(request, Settings{request.provider});
}

vc_status request(vc_self self, const vc_llm_request *asked) {
    return guarded([&] { return static_cast<ModelSession *>(static_cast<Session *>(self))->request(*asked); });
}

constexpr vc_llm_ops ops{sizeof(vc_llm_ops), 0, request, nullptr};

} // namespace

extern "C" VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    *module = make_module(host, {VC_KIND_LLM, "org.vchost.llm-grpc", &ops, make});
    return VC_OK;
}
