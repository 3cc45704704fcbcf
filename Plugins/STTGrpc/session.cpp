// Audio out, words in (session.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <algorithm>

#include <asr.pb.h>

using namespace grpckit;
namespace wire = opensips::ai::asr;

static constexpr char METHOD[] = "/opensips.ai.asr.ASRService/StreamingRecognize";
/// Whoever speaks for ten minutes is a radio.
static constexpr uint32_t STREAM_MS_MAX = 600'000;
/// How far back `begin` may reach: detectors are a second late at most.
static constexpr uint32_t RECENT_SECONDS = 3;
static constexpr uint32_t RETRY_MS = 250;
/// Utterances whose text is still to come. A host waits for one, and has asked for another at most.
static constexpr size_t UTTERANCES_MAX = 8;

static std::string message_of(const wire::StreamingRecognizeRequest &request) { return request.SerializeAsString(); }

// MARK: Slots

/// The token is lent for the utterance's streams, and dropped with it.
Metadata RecogniserSession::lend_credentials(std::optional<Failure> &refused) {
    try {
        return provider.credentials(handle);
    } catch (const Failure &failure) {
        refused = failure;
        return {};
    }
}

vc_status RecogniserSession::begin(uint64_t utterance, uint64_t position) {
    if (const vc_status status = check(UINT64_MAX); status != VC_OK) return status;
    std::optional<Failure> refused;
    Metadata metadata = lend_credentials(refused);
    post([this, utterance, position, metadata = std::move(metadata), refused] {
        begin_at(utterance, position, metadata, refused);
    });
    return VC_OK;
}

vc_status RecogniserSession::push(const vc_frame &frame) {
    if (const vc_status status = check(UINT64_MAX); status != VC_OK) return status;
    if (frame.format != VC_FORMAT_S16 || frame.rate_hz != rate_hz || frame.bytes % 2 != 0) return VC_E_ARGUMENT;
    // A second: this thread is never that late unless the machine is.
    if (queued_bytes.load() + frame.bytes > rate_hz * 2) return VC_E_AGAIN;
    queued_bytes += frame.bytes;
    std::string samples(static_cast<const char *>(frame.data), frame.bytes);
    post([this, samples = std::move(samples), position = frame.position] {
        queued_bytes -= samples.size();
        append(samples, position);
    });
    return VC_OK;
}

vc_status RecogniserSession::finalize(uint64_t request, uint64_t position) {
    if (const vc_status status = check(UINT64_MAX); status != VC_OK) return status;
    std::optional<Failure> refused;
    Metadata metadata = lend_credentials(refused);
    post([this, request, position, metadata = std::move(metadata), refused] {
        // Nobody said that an utterance began: it began with what is known.
        if (!current) begin_at(0, recent_end - recent.size() / 2, metadata, refused);
        Utterance &utterance = *current;
        current = nullptr;
        utterance.is_asked = true;
        utterance.request = request;
        utterance.end = position;
        utterance.epoch = epoch;
        if (utterance.audio.empty() && utterance.forgotten == 0 && !utterance.failure) return answer(utterance);
        if (utterance.call) send(utterance, true);
        if (utterance.failure) return lose(utterance, *utterance.failure, false);
        await_answer(utterance);
    });
    return VC_OK;
}

// MARK: Audio

void RecogniserSession::begin_at(uint64_t number, uint64_t position, Metadata metadata,
                                 const std::optional<Failure> &refused) {
    if (current) remove(*current); // Its text is not wanted any more.
    if (utterances.size() == UTTERANCES_MAX)
        lose(utterances.front(), {VC_E_TIMEOUT, "eight utterances wait for their text already"}, false);
    const uint64_t oldest = recent_end - recent.size() / 2;
    const uint64_t start = std::clamp(position, oldest, recent_end);
    Utterance &utterance = utterances.emplace_back(*this, number, start);
    current = &utterance;
    utterance.audio = recent.substr((start - oldest) * 2);
    recent.clear();
    utterance.metadata = std::move(metadata);
    utterance.retries = settings.retries;
    utterance.failure = refused;
    if (!refused) connect(utterance);
}

