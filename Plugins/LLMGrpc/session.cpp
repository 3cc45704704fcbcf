// Questions out, words in (session.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <llm.pb.h>

using namespace grpckit;
namespace wire = opensips::ai::llm;

/// As the manifest says. A host asks one at a time, and a second while it speculates.
static constexpr int ANSWERS_MAX = 8;
static const char METHOD[] = "/opensips.ai.llm.LLMService/ProcessText";

// MARK: Slots

vc_status ModelSession::request(const vc_llm_request &asked) {
    if (const vc_status status = check(asked.epoch); status != VC_OK) return status;
    const auto conversation = read_conversation(borrow(asked.messages), defaults.history_turns);
    if (!conversation) return VC_E_ARGUMENT;
    if (open_answers.load() >= ANSWERS_MAX) return VC_E_AGAIN;
    const Options options = over(read_options(borrow(asked.options)), defaults.options);
    wire::TextProcessingRequest message;
    message.set_text(conversation->text);
    message.set_system_prompt(conversation->system_prompt);
    if (options.temperature) message.set_temperature(static_cast<float>(*options.temperature));
    if (options.top_p) message.set_top_p(static_cast<float>(*options.top_p));
    if (options.max_tokens) message.set_max_tokens(*options.max_tokens);
    if (options.stop) message.mutable_stop()->Assign(options.stop->begin(), options.stop->end());

    std::optional<Failure> refused;
    Metadata metadata;
    try {
        metadata = provider.credentials(handle);
    } catch (const Failure &failure) {
        refused = failure;
    }
    open_answers++;
    post([this, number = asked.request, epoch = asked.epoch, question = message.SerializeAsString(),
          metadata = std::move(metadata), stop = options.stop.value_or(std::vector<std::string>{}), refused] {
        Answer &answer = answers.emplace_back(*this, number, epoch);
        if (refused) return fail(answer, *refused);
        if (epoch < this->epoch) return remove(answer);
        answer.question = question;
        answer.metadata = metadata;
        answer.stop = StopText(stop);
        answer.retries = defaults.retries;
        ask(answer);
    });
    return VC_OK;
}

// MARK: The worker

void ModelSession::ask(Answer &answer) {
    answer.call = provider.channel.call(METHOD, answer.metadata, defaults.patience, answer);
    answer.call->send(answer.question);
    answer.call->finish();
    answer.call->read();
}

void Answer::received(Call &, std::string_view bytes) {
    wire::TextResponse response;
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return session.fail(*this, {VC_E_VENDOR, session.provider.channel.peer() + " sent what is no TextResponse; is "
                                    "it a language model?"});
    // The known server has no other way to say that it failed.
    if (!is_begun && response.chunk().rfind("Error: ", 0) == 0) {
        Failure failure{VC_E_VENDOR, session.provider.channel.peer() + " answered " + quotable(response.chunk())};
        failure.is_retryable = true;
        return session.fail(*this, failure);
    }
    if (!response.chunk().empty()) {
        is_begun = true;
        metadata.clear();
        session.say(*this, stop.take(response.chunk()));
    }
    if (response.done() || stop.is_reached()) return session.finish(*this);
    if (!session.is_held_up()) call->read();
}

void Answer::ended(Call &, const Outcome &outcome) {
    // A server that closes after its last word, without `done`, has said all it had to say.
    if (outcome.is_ok() && is_begun) return session.finish(*this);
    Failure failure = outcome.is_ok()
        ? Failure{VC_E_VENDOR, session.provider.channel.peer() + " answered nothing"}
        : failure_of(outcome, session.provider.channel.peer());
    // Once, at once, while nothing was said: that is what a restart of the server costs a call.
    if (!is_begun && retries > 0 && outcome.code == GRPC_UNAVAILABLE) {
        retries--;
        return session.ask(*this);
    }
    session.fail(*this, failure);
}

void ModelSession::say(const Answer &answer, std::string text) {
    if (text.empty()) return;
    emit(answer.epoch, [this, text = std::move(text), epoch = answer.epoch, number = answer.number] {
        auto event = make_event<vc_event_delta>(VC_EVENT_DELTA, epoch, number);
        event.text = lend(text);
        return host()->emit(handle, &event.head);
    });
}

void ModelSession::finish(Answer &answer) {
    say(answer, answer.stop.rest());
    emit(answer.epoch, [this, epoch = answer.epoch, number = answer.number] {
        auto event = make_event<vc_event_llm_done>(VC_EVENT_LLM_DONE, epoch, number);
        event.reason = VC_LLM_STOP;
        return host()->emit(handle, &event.head);
    });
    remove(answer);
}

void ModelSession::fail(Answer &answer, const Failure &failure) {
    emit_failure(failure, answer.epoch, answer.number);
    remove(answer);
}

void ModelSession::remove(Answer &answer) {
    open_answers--;
    answers.remove_if([&](const Answer &other) { return &other == &answer; });
}

void ModelSession::canceled(uint64_t epoch) {
    answers.remove_if([&](const Answer &answer) {
        const bool is_over = answer.epoch < epoch;
        if (is_over) open_answers--;
        return is_over;
    });
}

void ModelSession::resumed() {
    for (Answer &answer : answers) answer.call->read();
}
