// Questions and audio, and which stream they belong to (session.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace grpckit;

/// How far back `begin` may reach: detectors are a second late at most.
static constexpr uint32_t RECENT_SECONDS = 3;
static constexpr uint32_t QUEUED_SECONDS = 10;
/// So much must have come after a tentative question until a stream is begun for it: a click is no word.
static constexpr uint32_t CONTINUATION_MS = 300;
/// Utterances whose text is still to come. A host waits for one, and has asked for another at most.
static constexpr size_t UTTERANCES_MAX = 8;

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
    // Ten seconds: this thread is never that late unless the machine is.
    if (queued_bytes.load() + frame.bytes > QUEUED_SECONDS * rate_hz * 2) return VC_E_AGAIN;
    queued_bytes += frame.bytes;
    std::string samples(static_cast<const char *>(frame.data), frame.bytes);
    post([this, samples = std::move(samples), position = frame.position] {
        queued_bytes -= samples.size();
        append(samples, position);
    });
    return VC_OK;
}

vc_status RecogniserSession::finalize(uint64_t request, uint64_t position, bool is_tentative) {
    if (const vc_status status = check(UINT64_MAX); status != VC_OK) return status;
    std::optional<Failure> refused;
    Metadata metadata = lend_credentials(refused);
    post([this, request, position, is_tentative, metadata = std::move(metadata), refused] {
        // Nobody said that an utterance began: it began with what is known.
        if (!current) begin_at(0, recent_end - recent.size() / 2, metadata, refused);
        ask(request, position, is_tentative);
    });
    return VC_OK;
}

// MARK: Audio

void RecogniserSession::begin_at(uint64_t number, uint64_t position, Metadata metadata,
                                 const std::optional<Failure> &refused) {
    if (current) remove(*current); // Its text is not wanted any more; that of a part before it still is.
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
    if (current) {
        for (size_t at = 0; at + 1 < samples.size(); at += 2) {
            int16_t sample;
            std::memcpy(&sample, samples.data() + at, 2);
            current->peak = std::max(current->peak, std::abs(static_cast<int>(sample)));
        }
    }
    if (!current) {
        const size_t most = RECENT_SECONDS * rate_hz * 2;
        if (recent.size() > most) recent.erase(0, recent.size() - most);
        return;
    }
    if (current->call) return send(*current, false);
    if (!current->is_continuation || current->timer) return;
    if (!current->is_silent()) {
        if (audio.size() >= CONTINUATION_MS * rate_hz / 1000 * 2) connect(*current);
    } else if (audio.size() > RECENT_SECONDS * rate_hz * 2) {
        // Silence, and nobody asks: as before an utterance.
        const size_t old = audio.size() - rate_hz * 2;
        audio.erase(0, old);
        current->start += old / 2;
    }
}

void RecogniserSession::ask(uint64_t request, uint64_t position, bool is_tentative) {
    Utterance &utterance = *current;
    current = nullptr;
    utterance.is_asked = true;
    utterance.request = request;
    utterance.end = position;
    utterance.epoch = epoch;
    if (is_tentative) current = &continue_after(utterance);
    const bool is_empty = utterance.audio.empty() && utterance.forgotten == 0;
    if (!utterance.failure && !utterance.call && (is_empty || (utterance.is_continuation && utterance.is_silent())))
        return answer(utterance);
    if (utterance.failure) return lose(utterance, *utterance.failure, false);
    if (utterance.call) send(utterance, true);
    else if (!utterance.timer) connect(utterance);
    await_answer(utterance);
}

/// The part that what is heard from now on belongs to.
Utterance &RecogniserSession::continue_after(Utterance &utterance) {
    Utterance &next = utterances.emplace_back(*this, utterance.number, recent_end);
    next.first = utterance.first;
    next.is_continuation = true;
    next.previous = &utterance;
    next.peak_before = std::max(utterance.peak, utterance.peak_before);
    next.metadata = utterance.metadata;
    next.retries = settings.retries;
    return next;
}