void RecogniserSession::append(const std::string &samples, uint64_t position) {
    if (current && current->failure) recent_end = position + samples.size() / 2;
    if (current && current->failure) return; // Nobody will hear it.
    std::string &audio = current ? current->audio : recent;
    // What the host had to drop is silence, so that positions stay right; a second of it at most.
    if (position > recent_end && position - recent_end <= rate_hz) audio.append((position - recent_end) * 2, '\0');
    audio += samples;
    recent_end = position + samples.size() / 2;
    if (!current) {
        const size_t most = RECENT_SECONDS * rate_hz * 2;
        if (recent.size() > most) recent.erase(0, recent.size() - most);
        return;
    }
    if (current->call) send(*current, false);
}

/// What the stream was not told yet, in messages of `chunk_ms`; the rest too with `all`, and then the end.
void RecogniserSession::send(Utterance &utterance, bool all) {
    const size_t chunk = settings.chunk_ms * rate_hz / 1000 * 2;
    wire::StreamingRecognizeRequest request;
    while (utterance.audio.size() - utterance.sent >= chunk || (all && utterance.sent < utterance.audio.size())) {
        const size_t bytes = std::min(chunk, utterance.audio.size() - utterance.sent);
        request.set_audio_data(utterance.audio.data() + utterance.sent, bytes);
        utterance.call->send(message_of(request));
        utterance.sent += bytes;
    }
    if (utterance.audio.size() > static_cast<size_t>(settings.utterance_seconds_max) * rate_hz * 2) {
        utterance.retries = 0;
        utterance.audio.erase(0, utterance.sent);
        utterance.forgotten += utterance.sent;
        utterance.sent = 0;
    }
    if (!all) return;
    request.set_control_message(R"({"eof":1})");
    utterance.call->send(message_of(request));
    utterance.call->finish();
}

// MARK: The stream

void RecogniserSession::connect(Utterance &utterance) {
    Patience patience;
    patience.whole_ms = STREAM_MS_MAX;
    utterance.sent = 0;
    utterance.said.clear();
    utterance.partial.clear();
    utterance.words.clear();
    utterance.confidence_sum = 0;
    utterance.confidence_count = 0;
    utterance.call = provider.channel.call(METHOD, utterance.metadata, patience, utterance);
    wire::StreamingRecognizeRequest request;
    auto &config = *request.mutable_config();
    config.set_sample_rate(static_cast<float>(rate_hz));
    config.set_show_words(settings.wants_words);
    config.mutable_phrase_list()->Assign(settings.phrases.begin(), settings.phrases.end());
    utterance.call->send(message_of(request));
    utterance.call->read();
    send(utterance, utterance.is_asked);
}

Utterance::~Utterance() {
    if (timer) session.provider.worker.forget(timer);
}

void Utterance::received(Call &, std::string_view message) { session.hear(*this, message); }

void Utterance::ended(Call &, const Outcome &outcome) {
    if (outcome.is_ok()) {
        // All is said, and a server of another make left out `end_of_utterance`.
        if (is_asked && sent == audio.size()) return session.answer(*this);
        return session.lose(*this, {VC_E_VENDOR, session.provider.channel.peer() + " ended the stream while it was being "
                                    "told audio"}, true);
    }
    const bool is_broken = outcome.code == GRPC_UNAVAILABLE || outcome.code == GRPC_CANCELLED
        || outcome.code == GRPC_UNKNOWN || outcome.code == GRPC_INTERNAL;
    session.lose(*this, failure_of(outcome, session.provider.channel.peer()), is_broken);
}

