// The plugin: a recogniser behind the existing gRPC service.
// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

using namespace grpckit;

namespace {

class Recogniser final : public Provider {
public:
    explicit Recogniser(const Settings &given) : Provider(given.object, read_endpoint(given), given) {
        settings.wants_words = given.flag("words", true);
        // One a comma, since a grammar's phrases have none.
        std::string phrase;
        for (const char c : given.text("phrases") + ",") {
            if (c != ',') {
                if (c != ' ' || !phrase.empty()) phrase += c;
            } else if (!phrase.empty()) {
                settings.phrases.push_back(std::move(phrase));
                phrase.clear();
            }
        }
        settings.chunk_ms = static_cast<uint32_t>(given.integer("chunk_ms", settings.chunk_ms));
        settings.finalize_ms = static_cast<uint32_t>(given.integer("finalize_ms", settings.finalize_ms));
        settings.utterance_seconds_max = static_cast<uint32_t>(given.integer("utterance_seconds_max", 60));
        settings.retries = static_cast<int>(given.integer("retries", settings.retries));
    }

    std::unique_ptr<Session> make_session(const vc_open &request) override {
        return std::make_unique<RecogniserSession>(*this, request, settings);
    }

private:
    RecogniserSettings settings;
};

std::unique_ptr<Provider> make(const vc_create &request) {
    return std::make_unique<Recogniser>(Settings{request.provider});
}

RecogniserSession &of(vc_self self) { return *static_cast<RecogniserSession *>(static_cast<Session *>(self)); }

vc_status begin(vc_self self, uint64_t utterance, uint64_t position) {
    return guarded([&] { return of(self).begin(utterance, position); });
}

vc_status push(vc_self self, const vc_frame *frame) {
    return guarded([&] { return of(self).push(*frame); });
}

vc_status finalize(vc_self self, uint64_t request, uint64_t position, uint32_t flags) {
    return guarded([&] { return of(self).finalize(request, position, (flags & VC_STT_TENTATIVE) != 0); });
}

constexpr vc_stt_ops ops{sizeof(vc_stt_ops), 0, begin, push, finalize};

} // namespace

extern "C" VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    *module = make_module(host, {VC_KIND_STT, "org.vchost.stt-grpc", &ops, make});
    return VC_OK;
}
