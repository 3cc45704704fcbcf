// The I/O thread of the WebSockets that came in through the host's listener: one epoll for all of them. Others talk to
// it through a list of commands and a wake-up. It never takes an owner's lock and never calls a plugin.
//
// It also keeps the listener's time (`chores`), since libmicrohttpd's thread has no timer for others: deadlines of
// exchanges, and connections that take too long.

import CPlatform
import Cmicrohttpd
import Glibc
import Synchronization

final class ServedSocketLoop: SocketCarrier {
    /// A connection as libmicrohttpd hands it over. The descriptor stays libmicrohttpd's, which closes it when
    /// `response` is given back.
    struct Upgraded: @unchecked Sendable {
        var descriptor: Int32
        var response: OpaquePointer
        /// What the client sent before it had our answer.
        var early: [UInt8]
        /// The client's address, for the log and for errors.
        var peer: String
    }

    fileprivate enum Command: Sendable {
        case adopt(WebSocket, Upgraded)
        case write(WebSocket)
        case close(WebSocket)
        case resume(WebSocket)
    }

    private struct Inbox {
        var commands: [Command] = []
        var isOver = false
        /// The wake-up is written and not yet read.
        var isWoken = false
        var hasChores = false
    }

    private let inbox = Mutex(Inbox())
    private let thread = Mutex<ServiceThread?>(nil)
    /// An eventfd, for the process' life: whoever holds a socket may still write to it while we end.
    private let wakeUp: Int32
    private let pingMs: UInt32

    init(pingMs: UInt32) {
        self.pingMs = pingMs
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        precondition(wakeUp >= 0, "no descriptor is left for the listener's WebSockets")
    }

    deinit { Glibc.close(wakeUp) }

    /// `chores` is called at the time that it names itself, and after `wake`. Nil: nothing is due.
    func start(chores: @escaping @Sendable (_ now: UInt64) -> UInt64?) {
        thread.withLock { $0 = ServiceThread("served") { [self] in run(chores) } }
    }

    func adopt(_ socket: WebSocket, _ upgraded: Upgraded) {
        guard send(.adopt(socket, upgraded)) else {
            vc_mhd_close_upgraded(upgraded.response)
            return socket.closed(
                code: 0, reason: "",
                ServiceFailure(code: .network, message: "the host is going down", isRetryable: false))
        }
    }

    func write(_ socket: WebSocket) { _ = send(.write(socket)) }

    func close(_ socket: WebSocket) { _ = send(.close(socket)) }

    func resume(_ socket: WebSocket) { _ = send(.resume(socket)) }

    /// Has the chores done now.
    func wake() {
        inbox.withLock { inbox in
            inbox.hasChores = true
            signal(&inbox)
        }
    }

    /// Sends close frames, without waiting for answers to them, and ends the thread.
    func stop() {
        inbox.withLock { inbox in
            inbox.isOver = true
            signal(&inbox)
        }
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    /// False when the loop has ended.
    private func send(_ command: Command) -> Bool {
        inbox.withLock { inbox in
            guard !inbox.isOver else { return false }
            inbox.commands.append(command)
            signal(&inbox)
            return true
        }
    }

    private func signal(_ inbox: inout Inbox) {
        guard !inbox.isWoken else { return }
        inbox.isWoken = true
        eventfd_write(wakeUp, 1)
    }

    private func run(_ chores: (UInt64) -> UInt64?) {
        var driver = ServedSocketDriver(wakeUp: wakeUp, pingMs: pingMs)
        var choresDueNs: UInt64? = 0
        while true {
            let (commands, isOver, hasChores) = inbox.withLock { inbox in
                defer {
                    inbox.commands = []
                    inbox.isWoken = false
                    inbox.hasChores = false
                }
                if inbox.isWoken {
                    var count: eventfd_t = 0
                    eventfd_read(wakeUp, &count)
                }
                return (inbox.commands, inbox.isOver, inbox.hasChores)
            }
            for command in commands { driver.carryOut(command) }
            if isOver { break }
            let now = Monotonic.nowNs()
            if hasChores || (choresDueNs ?? .max) <= now { choresDueNs = chores(now) }
            driver.wait(until: min(choresDueNs ?? .max, driver.nextNs ?? .max))
        }
        driver.end()
    }
}

/// What the thread does between two turns.
private struct ServedSocketDriver {
    /// Of one turn; what is ready beyond waits for the next one.
    static let eventsMax = 256

    let epoll: Int32
    let pingMs: UInt32
    /// By the socket's address, which epoll carries for us and which stays its own as long as the link is here.
    var links: [UInt64: ServedSocketLink] = [:]
    var timers = TimerQueue()
    var events = [epoll_event](repeating: epoll_event(), count: eventsMax)

    init(wakeUp: Int32, pingMs: UInt32) {
        self.pingMs = pingMs
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(epoll >= 0, "no descriptor is left for the listener's WebSockets")
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: 0))
        epoll_ctl(epoll, EPOLL_CTL_ADD, wakeUp, &event)
    }

    static func key(_ socket: WebSocket) -> UInt64 { UInt64(UInt(bitPattern: ObjectIdentifier(socket))) }

    var nextNs: UInt64? { timers.nextNs }

    mutating func carryOut(_ command: ServedSocketLoop.Command) {
        switch command {
        case .adopt(let socket, let upgraded):
            let key = Self.key(socket)
            let link = ServedSocketLink(socket, upgraded, epoll: epoll, key: key, pingMs: pingMs)
            links[key] = link
            link.begin(now: Monotonic.nowNs())
            settle(link)
        case .write(let socket):
            handle(socket) { $0.pump() }
        case .close(let socket):
            handle(socket) { $0.close(now: Monotonic.nowNs()) }
        case .resume(let socket):
            handle(socket) { $0.read() }
        }
    }

    mutating func wait(until deadlineNs: UInt64) {
        let now = Monotonic.nowNs()
        // A millisecond late rather than a turn too early.
        let waitMs = deadlineNs == .max ? -1 : Int32(min(60_000, (deadlineNs - min(now, deadlineNs)) / 1_000_000 + 1))
        let count = epoll_wait(epoll, &events, Int32(Self.eventsMax), waitMs)
        for index in 0..<Int(max(0, count)) {
            guard let link = links[events[index].data.u64] else { continue }
            let ready = events[index].events
            if ready & ~EPOLLOUT.rawValue != 0 { link.read() }
            if ready & EPOLLOUT.rawValue != 0 { link.pump() }
            settle(link)
        }
        let after = Monotonic.nowNs()
        for key in timers.due(now: after) {
            guard let link = links[key] else { continue }
            link.timeUp(now: after)
            link.isTimerDue = true
            settle(link)
        }
    }

    private mutating func handle(_ socket: WebSocket, _ body: (ServedSocketLink) -> Void) {
        guard let link = links[Self.key(socket)] else { return }
        body(link)
        settle(link)
    }

    /// After each call of a link: its timer, or its end.
    private mutating func settle(_ link: ServedSocketLink) {
        if link.phase == .ended {
            timers.disarm(link.key)
            links[link.key] = nil
        } else if link.isTimerDue {
            link.isTimerDue = false
            timers.disarm(link.key)
            timers.arm(link.key, atNs: link.deadlineNs)
        }
    }

    mutating func end() {
        for link in links.values { link.goAway() }
        links = [:]
        close(epoll)
    }
}
