// An utterance's stream: what it is told, what it answers, and what becomes of it when it breaks (session.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <algorithm>

#include <asr.pb.h>

using namespace grpckit;
namespace wire = opensips::ai::asr;

static constexpr char METHOD[] = "/opensips.ai.asr.ASRService/StreamingRecognize";
/// Whoever speaks for ten minutes is a radio.
static constexpr uint32_t STREAM_MS_MAX = 600'000;
static constexpr uint32_t RETRY_MS = 250;

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
    utterance.call->send(request.SerializeAsString());
    utterance.call->read();
    send(utterance, utterance.is_asked);
}

/// What the stream was not told yet, in messages of `chunk_ms`; the rest too with `all`, and then the end.
void RecogniserSession::send(Utterance &utterance, bool all) {
    const size_t chunk = settings.chunk_ms * rate_hz / 1000 * 2;
    wire::StreamingRecognizeRequest request;
    while (utterance.audio.size() - utterance.sent >= chunk || (all && utterance.sent < utterance.audio.size())) {
        const size_t bytes = std::min(chunk, utterance.audio.size() - utterance.sent);
        request.set_audio_data(utterance.audio.data() + utterance.sent, bytes);
        utterance.call->send(request.SerializeAsString());
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
    utterance.call->send(request.SerializeAsString());
    utterance.call->finish();
}

Utterance::~Utterance() {
    if (timer) session.provider.worker.forget(timer);
}

void Utterance::received(Call &, std::string_view message) { session.hear(*this, message); }

void Utterance::ended(Call &, const Outcome &outcome) {
    if (outcome.is_ok()) {
        // All is said, and a server of another make left out `end_of_utterance`.
        if (is_asked && sent == audio.size()) return session.answer(*this);
        const std::string peer = session.provider.channel.peer();
        return session.lose(*this, {VC_E_VENDOR, peer + " ended the stream while it was being told audio"}, true);
    }
    const bool is_broken = outcome.code == GRPC_UNAVAILABLE || outcome.code == GRPC_CANCELLED
        || outcome.code == GRPC_UNKNOWN || outcome.code == GRPC_INTERNAL;
    session.lose(*this, failure_of(outcome, session.provider.channel.peer()), is_broken);
}

static std::string joined(std::string one, const std::string &other) {
    if (!one.empty() && !other.empty()) one += ' ';
    return std::move(one) + other;
}

void RecogniserSession::hear(Utterance &utterance, std::string_view message) {
    wire::StreamingRecognizeResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size())))
        return lose(utterance,
                    {VC_E_VENDOR, provider.channel.peer() + " sent what is no StreamingRecognizeResponse; is it a "
                                  "recogniser?"},
                    false);
    const wire::RecognitionResult &result = response.result();
    if (response.is_final()) {
        utterance.partial.clear();
        if (!result.text().empty()) {
            utterance.said = joined(std::move(utterance.said), result.text());
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
        std::string text = joined(joined(utterance.before, utterance.said), utterance.partial);
        if (!text.empty() && !utterance.previous) emit_transcript(utterance, false, std::move(text));
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
    pass_on(utterance, utterance.before);
}

void RecogniserSession::await_answer(Utterance &utterance) {
    if (utterance.timer) return; // An attempt is due, and will wait for its answer.
    utterance.timer = provider.worker.after(settings.finalize_ms, [this, &utterance] {
        utterance.timer = 0;
        const std::string ms = std::to_string(settings.finalize_ms);
        lose(utterance,
             {VC_E_TIMEOUT, provider.channel.peer() + " had no text within " + ms + " ms of the utterance's end", true,
              "DEADLINE_EXCEEDED"},
             false);
    });
}

// MARK: Words

void RecogniserSession::emit_transcript(const Utterance &utterance, bool is_final, std::string text) {
    const float confidence = utterance.confidence_count
        ? std::min(1.0f, utterance.confidence_sum / static_cast<float>(utterance.confidence_count)) : -1;
    auto event = make_event<vc_event_transcript>(VC_EVENT_TRANSCRIPT, is_final ? utterance.epoch : epoch,
                                                 is_final ? utterance.request : 0);
    event.utterance = utterance.number;
    event.start = utterance.first;
    event.end = is_final ? utterance.end : utterance.start + (utterance.forgotten + utterance.sent) / 2;
    event.final = is_final;
    event.confidence = confidence;
    event.stability = -1;
    std::vector<Word> words;
    if (is_final) {
        words = utterance.words_before;
        words.insert(words.end(), utterance.words.begin(), utterance.words.end());
    }
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
    if (utterance.previous) {
        utterance.is_answered = true;
        utterance.call.reset();
        if (utterance.timer) provider.worker.forget(utterance.timer), utterance.timer = 0;
        return;
    }
    std::string text = joined(utterance.before, utterance.said);
    if (!text.empty()) emit_transcript(utterance, true, text);
    emit_plain(VC_EVENT_FINALIZED, utterance.epoch, utterance.request);
    pass_on(utterance, text);
}

/// The part is over: the one behind it learns what was said, and may have waited for nothing else.
void RecogniserSession::pass_on(Utterance &utterance, const std::string &text) {
    Utterance *next = nullptr;
    for (Utterance &other : utterances)
        if (other.previous == &utterance) next = &other;
    if (next) {
        next->previous = nullptr;
        next->before = text;
        next->words_before = std::move(utterance.words_before);
        next->words_before.insert(next->words_before.end(), utterance.words.begin(), utterance.words.end());
    }
    remove(utterance);
    if (next && next->is_answered) answer(*next);
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
