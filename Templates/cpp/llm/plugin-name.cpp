// plugin-name: a language model that is a server. This file is the kind, line.cpp the contract of every kind; what is
// asked of whom is in vendor.cpp.
//
// Each question is one request to the server; several may be under way. Text goes to the host as it comes, never cut
// within a character. What the host has no room for waits, and `credit` goes on with it.

#include <algorithm>
#include <list>

#include "vendor.hpp"

namespace {

constexpr size_t QUESTIONS_MAX = 16, DELTA_BYTES_MAX = 4096;

/// A request, until LLM_DONE.
struct Question {
    Question(Session &session, const vc_llm_request &asked)
        : request(asked.request), epoch(asked.epoch), answer(session) {}

    const uint64_t request, epoch;
    uint64_t told = 0; // Bytes of the answer that the host has taken.
    Answer answer;
};

class Model final : public Work {
public:
    explicit Model(const vc_open &) {}

    vc_status request(Session &session, const vc_llm_request &asked) {
        if (const vc_status status = session.check(asked.epoch); status != VC_OK) return status;
        advance(session); // What a cancel has left behind goes first.
        if (questions.size() == QUESTIONS_MAX) return VC_E_AGAIN;
        questions.emplace_back(session, asked);
        session.vendor.ask(questions.back().answer, asked);
        advance(session);
        return VC_OK;
    }

    void advance(Session &session) override {
        for (auto question = questions.begin(); question != questions.end();) {
            vc_status status = session.check(question->epoch);
            if (status == VC_OK) status = tell(session, *question);
            if (status == VC_E_AGAIN) return;
            question = status == STILL_COMING ? std::next(question) : questions.erase(question);
        }
    }

    void clear() override { questions.clear(); }

private:
    static vc_status tell(Session &session, Question &question) {
        Answer &answer = question.answer;
        while (question.told < answer.bytes.size()) {
            const auto left = std::string_view(answer.bytes).substr(question.told, DELTA_BYTES_MAX);
            const size_t length = answer.whole_characters(left);
            if (length == 0) break; // The rest of a character is still to come.
            auto delta = make_event<vc_event_delta>(VC_EVENT_DELTA, question.epoch, question.request);
            delta.text = lend(left.substr(0, length));
            // VC_E_AGAIN: the same text again after `credit`.
            if (const vc_status status = session.emit(delta.head); status != VC_OK) return status;
            question.told += length;
        }
        if (!answer.is_complete) return STILL_COMING;
        if (!answer.failure) Vendor::ended(answer);
        if (answer.failure) return session.report(*answer.failure, question.epoch, question.request);
        auto done = make_event<vc_event_llm_done>(VC_EVENT_LLM_DONE, question.epoch, question.request);
        done.reason = VC_LLM_STOP;
        return session.emit(done.head);
    }

    std::list<Question> questions; // A list, because an Answer stays where it is.
};

vc_status request(vc_self self, const vc_llm_request *asked) {
    return control<Model>(self, [&](Session &session, Model &model) { return model.request(session, *asked); });
}

constexpr vc_llm_ops llm_ops{sizeof(vc_llm_ops), 0, request, nullptr};

} // namespace

extern "C" VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    *module = make_module(host, VC_KIND_LLM, "org.example.plugin-name", &llm_ops, make_work<Model>);
    return VC_OK;
}