void RecogniserSession::hear(Utterance &utterance, std::string_view message) {
    wire::StreamingRecognizeResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size())))
        return lose(utterance, {VC_E_VENDOR, provider.channel.peer() + " sent what is no StreamingRecognizeResponse; is it "
                                "a recogniser?"}, false);
    const wire::RecognitionResult &result = response.result();
    if (response.is_final()) {
        utterance.partial.clear();
        if (!result.text().empty()) {
            if (!utterance.said.empty()) utterance.said += ' ';
            utterance.said += result.text();
            utterance.confidence_sum += result.confidence();
            utterance.confidence_count++;
        }
        for (const wire::WordInfo &word : result.words()) {
            const auto at = [&](float seconds) {
                return utterance.start + static_cast<uint64_t>(std::max(0.0f, seconds) * static_cast<float>(rate_hz));
            };
            utterance.words.push_back({word.word(), at(word.start()), at(word.end()), word.confidence()});
        }
    }
    if (response.end_of_utterance() && utterance.is_asked && utterance.sent == utterance.audio.size())
        return answer(utterance);
    if (!response.is_final() && result.text() != utterance.partial && !utterance.is_asked && !is_held_up()) {
        utterance.partial = result.text();
        std::string text = utterance.said;
        if (!text.empty() && !utterance.partial.empty()) text += ' ';
        text += utterance.partial;
        if (!text.empty()) emit_transcript(utterance, false, std::move(text));
    }
    utterance.call->read();
}

/// The stream is gone. Tells another one all of it again, or says why not when somebody asks.
void RecogniserSession::lose(Utterance &utterance, const Failure &failure, bool may_retry) {
    utterance.call.reset();
    if (utterance.timer) provider.worker.forget(utterance.timer), utterance.timer = 0;
    if (may_retry && utterance.retries > 0) {
        utterance.retries--;
        utterance.timer = provider.worker.after(RETRY_MS, [this, &utterance] {
            utterance.timer = 0;
            connect(utterance);
            if (utterance.is_asked) await_answer(utterance);
        });
        return;
    }
    utterance.failure = failure;
    if (!utterance.is_asked) return;
    emit_failure(failure, utterance.epoch, utterance.request);
    remove(utterance);
}

void RecogniserSession::await_answer(Utterance &utterance) {
    if (utterance.timer) return; // An attempt is due, and will wait for its answer.
    utterance.timer = provider.worker.after(settings.finalize_ms, [this, &utterance] {
        utterance.timer = 0;
        lose(utterance, {VC_E_TIMEOUT, provider.channel.peer() + " had no text within " + std::to_string(settings.finalize_ms)
                         + " ms of the utterance's end", true, "DEADLINE_EXCEEDED"}, false);
    });
}

// MARK: Words

void RecogniserSession::emit_transcript(const Utterance &utterance, bool is_final, std::string text) {
    const float confidence = utterance.confidence_count
        ? std::min(1.0f, utterance.confidence_sum / static_cast<float>(utterance.confidence_count)) : -1;
    auto event = make_event<vc_event_transcript>(VC_EVENT_TRANSCRIPT, is_final ? utterance.epoch : epoch,
                                                 is_final ? utterance.request : 0);
    event.utterance = utterance.number;
    event.start = utterance.start;
    event.end = is_final ? utterance.end : utterance.start + (utterance.forgotten + utterance.sent) / 2;
    event.final = is_final;
    event.confidence = confidence;
    event.stability = -1;
    std::vector<Word> words = is_final ? utterance.words : std::vector<Word>{};
    emit(event.head.epoch, [this, event, text = std::move(text), words = std::move(words)]() mutable {
        std::vector<vc_word> lent;
        for (const Word &word : words) {
            const uint64_t end = std::min(word.end, event.end), start = std::min(word.start, end);
            lent.push_back({lend(word.text), start, end, word.confidence, 0});
        }
        event.text = lend(text);
        event.words = lent.empty() ? nullptr : lent.data();
        event.word_count = static_cast<uint32_t>(lent.size());
        return host()->emit(handle, &event.head);
    });
}

void RecogniserSession::answer(Utterance &utterance) {
    if (!utterance.said.empty()) emit_transcript(utterance, true, utterance.said);
    emit_plain(VC_EVENT_FINALIZED, utterance.epoch, utterance.request);
    remove(utterance);
}

void RecogniserSession::remove(Utterance &utterance) {
    if (current == &utterance) current = nullptr;
    utterances.remove_if([&](const Utterance &other) { return &other == &utterance; });
}

void RecogniserSession::canceled(uint64_t) {
    current = nullptr;
    utterances.clear();
}

void RecogniserSession::closing() { canceled(epoch); }
