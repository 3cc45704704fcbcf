// The I/O thread of HTTP: one curl multi handle, one connection pool for the whole host. Others talk to it through a
// list of commands and a wake-up. It never takes an owner's lock and never calls a plugin.
//
// curl's own poll is used, and not epoll with its socket interface: a host of 500 calls has some hundred requests under
// way, for which both cost the same (`swift-on-linux.md` 5), and poll needs no timers of ours.

import Ccurl
import Glibc
import Synchronization

final class HTTPLoop: Sendable {
    enum Command: Sendable {
        case start(HTTPRequest)
        case abort(HTTPRequest)
        case resume(HTTPRequest)
        case prewarm(HTTPRequest.Outbound)
    }

    private struct Inbox {
        var commands: [Command] = []
        var isOver = false
        /// The multi handle while its thread runs: for the wake-up alone, which curl allows from any thread.
        var multi: MultiHandle?
    }

    private struct MultiHandle: @unchecked Sendable { let pointer: UnsafeMutableRawPointer }

    private let inbox = Mutex(Inbox())
    private let thread = Mutex<ServiceThread?>(nil)
    private let limits: HTTPLimits

    init(limits: HTTPLimits) {
        self.limits = limits
    }

    /// Starts the thread. Commands that were sent before are carried out then.
    func begin() { thread.withLock { $0 = ServiceThread("http") { [self] in run() } } }

    func send(_ command: Command) {
        inbox.withLock { inbox in
            guard !inbox.isOver else { return }
            inbox.commands.append(command)
            if let multi = inbox.multi { curl_multi_wakeup(multi.pointer) }
        }
    }

    func stop() {
        inbox.withLock { inbox in
            inbox.isOver = true
            if let multi = inbox.multi { curl_multi_wakeup(multi.pointer) }
        }
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    private func run() {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        guard let multi = curl_multi_init() else { preconditionFailure("curl has no memory for its first handle") }
        // Idle connections that are kept, over all origins; and all connections: past them a request waits for its
        // deadline.
        vc_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, 256)
        vc_curl_multi_set_long(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 1_024)
        var driver = HTTPDriver(multi: multi, limits: limits)
        let mayRun = inbox.withLock { inbox in
            inbox.multi = MultiHandle(pointer: multi)
            return !inbox.isOver
        }
        while mayRun {
            let (commands, isOver) = inbox.withLock { inbox in
                defer { inbox.commands = [] }
                return (inbox.commands, inbox.isOver)
            }
            if isOver { break }
            let now = Monotonic.nowNs()
            for command in commands { driver.carryOut(command, now: now) }
            driver.perform()
            curl_multi_poll(multi, nil, 0, driver.waitMs(now: Monotonic.nowNs()), nil)
        }
        inbox.withLock { inbox in
            inbox.isOver = true
            inbox.multi = nil
            inbox.commands = []
        }
        driver.end()
        curl_multi_cleanup(multi)
    }
}

/// What the thread does between two polls.
private struct HTTPDriver {
    /// Easy handles that are kept for the next requests: a fresh one costs 10 µs and 6 KiB.
    static let spareMax = 64
    /// A second prewarm of an origin within this time does nothing: curl would open a second connection.
    static let prewarmEveryNs: UInt64 = 5_000_000_000

    let multi: UnsafeMutableRawPointer
    let limits: HTTPLimits
    var underWay: [UnsafeMutableRawPointer: HTTPRequest] = [:]
    var prewarming: Set<UnsafeMutableRawPointer> = []
    var prewarmed: [Origin: UInt64] = [:]
    var spare: [UnsafeMutableRawPointer] = []
    var nextFirstByteNs: UInt64 = .max

    init(multi: UnsafeMutableRawPointer, limits: HTTPLimits) {
        self.multi = multi
        self.limits = limits
    }

    mutating func carryOut(_ command: HTTPLoop.Command, now: UInt64) {
        switch command {
        case .start(let request):
            guard !request.isOver else { return }
            guard let easy = takeEasy() else {
                request.finished(ServiceFailure(code: .memory, message: "there is not enough memory for a request"))
                return
            }
            request.prepare(easy, now: now)
            underWay[easy] = request
            if let due = request.transfer.firstByteNs { nextFirstByteNs = min(nextFirstByteNs, due) }
            curl_multi_add_handle(multi, easy)
        case .abort(let request):
            guard let easy = request.transfer.easy else { return }
            release(easy)
        case .resume(let request):
            guard let easy = request.transfer.easy else { return }
            curl_easy_pause(easy, CURLPAUSE_CONT)
        case .prewarm(let outbound):
            prewarm(outbound, now: now)
        }
    }

    mutating func perform() {
        var running: Int32 = 0
        curl_multi_perform(multi, &running)
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
            let result = vc_curl_result(message)
            let request = underWay[easy]
            let failure = request?.failure(result)
            release(easy)
            request?.finished(failure)
        }
        let now = Monotonic.nowNs()
        if now >= nextFirstByteNs { endSilent(now: now) }
    }

    func waitMs(now: UInt64) -> Int32 {
        guard nextFirstByteNs != .max else { return 1_000 }
        return Int32(min(1_000, (nextFirstByteNs &- min(now, nextFirstByteNs)) / 1_000_000 + 1))
    }

    /// Stops the requests whose first byte is overdue, and finds the next moment to look.
    private mutating func endSilent(now: UInt64) {
        nextFirstByteNs = .max
        for (easy, request) in underWay {
            guard let due = request.transfer.firstByteNs else { continue }
            if due <= now {
                release(easy)
                request.finished(request.missedFirstByte())
            } else {
                nextFirstByteNs = min(nextFirstByteNs, due)
            }
        }
    }

    /// curl does not reuse a connection that was opened without a request, so the cheapest request goes first: HEAD of
    /// the root. Whatever the answer is, the connection with its TLS session then waits in the pool.
    private mutating func prewarm(_ outbound: HTTPRequest.Outbound, now: UInt64) {
        if let last = prewarmed[outbound.origin], now - last < Self.prewarmEveryNs { return }
        if prewarmed.count >= 256 { prewarmed = prewarmed.filter { now - $0.value < Self.prewarmEveryNs } }
        guard prewarmed.count < 256, let easy = takeEasy() else { return }
        prewarmed[outbound.origin] = now
        configure(easy, outbound, limits)
        prewarming.insert(easy)
        curl_multi_add_handle(multi, easy)
    }

    private mutating func takeEasy() -> UnsafeMutableRawPointer? { spare.popLast() ?? curl_easy_init() }

    /// Takes the transfer out. One that is not complete has its connection closed by that, or on HTTP/2 its stream.
    private mutating func release(_ easy: UnsafeMutableRawPointer) {
        curl_multi_remove_handle(multi, easy)
        prewarming.remove(easy)
        underWay.removeValue(forKey: easy)?.dispose()
        if spare.count < Self.spareMax {
            curl_easy_reset(easy)
            spare.append(easy)
        } else {
            curl_easy_cleanup(easy)
        }
    }

    mutating func end() {
        for easy in Array(underWay.keys) + Array(prewarming) { release(easy) }
        for easy in spare { curl_easy_cleanup(easy) }
    }
}
