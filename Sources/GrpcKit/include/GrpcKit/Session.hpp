// A session: its epoch, its events in order, and its life.
//
// Slots turn what they are given into jobs for the provider's worker and return; everything below runs there, but for
// the slots' own halves, which say so. Events wait in an outbox when the host has no credit, so that DONE never
// overtakes audio; while it is full, nothing more is read from the server.
// SPDX-License-Identifier: Apache-2.0
#ifndef GRPCKIT_SESSION_HPP
#define GRPCKIT_SESSION_HPP

#include <atomic>
#include <deque>
#include <functional>
#include <new>
#include <string>

#include "Provider.hpp"

namespace grpckit {

/// An event with its head filled in and the rest zero.
template <class Event> Event make_event(uint32_t type, uint64_t epoch, uint64_t request) {
    Event event{};
    event.head.size = sizeof event;
    event.head.type = type;
    event.head.epoch = epoch;
    event.head.request = request;
    return event;
}

class Session {
public:
    Session(Provider &provider, const vc_open &request);
    virtual ~Session() = default;
    Session(const Session &) = delete;

    const vc_handle handle;

    /// Of the slots: posts `job`, which is not done once the session is closed.
    void post(Job job);
    /// Of the slots: whether a call of this epoch may be taken. VC_E_CANCELED, VC_E_CLOSED.
    vc_status check(uint64_t epoch) const;

protected:
    /// Everything older than `epoch` is over: stop it. CANCELED follows.
    virtual void canceled(uint64_t epoch) = 0;
    /// Everything is over. CLOSED follows.
    virtual void closing() = 0;
    /// The outbox is empty again: read on.
    virtual void resumed() {}

    /// Hands an event over, now or when there is room. `offer` may be called several times.
    void emit(uint64_t epoch, std::function<vc_status()> offer);
    void emit_plain(uint32_t type, uint64_t epoch, uint64_t request);
    void emit_failure(const Failure &failure, uint64_t epoch, uint64_t request, bool is_fatal = false);
    /// Whether so much waits for credit that nothing more should be read. Some of it is read ahead: who has credit
    /// again should not have to wait for the network first.
    bool is_held_up() const { return outbox.size() >= 32; }

    /// Whether somebody has canceled it, and this thread will hear of it next.
    bool is_over(uint64_t event_epoch) const { return event_epoch < wanted_epoch.load(); }

    Provider &provider;
    uint64_t epoch; ///< The worker's.

private:
    friend class Provider;
    friend struct Slots;
    void notice();
    void deliver();

    struct Waiting {
        uint64_t epoch;
        std::function<vc_status()> offer;
    };
    // Bounded by `is_held_up`, what one message of the server is made into, and the ends of requests.
    std::deque<Waiting> outbox;
    bool is_closed = false;
    std::atomic<uint64_t> wanted_epoch;
    std::atomic<bool> is_closing{false};
};

/// Runs a slot: no exception crosses the line.
template <class Work> vc_status guarded(Work &&work) noexcept {
    try {
        return work();
    } catch (const std::bad_alloc &) {
        return VC_E_MEMORY;
    } catch (...) {
        return VC_E_INTERNAL;
    }
}

} // namespace grpckit

#endif
