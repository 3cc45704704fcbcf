// Pieces to utterances, utterances to audio (Voice.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "GrpcKit/Voice.hpp"

#include <cctype>
#include <utility>

namespace grpckit {

/// Pieces that wait: minutes of speech. A host sends a clause at a time.
static constexpr int PIECES_MAX = 64;
/// A quarter of an hour of speech; longer is a mistake.
static constexpr uint64_t PIECE_BYTES_MAX = 16'384;
/// The one that is heard, and the one behind it.
static constexpr int BEGUN_MAX = 2;

// MARK: The slot

vc_status Voice::speak(uint64_t request, uint64_t epoch, vc_str text, uint32_t flags) {
    if (const vc_status status = check(epoch); status != VC_OK) return status;
    if (text.length > PIECE_BYTES_MAX || (text.length > 0 && text.data == nullptr)) return VC_E_ARGUMENT;
    if (waiting.load() >= PIECES_MAX) return VC_E_AGAIN;
    Piece piece{request, epoch, std::string(borrow(text)), (flags & VC_TTS_LAST) != 0, {}, {}};
    try {
        piece.metadata = credentials();
    } catch (const Failure &failure) {
        piece.refused = failure;
    }
    waiting++;
    post([this, piece = std::move(piece)]() mutable {
        waiting--;
        take(piece);
        advance();
    });
    return VC_OK;
}

const vc_tts_ops Voice::ops{
    sizeof(vc_tts_ops), 0, [](vc_self self, uint64_t request, uint64_t epoch, vc_str text, uint32_t flags) {
        return guarded([&] {
            return static_cast<Voice *>(static_cast<Session *>(self))->speak(request, epoch, text, flags);
        });
    }};

// MARK: The worker

/// Whether there is a letter or a figure in it: a dash by itself is said by nobody, and refused by some servers.
static bool is_speakable(const std::string &text) {
    for (const char c : text)
        if (std::isalnum(static_cast<unsigned char>(c)) || (c & 0x80)) return true;
    return false;
}

void Voice::take(Piece &piece) {
    if (piece.epoch < epoch || piece.request == failed) return;
    if (piece.request != incoming) incoming = piece.request, text_length = 0;
    const uint64_t start = text_length;
    text_length += piece.text.size();
    const bool joins = says_requests_whole() && !utterances.empty() && utterances.back().request == piece.request
        && !utterances.back().is_whole && !utterances.back().is_done;
    if (!joins) {
        Utterance &made = utterances.emplace_back(*this, piece.request, piece.epoch);
        made.text_start = start;
        made.retries = retries;
        made.metadata = std::move(piece.metadata);
    }
    Utterance &utterance = utterances.back();
    if (piece.refused) return fail(utterance, *piece.refused);
    utterance.text += piece.text;
    utterance.is_last = piece.is_last;
    const bool is_whole = piece.is_last || !says_requests_whole();
    if (joins && utterance.is_begun && !piece.text.empty()) added(utterance, piece.text);
    if (is_whole) {
        utterance.is_whole = true;
        if (utterance.call && !utterance.is_done) completed(utterance);
    }
}

void Voice::advance() {
    retire();
    int begun = 0;
    for (Utterance &utterance : utterances) {
        if (begun++ == BEGUN_MAX) break;
        if (utterance.is_begun || utterance.is_done || is_over(utterance.epoch)) continue;
        if (is_speakable(utterance.text)) {
            if (!may_begin(utterance)) break;
            utterance.is_begun = true;
            begin(utterance); // Cannot end here: an RPC answers by a job.
            if (utterance.is_whole && utterance.call) completed(utterance);
        } else if (utterance.is_whole) {
            utterance.is_done = true;
            return advance();
        }
    }
    if (!utterances.empty() && utterances.front().fetched) {
        Utterance &first = utterances.front();
        play(first, *std::exchange(first.fetched, std::nullopt), static_cast<uint32_t>(first.rate_hz));
        first.is_done = first.is_whole = true;
        return advance();
    }
    if (!utterances.empty() && utterances.front().call && !utterances.front().is_done && !is_held_up())
        utterances.front().call->read();
}

/// Ends what was said, in order.
void Voice::retire() {
    while (!utterances.empty() && utterances.front().is_done) {
        const Utterance &utterance = utterances.front();
        if (utterance.samples > 0) emit_mark(utterance, position);
        position += utterance.samples;
        if (utterance.is_last) {
            emit(utterance.epoch, [this, number = utterance.request, epoch = utterance.epoch, samples = position] {
                auto event = make_event<vc_event_tts_done>(VC_EVENT_TTS_DONE, epoch, number);
                event.reason = VC_TTS_COMPLETE;
                event.samples = samples;
                return host()->emit(handle, &event.head);
            });
            position = 0;
        }
        utterances.pop_front();
    }
}

void Voice::emit_mark(const Utterance &utterance, uint64_t at) {
    auto mark = make_event<vc_event_mark>(VC_EVENT_MARK, utterance.epoch, utterance.request);
    mark.text_start = utterance.text_start;
    mark.text_end = utterance.text_start + utterance.text.size();
    mark.position = at;
    mark.end = at + utterance.samples;
    emit(utterance.epoch, [this, mark] { return host()->emit(handle, &mark.head); });
}

void Utterance::received(Call &, std::string_view message) {
    Voice &speaking = voice;
    speaking.heard(*this, message); // May end it.
    speaking.advance();
}

void Utterance::ended(Call &, const Outcome &outcome) {
    Voice &speaking = voice;
    if (is_said) is_done = is_whole = true;
    else speaking.lost(*this, outcome);
    speaking.advance();
}

void Voice::lost(Utterance &utterance, const Outcome &outcome) {
    if (outcome.is_ok())
        return fail(utterance, {VC_E_VENDOR, provider.channel.peer() + " ended its answer without completing it"});
    // Once, at once, while nothing was heard: that is what a restart of the server costs a call.
    if (utterance.samples == 0 && utterance.retries > 0 && outcome.code == GRPC_UNAVAILABLE) {
        utterance.retries--;
        return begin_anew(utterance);
    }
    fail(utterance, failure_of(outcome, provider.channel.peer()));
}

void Voice::begin_anew(Utterance &utterance) {
    utterance.call.reset();
    begin(utterance);
    if (utterance.is_whole && utterance.call) completed(utterance);
}

void Voice::play(Utterance &utterance, std::string_view audio, uint32_t rate_hz) {
    utterance.metadata.clear();
    std::string whole = std::move(utterance.half);
    whole += audio;
    utterance.half.clear();
    if (whole.size() % 2 != 0) {
        utterance.half = whole.back();
        whole.pop_back();
    }
    // 100 ms: credit is counted in short frames, and a cancel is seen between them.
    const size_t frame_bytes = rate_hz / 10 * 2;
    for (size_t at = 0; at < whole.size(); at += frame_bytes) {
        emit(utterance.epoch, [this, bytes = whole.substr(at, frame_bytes), number = utterance.request,
                               epoch = utterance.epoch, first = position + utterance.samples, rate_hz] {
            vc_frame frame{};
            frame.size = sizeof frame;
            frame.format = VC_FORMAT_S16;
            frame.rate_hz = rate_hz;
            frame.channels = 1;
            frame.samples = static_cast<uint32_t>(bytes.size() / 2);
            frame.sequence = sequence;
            frame.position = first;
            frame.epoch = epoch;
            frame.data = bytes.data();
            frame.bytes = bytes.size();
            auto event = make_event<vc_event_audio>(VC_EVENT_AUDIO, epoch, number);
            event.frame = &frame;
            const vc_status status = host()->emit(handle, &event.head);
            if (status == VC_OK) sequence++;
            return status;
        });
        utterance.samples += std::min(frame_bytes, whole.size() - at) / 2;
    }
}

/// Ends the whole request: what is left of it would be a sentence without its middle.
void Voice::fail(Utterance &utterance, const Failure &failure) {
    const uint64_t request = utterance.request;
    emit_failure(failure, utterance.epoch, request);
    failed = request;
    if (utterances.front().request == request) position = 0;
    utterances.remove_if([&](const Utterance &other) { return other.request == request; });
}

void Voice::canceled(uint64_t epoch) {
    uint64_t told = UINT64_MAX;
    for (const Utterance &utterance : utterances)
        if (utterance.epoch < epoch && utterance.request != told) {
            told = utterance.request;
            emit_canceled(utterance);
        }
    if (!utterances.empty() && utterances.front().epoch < epoch) position = 0;
    utterances.remove_if([&](const Utterance &utterance) { return utterance.epoch < epoch; });
    advance();
}

/// Whoever counts requests hears of each one's end; the host is free to drop it.
void Voice::emit_canceled(const Utterance &utterance) {
    auto event = make_event<vc_event_tts_done>(VC_EVENT_TTS_DONE, utterance.epoch, utterance.request);
    event.reason = VC_TTS_CANCELED;
    event.samples = &utterance == &utterances.front() ? position + utterance.samples : 0;
    host()->emit(handle, &event.head);
}

} // namespace grpckit
