// plugin-name: a recogniser that is a server. This file is the kind, line.cpp the contract of every kind; what is
// asked of whom is in vendor.cpp.
//
// The caller's audio is kept from the beginning of the utterance. `finalize` sends what there is of it and is answered
// with its text; several may be under way, and are answered in their order. Silence is not sent: it costs money, and
// recognisers hear words in it.

#include <algorithm>
#include <cstdlib>
#include <list>

#include "vendor.hpp"

namespace {

/// More than a minute without a pause is a radio: of it only the last minute is kept.
constexpr size_t SECONDS_MAX = 60;
constexpr size_t QUESTIONS_MAX = 16;
/// Below this level there is no voice.
constexpr int QUIET = 200;

/// A `finalize`, until FINALIZED.
struct Question {
    Question(Session &session, uint64_t request, uint64_t utterance, uint64_t start, uint64_t end)
        : request(request), epoch(session.epoch), utterance(utterance), start(start), end(end), answer(session) {}

    const uint64_t request, epoch, utterance, start, end;
    bool is_told = false; // Its transcript went out.
    Answer answer;
};

class Recogniser final : public Work {
public:
    explicit Recogniser(const vc_open &request) : rate_hz(request.rate_hz) {}

    vc_status begin(uint64_t number, uint64_t position) {
        forget_before(position);
        utterance = number, start = std::max(position, base);
        return VC_OK;
    }

    vc_status push(const vc_frame &frame) {
        if (frame.format != VC_FORMAT_S16 || frame.channels != 1) return VC_E_UNSUPPORTED;
        if (frame.samples > rate_hz) return VC_E_ARGUMENT;
        // A gap, or the beginning.
        if (frame.position != base + samples.size()) base = frame.position, samples.clear();
        // A second at a time, so that a long utterance is not moved with each frame.
        if (samples.size() + frame.samples > SECONDS_MAX * rate_hz) forget_before(base + rate_hz);
        const auto *first = static_cast<const int16_t *>(frame.data);
        samples.insert(samples.end(), first, first + frame.samples);
        start = std::max(start, base);
        return VC_OK;
    }

    vc_status finalize(Session &session, uint64_t request, uint64_t position, bool is_tentative) {
        advance(session); // What a cancel has left behind goes first.
        if (questions.size() == QUESTIONS_MAX) return VC_E_AGAIN;
        const uint64_t to = std::min(position, base + samples.size()), from = std::min(start, to);
        questions.emplace_back(session, request, utterance, from, to);
        Question &question = questions.back();
        const int16_t *said = samples.data() + (from > base ? from - base : 0);
        if (std::all_of(said, said + (to - from), [](int sample) { return std::abs(sample) <= QUIET; }))
            question.answer.is_complete = true;
        else
            session.vendor.ask(question.answer, question.epoch, rate_hz, said, to - from);
        // What comes after a final text belongs to the next utterance, also where the host does not say `begin`.
        if (!is_tentative) start = to;
        advance(session);
        return VC_OK;
    }

    void advance(Session &session) override {
        while (!questions.empty()) {
            vc_status status = session.check(questions.front().epoch);
            if (status == VC_OK) status = tell(session, questions.front());
            if (status == VC_E_AGAIN || status == STILL_COMING) return;
            questions.pop_front();
        }
    }

    void clear() override { questions.clear(); }

private:
    void forget_before(uint64_t position) {
        if (position <= base) return;
        const uint64_t old = std::min<uint64_t>(position - base, samples.size());
        samples.erase(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(old));
        base = position;
    }

    static vc_status tell(Session &session, Question &question) {
        Answer &answer = question.answer;
        if (!answer.is_complete) return STILL_COMING;
        if (!answer.failure && answer.whole_characters(answer.bytes) < answer.bytes.size())
            answer.fail({VC_E_VENDOR, "the server's answer is no text in UTF-8"});
        if (answer.failure) return session.report(*answer.failure, question.epoch, question.request);
        if (!answer.bytes.empty() && !question.is_told) {
            auto transcript = make_event<vc_event_transcript>(VC_EVENT_TRANSCRIPT, question.epoch, question.request);
            transcript.utterance = question.utterance;
            transcript.start = question.start;
            transcript.end = question.end;
            transcript.text = lend(answer.bytes);
            transcript.final = 1;
            transcript.confidence = transcript.stability = -1;
            if (const vc_status status = session.emit(transcript.head); status != VC_OK) return status;
            question.is_told = true;
        }
        return session.emit_plain(VC_EVENT_FINALIZED, question.epoch, question.request);
    }

    const uint32_t rate_hz;
    uint64_t utterance = 0, start = 0; // `start` is a position.
    uint64_t base = 0;                 // The position of the first sample that is kept.
    std::vector<int16_t> samples;
    std::list<Question> questions; // A list, because an Answer stays where it is.
};

vc_status begin(vc_self self, uint64_t utterance, uint64_t position) {
    return control<Recogniser>(self, [&](Session &, Recogniser &work) { return work.begin(utterance, position); });
}

vc_status push(vc_self self, const vc_frame *frame) {
    return control<Recogniser>(self, [&](Session &session, Recogniser &work) {
        return session.epoch == UINT64_MAX ? VC_E_CLOSED : work.push(*frame);
    });
}

vc_status finalize(vc_self self, uint64_t request, uint64_t position, uint32_t flags) {
    return control<Recogniser>(self, [&](Session &session, Recogniser &work) {
        if (session.epoch == UINT64_MAX) return static_cast<vc_status>(VC_E_CLOSED);
        return work.finalize(session, request, position, (flags & VC_STT_TENTATIVE) != 0);
    });
}

constexpr vc_stt_ops stt_ops{sizeof(vc_stt_ops), 0, begin, push, finalize};

} // namespace

extern "C" VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    *module = make_module(host, VC_KIND_STT, "org.example.plugin-name", &stt_ops, make_work<Recogniser>);
    return VC_OK;
}
