// The plugin: a voice behind the existing gRPC service.
//
// The known server says in its first message that the audio has the rate that was asked for, and then sends that of its
// model. So it is asked for nothing, and its audio is taken for what `model_rate_hz` says; the host resamples. A server
// that keeps its word is believed with `believe_rate`.
// SPDX-License-Identifier: Apache-2.0
#include <GrpcKit/Voice.hpp>
#include <tts.pb.h>

using namespace grpckit;
namespace wire = opensips::ai::tts;

namespace {

constexpr char METHOD[] = "/opensips.ai.tts.TTSService/SynthesizeText";

/// As `capabilities.rates` in the manifest has them.
bool is_known_rate(int32_t hz) {
    for (const int32_t known : {8000, 16'000, 22'050, 24'000, 44'100, 48'000})
        if (hz == known) return true;
    return false;
}

struct VoiceSettings {
    std::string voice;
    int32_t model_rate_hz = 22'050, asked_rate_hz = 0;
    bool believes_rate = false;
    Patience patience;
    int retries = 1;
};

class PiperVoice final : public Voice {
public:
    PiperVoice(Provider &provider, const vc_open &request, const VoiceSettings &settings, std::string voice)
        : Voice(provider, request, settings.retries), settings(settings), voice(std::move(voice)) {}

protected:
    void begin(Utterance &utterance) override {
        wire::SynthesizeRequest request;
        request.set_text(utterance.text);
        request.set_voice(voice);
        request.set_sample_rate(settings.asked_rate_hz);
        utterance.rate_hz = settings.model_rate_hz;
        utterance.call = provider.channel.call(METHOD, utterance.metadata, settings.patience, utterance);
        utterance.call->send(request.SerializeAsString());
        utterance.call->finish();
    }

    void heard(Utterance &utterance, std::string_view message) override {
        wire::SynthesizeResponse response;
        if (!response.ParseFromArray(message.data(), static_cast<int>(message.size())))
            return fail(utterance, {VC_E_VENDOR, provider.channel.peer()
                                                     + " sent what is no SynthesizeResponse; is it a voice?"});
        switch (response.response_type_case()) {
        case wire::SynthesizeResponse::kStarted: return started(utterance, response.started().audio_info());
        case wire::SynthesizeResponse::kAudioChunk:
            return play(utterance, response.audio_chunk(), static_cast<uint32_t>(utterance.rate_hz));
        case wire::SynthesizeResponse::kCompleted: utterance.is_said = true; return;
        case wire::SynthesizeResponse::kError: return refused(utterance, response.error());
        default: return; // A message of a later version.
        }
    }

private:
    void started(Utterance &utterance, const wire::AudioInfo &info) {
        if ((info.channels() > 1) || (info.bit_depth() != 0 && info.bit_depth() != 16))
            return fail(utterance, {VC_E_VENDOR, provider.channel.peer() + " sends audio of "
                                                     + std::to_string(info.channels()) + " channels and "
                                                     + std::to_string(info.bit_depth())
                                                     + " bits; one channel of 16 bits is taken"});
        if (settings.believes_rate && is_known_rate(info.sample_rate())) utterance.rate_hz = info.sample_rate();
    }

    void refused(Utterance &utterance, const wire::SynthesisError &error) {
        if (error.error_code() == "EMPTY_TEXT") { // Nothing to say is no failure.
            utterance.is_said = true;
            return;
        }
        Failure failure{VC_E_VENDOR, provider.channel.peer() + " answered " + quotable(error.error_code()) + ": "
                                         + quotable(error.error_message())};
        failure.vendor_code = quotable(error.error_code());
        failure.is_retryable = true;
        fail(utterance, failure);
    }

    const VoiceSettings &settings;
    const std::string voice;
};

class PiperService final : public Provider {
public:
    explicit PiperService(const Settings &given) : Provider(given.object, read_endpoint(given), given) {
        settings.voice = given.text("voice");
        settings.model_rate_hz = static_cast<int32_t>(given.integer("model_rate_hz", settings.model_rate_hz));
        settings.asked_rate_hz = static_cast<int32_t>(given.integer("sample_rate", 0));
        settings.believes_rate = given.flag("believe_rate");
        settings.patience.whole_ms = static_cast<uint32_t>(given.integer("timeout_ms", 30'000));
        settings.patience.first_ms = static_cast<uint32_t>(given.integer("first_audio_ms", 5000));
        settings.patience.next_ms = static_cast<uint32_t>(given.integer("next_audio_ms", 3000));
        settings.retries = static_cast<int>(given.integer("retries", 1));
    }

    std::unique_ptr<Session> make_session(const vc_open &request) override {
        const std::string voice = Settings{request.session}.text("voice");
        return std::make_unique<PiperVoice>(*this, request, settings, voice.empty() ? settings.voice : voice);
    }

private:
    VoiceSettings settings;
};

std::unique_ptr<Provider> make(const vc_create &request) {
    return std::make_unique<PiperService>(Settings{request.provider});
}

} // namespace

extern "C" VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    *module = make_module(host, {VC_KIND_TTS, "org.vchost.tts-grpc", &Voice::ops, make});
    return VC_OK;
}
