// The one thread of a provider, on which all of its sessions decide and emit.
//
// gRPC answers on threads of its own, the host calls on any of its own, and `cancel` may come in the middle of both. So
// whatever happens becomes a job for this thread, in the order in which it happened: no session needs a lock, no slot
// waits for gRPC, and CANCELED comes after the last event of its epoch because one thread says both. `cancel` itself
// posts nothing: it raises its session's epoch and nudges, two atomics and a semaphore, which take no lock.
//
// A thread for each session was refused (a host has hundreds of them), and tasks of the host too: a task is not one at
// a time with others, and the pool is shared with those that compute.
// SPDX-License-Identifier: Apache-2.0
#ifndef GRPCKIT_WORKER_HPP
#define GRPCKIT_WORKER_HPP

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <semaphore.h>
#include <thread>

namespace grpckit {

using Job = std::function<void()>;

/// Where jobs wait. It outlives the worker for as long as an RPC under way may still answer; what is posted after the
/// worker's end is forgotten.
class Inbox {
public:
    Inbox();
    ~Inbox();
    Inbox(const Inbox &) = delete;

    /// From any thread. Takes a lock that is held for as long as it takes to move a job.
    void post(Job job);
    /// Lets the worker look at what `cancel` left in its sessions. Wait-free.
    void nudge() noexcept;

private:
    friend class Worker;
    std::mutex lock;
    std::deque<Job> jobs; // Bounded by whoever posts: sessions by their own limits, RPCs by one answer at a time.
    bool is_closed = false;
    std::atomic<bool> is_nudged{false};
    sem_t news;
};

class Worker {
public:
    using TimerId = uint64_t;

    /// `nudged` is called on the worker's thread, before the next job, when somebody nudged.
    explicit Worker(Job nudged) : nudged(std::move(nudged)) {}
    ~Worker() { stop(); }

    /// Starts the thread. Throws std::system_error when there is none to be had.
    void start();
    /// Does what was posted until now, and ends. Never waits for the network.
    void stop();

    const std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();

    /// Only on the worker's thread: calls `job` in `ms`. Real time: gRPC knows no other.
    TimerId after(uint32_t ms, Job job);
    void forget(TimerId timer);

    /// Only there: RPCs that were cancelled and whose end gRPC has not told yet.
    void orphaned() { orphans++; }
    void buried();
    /// Calls `job` when there is none of those, at once or in a millisecond; or without that in `QUIET_MS_MAX`.
    void when_quiet(Job job);

    /// Milliseconds of the monotonic clock.
    static uint64_t now_ms();

private:
    void run();
    bool run_jobs();
    void wait();

    Job nudged;
    std::thread thread;
    std::map<std::pair<uint64_t, TimerId>, Job> timers; // By when they are due.
    std::map<TimerId, uint64_t> due;
    TimerId last_timer = 0;
    int orphans = 0;
    std::deque<Job> quiet_jobs;
};

} // namespace grpckit

#endif
