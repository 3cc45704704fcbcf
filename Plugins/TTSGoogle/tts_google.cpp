// The plugin: Google's voices, streamed. One stream for each request of the host, which is a turn of the agent: it is
// opened with the first clause, and half-closed with the last. Google ends a stream to which nothing was said for five
// seconds, so one that waits for four is half-closed, and what comes later gets another.
// SPDX-License-Identifier: Apache-2.0
#include <GrpcKit/Voice.hpp>
#include <google_tts.pb.h>

#include "account.hpp"
#include "rest.hpp"

using namespace grpckit;
namespace wire = google::cloud::texttospeech::v1;

namespace {

constexpr char METHOD[] = "/google.cloud.texttospeech.v1.TextToSpeech/StreamingSynthesize";
constexpr uint32_t INPUT_MS_MAX = 4000;

struct VoiceSettings {
    std::string voice, language, url, transport;
    double speaking_rate = 1;
    uint32_t rate_hz = 0;
    Patience patience;
    int retries = 1;
};

/// "tr-TR" for "tr": Google wants the region, and a voice's name begins with it.
std::string locale_of(const std::string &language) {
    if (language.empty() || language == "en") return "en-US";
    if (language.size() != 2) return language;
    return language + "-" + static_cast<char>(language[0] - 32) + static_cast<char>(language[1] - 32);
}

/// Where streams are to be had: Chirp 3 HD, its predecessors, and the voices of Gemini.
bool is_streamed(const std::string &name) {
    return name.find("Chirp3-HD") != std::string::npos || name.find("Chirp-HD") != std::string::npos
        || name.find("Journey") != std::string::npos;
}

class GoogleVoice final : public Voice {
public:
    GoogleVoice(Provider &provider, const vc_open &request, const VoiceSettings &settings, Account &account)
        : Voice(provider, request, settings.retries), settings(settings), account(account) {
        const Settings own{request.session};
        std::string name = own.text("voice");
        if (name.empty()) name = settings.voice;
        std::string language(borrow(request.language));
        if (!settings.language.empty()) language = settings.language;
        // A voice without a locale speaks all of them: "Kore" is "tr-TR-Chirp3-HD-Kore" on a Turkish call.
        const bool is_whole_name = name.find('-') != std::string::npos;
        voice.language = is_whole_name ? name.substr(0, name.find('-', name.find('-') + 1)) : locale_of(language);
        voice.name = is_whole_name ? name : voice.language + "-Chirp3-HD-" + name;
        voice.rate_hz = settings.rate_hz ? settings.rate_hz : call_rate_hz ? call_rate_hz : 24'000;
        voice.speaking_rate = settings.speaking_rate;
        if (settings.transport != "grpc" && http_service()) http_service()->prewarm(handle, lend(settings.url));
        by_rest = settings.transport == "rest" || (settings.transport == "auto" && !is_streamed(voice.name));
    }

    ~GoogleVoice() override { provider.worker.forget(input_timer); }

    /// A token came, or did not.
    void token_changed() { advance(); }

protected:
    Metadata credentials() override {
        if (provider.token_secret().empty()) return account.renew(handle), Metadata{};
        return provider.credentials(handle);
    }

    bool says_requests_whole() const override { return !by_rest; }

    bool may_begin(Utterance &utterance) override {
        if (!utterance.metadata.empty()) return true;
        const std::optional<std::string> token = account.token();
        if (token) {
            utterance.metadata = {{"authorization", "Bearer " + *token}};
            return true;
        }
        // Failing here would pull the list from under `advance`; a moment later it does not.
        if (const std::optional<Failure> why = account.failure())
            post([this, request = utterance.request, why] {
                for (Utterance &waiting : utterances)
                    if (waiting.request == request && !waiting.is_begun) {
                        fail(waiting, *why);
                        return advance();
                    }
            });
        return false;
    }

    void begin(Utterance &utterance) override {
        utterance.rate_hz = static_cast<int32_t>(voice.rate_hz);
        if (by_rest) return ask_rest(utterance);
        utterance.call = provider.channel.call(METHOD, utterance.metadata, settings.patience, utterance);
        wire::StreamingSynthesizeRequest request;
        wire::StreamingSynthesizeConfig &config = *request.mutable_streaming_config();
        config.mutable_voice()->set_language_code(voice.language);
        config.mutable_voice()->set_name(voice.name);
        config.mutable_streaming_audio_config()->set_audio_encoding(wire::PCM);
        config.mutable_streaming_audio_config()->set_sample_rate_hertz(static_cast<int32_t>(voice.rate_hz));
        if (voice.speaking_rate != 1) config.mutable_streaming_audio_config()->set_speaking_rate(voice.speaking_rate);
        utterance.call->send(request.SerializeAsString());
        added(utterance, utterance.text);
    }

    void added(Utterance &utterance, const std::string &piece) override {
        if (!utterance.call) return;
        wire::StreamingSynthesizeRequest request;
        request.mutable_input()->set_text(piece);
        utterance.call->send(request.SerializeAsString());
        provider.worker.forget(input_timer);
        input_timer = provider.worker.after(INPUT_MS_MAX, [this, number = utterance.request] {
            if (utterances.empty() || utterances.back().request != number || utterances.back().is_whole) return;
            utterances.back().is_whole = true;
            if (utterances.back().call) utterances.back().call->finish();
        });
    }

