// Epochs, the outbox, and the four slots that every session has (Session.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "GrpcKit/Session.hpp"

namespace grpckit {

Session::Session(Provider &provider, const vc_open &request)
    : handle(request.session), provider(provider), epoch(request.epoch), wanted_epoch(request.epoch) {}

void Session::post(Job job) {
    provider.worker.inbox->post([this, job = std::move(job)] {
        if (!is_closed) job();
    });
}

vc_status Session::check(uint64_t wanted) const {
    if (is_closing.load()) return VC_E_CLOSED;
    return wanted < wanted_epoch.load() ? VC_E_CANCELED : VC_OK;
}

/// What `cancel` left.
void Session::notice() {
    const uint64_t wanted = wanted_epoch.load();
    if (wanted <= epoch || is_closed) return;
    epoch = wanted;
    while (!outbox.empty() && outbox.front().epoch < epoch) outbox.pop_front();
    canceled(epoch);
    // Nothing of an older epoch is left that it could overtake, and it takes no credit.
    const vc_event event{sizeof event, VC_EVENT_CANCELED, 0, 0, epoch, 0};
    host()->emit(handle, &event);
}

void Session::emit(uint64_t event_epoch, std::function<vc_status()> offer) {
    if (is_closed || event_epoch < epoch) return;
    if (outbox.empty() && offer() != VC_E_AGAIN) return;
    outbox.push_back({event_epoch, std::move(offer)});
}

void Session::emit_plain(uint32_t type, uint64_t event_epoch, uint64_t request) {
    emit(event_epoch, [this, type, event_epoch, request] {
        const vc_event event{sizeof event, type, 0, 0, event_epoch, request};
        return host()->emit(handle, &event);
    });
}

void Session::emit_failure(const Failure &failure, uint64_t event_epoch, uint64_t request, bool is_fatal) {
    emit(event_epoch, [this, failure, event_epoch, request, is_fatal] {
        vc_error error{};
        fill(error, failure);
        auto event = make_event<vc_event_error>(VC_EVENT_ERROR, event_epoch, request);
        event.error = &error;
        event.fatal = is_fatal;
        return host()->emit(handle, &event.head);
    });
}

/// After `credit`. What is refused for another reason than credit is not wanted any more.
void Session::deliver() {
    while (!outbox.empty()) {
        if (outbox.front().offer() == VC_E_AGAIN) return;
        outbox.pop_front();
    }
    resumed();
}

} // namespace grpckit
