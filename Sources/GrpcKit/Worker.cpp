// One thread, its jobs and its timers (Worker.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "GrpcKit/Worker.hpp"

#include <csignal>
#include <ctime>

namespace grpckit {

Inbox::Inbox() { sem_init(&news, 0, 0); }

Inbox::~Inbox() { sem_destroy(&news); }

void Inbox::post(Job job) {
    {
        std::lock_guard guard(lock);
        if (is_closed) return;
        jobs.push_back(std::move(job));
    }
    sem_post(&news);
}

void Inbox::nudge() noexcept {
    is_nudged.store(true);
    sem_post(&news);
}

void Worker::start() {
    // The process's signals are the host's affair; gRPC's threads inherit the mask from this one, which makes them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        thread = std::thread([this] { run(); });
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Worker::stop() {
    if (!thread.joinable()) return;
    {
        std::lock_guard guard(inbox->lock);
        inbox->is_closed = true;
    }
    sem_post(&inbox->news);
    thread.join();
}

void Worker::run() {
    while (run_jobs()) wait();
    timers.clear();
    quiet_jobs.clear();
}

/// Until nothing is left to do. False when nothing will come any more.
bool Worker::run_jobs() {
    for (;;) {
        if (inbox->is_nudged.exchange(false)) {
            // What was asked before the cancel is known before it: each request is told of its end.
            std::deque<Job> before;
            {
                std::lock_guard guard(inbox->lock);
                before.swap(inbox->jobs);
            }
            for (const Job &job : before) job();
            nudged();
        }
        const uint64_t now = now_ms();
        if (!timers.empty() && timers.begin()->first.first <= now) {
            auto node = timers.extract(timers.begin());
            due.erase(node.key().second);
            node.mapped()();
            continue;
        }
        Job job;
        {
            std::lock_guard guard(inbox->lock);
            if (inbox->jobs.empty()) return !inbox->is_closed;
            job = std::move(inbox->jobs.front());
            inbox->jobs.pop_front();
        }
        job();
    }
}

void Worker::wait() {
    if (timers.empty()) {
        while (sem_wait(&inbox->news) != 0) {}
    } else {
        const uint64_t at = timers.begin()->first.first;
        const timespec until{static_cast<time_t>(at / 1000), static_cast<long>(at % 1000 * 1'000'000)};
        sem_clockwait(&inbox->news, CLOCK_MONOTONIC, &until);
    }
    // One look serves all that was posted.
    while (sem_trywait(&inbox->news) == 0) {}
}

Worker::TimerId Worker::after(uint32_t ms, Job job) {
    const uint64_t at = now_ms() + ms;
    const TimerId timer = ++last_timer;
    due.emplace(timer, at);
    timers.emplace(std::make_pair(at, timer), std::move(job));
    return timer;
}

void Worker::forget(TimerId timer) {
    const auto known = due.find(timer);
    if (known == due.end()) return;
    timers.erase({known->second, timer});
    due.erase(known);
}

/// A session has a second to close. gRPC ends a cancelled call in one millisecond.
static constexpr uint32_t QUIET_MS_MAX = 200;

void Worker::buried() {
    if (--orphans > 0) return;
    for (; !quiet_jobs.empty(); quiet_jobs.pop_front()) quiet_jobs.front()();
}

void Worker::when_quiet(Job job) {
    if (orphans == 0) return job();
    if (quiet_jobs.empty())
        after(QUIET_MS_MAX, [this] {
            for (; !quiet_jobs.empty(); quiet_jobs.pop_front()) quiet_jobs.front()();
        });
    quiet_jobs.push_back(std::move(job));
}

uint64_t Worker::now_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

} // namespace grpckit