    void completed(Utterance &utterance) override { utterance.call->finish(); }

    void heard(Utterance &utterance, std::string_view message) override {
        wire::StreamingSynthesizeResponse response;
        if (!response.ParseFromArray(message.data(), static_cast<int>(message.size())))
            return fail(utterance,
                        {VC_E_VENDOR, "Google sent what is no StreamingSynthesizeResponse", false, "", "google"});
        play(utterance, response.audio_content(), voice.rate_hz);
    }

    void lost(Utterance &utterance, const Outcome &outcome) override {
        if (outcome.is_ok() && utterance.samples > 0) {
            utterance.is_done = utterance.is_whole = true;
            return;
        }
        // What no retry of a stream mends, the other way may: a voice that has no streams, a network without HTTP/2.
        const bool is_elsewhere = outcome.code == GRPC_UNIMPLEMENTED || outcome.code == GRPC_INVALID_ARGUMENT
            || (outcome.code == GRPC_UNAVAILABLE && utterance.retries == 0);
        if (settings.transport == "auto" && utterance.samples == 0 && is_elsewhere) {
            log_line(handle, VC_LOG_WARNING, "Google's stream answered " + std::string(name_of(outcome.code)) + ": "
                     + outcome.message + "; the call goes on over REST");
            by_rest = true;
            utterance.is_whole = true;
            utterance.call.reset();
            return ask_rest(utterance);
        }
        if (outcome.code != GRPC_UNAVAILABLE || utterance.samples > 0 || utterance.retries == 0) {
            Failure failure = failure_of(outcome, "Google");
            if (outcome.is_ok()) failure = {VC_E_VENDOR, "Google answered without audio"};
            failure.vendor = "google";
            return fail(utterance, failure);
        }
        Voice::lost(utterance, outcome);
    }

    void canceled(uint64_t epoch) override {
        Voice::canceled(epoch);
        drop_requests();
    }

    void closing() override {
        Voice::closing();
        provider.worker.forget(input_timer);
        drop_requests();
    }

private:
    void ask_rest(Utterance &utterance) {
        const std::string bearer = utterance.metadata.empty() ? "" : utterance.metadata[0].second;
        const std::string token = bearer.rfind("Bearer ", 0) == 0 ? bearer.substr(7) : bearer;
        requests.remove_if([](const RestRequest &request) { return request.is_over(); });
        RestRequest &request = requests.emplace_back(*this, utterance.epoch, [this, asked = &utterance](
            std::optional<std::string> samples, const Failure &failure) {
            for (Utterance &known : utterances) {
                if (&known != asked) continue;
                if (samples) {
                    known.fetched = std::move(samples);
                } else if (failure.code == VC_E_NETWORK && known.retries > 0) {
                    known.retries--; // A pooled connection that was closed meanwhile, say.
                    return ask_rest(known);
                } else {
                    fail(known, failure);
                }
                return advance();
            }
        });
        request.start(settings.url, utterance.text, voice, token);
    }

    /// Of utterances that are gone. The host may be calling one back right now, so they stay until their end.
    void drop_requests() {
        if (utterances.empty())
            for (RestRequest &request : requests) request.cancel();
    }

    const VoiceSettings &settings;
    Account &account;
    RestVoice voice;
    bool by_rest = false;
    Worker::TimerId input_timer = 0;
    std::list<RestRequest> requests; // A list, because the host knows their addresses.
};

class Google final : public Provider {
public:
    explicit Google(const Settings &given)
        : Provider(given.object, read_endpoint(given), given),
          account(*this, secret_name(given.text("credentials")), given.text("token_url"), [this] {
              for_each_session([](Session &session) { static_cast<GoogleVoice &>(session).token_changed(); });
          }) {
        settings.voice = given.text("voice");
        settings.language = given.text("language");
        settings.url = given.text("url");
        settings.transport = given.text("transport");
        settings.speaking_rate = given.number("speaking_rate", 1);
        settings.rate_hz = static_cast<uint32_t>(given.integer("sample_rate", 0));
        settings.patience.whole_ms = static_cast<uint32_t>(given.integer("timeout_ms", 120'000));
        settings.patience.first_ms = static_cast<uint32_t>(given.integer("first_audio_ms", 5000));
        settings.patience.next_ms = 0; // A stream is quiet for as long as the model thinks.
        settings.retries = static_cast<int>(given.integer("retries", 1));
    }

    void starting() override {
        if (token_secret().empty()) account.renew(handle);
    }

    std::unique_ptr<Session> make_session(const vc_open &request) override {
        starting();
        return std::make_unique<GoogleVoice>(*this, request, settings, account);
    }

private:
    static std::string secret_name(const std::string &setting) {
        if (setting.empty()) return "";
        if (setting.rfind("${secret:", 0) != 0 || setting.back() != '}')
            throw Failure{VC_E_CONFIG, "`credentials` must name a secret as ${secret:NAME}, and not be one"};
        return setting.substr(9, setting.size() - 10);
    }

    VoiceSettings settings;
    Account account;
};

std::unique_ptr<Provider> make(const vc_create &request) {
    return std::make_unique<Google>(Settings{request.provider});
}

} // namespace

extern "C" VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    *module = make_module(host, {VC_KIND_TTS, "org.vchost.tts-google", &Voice::ops, make});
    return VC_OK;
}
