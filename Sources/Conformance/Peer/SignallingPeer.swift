// The socket under the dialogues: a thread that waits for a datagram, a deadline or a word of the runner.
//
// Real loopback sockets, because a plugin that brings its own network stack can be met nowhere else. It lives in the
// parent, whose network namespace is the probe's.

import CPlatform
import Glibc
import JSON
import Synchronization

/// The peer of a signalling plugin.
public final class SignallingPeer: Sendable {
    private struct Run: Sendable {
        var dialogue: SignallingDialogue
    }

    private struct State: Sendable {
        var runs: [Run] = []
        /// Messages that no dialogue took.
        var unexpected: [String] = []
        var isStopping = false
    }

    /// Dialogues of one probe; a rule runs a few.
    static let runsMax = 64
    static let unexpectedMax = 100
    static let datagramBytesMax = 65_535

    public let pluginPort: Int
    public let port: Int
    private let dialogues: [String: SignallingScript]
    private let socket: Int32
    private let wake: Int32
    private let state = Mutex(State())
    private let thread: pthread_t

    /// Binds a free port on loopback. Throws with the system's reason.
    ///
    /// - Parameter pluginPort: Where the plugin was told to listen.
    public init(_ dialogues: [String: SignallingScript], pluginPort: Int) throws(ScriptError) {
        self.dialogues = dialogues
        self.pluginPort = pluginPort
        guard let bound = Self.bind() else {
            throw ScriptError(
                file: VendorScript.fileName, path: "udp",
                problem: "no port on 127.0.0.1 can be bound: \(String(cString: strerror(errno)))")
        }
        (socket, port) = bound
        wake = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        let box = Box()
        var thread = pthread_t()
        let context = Unmanaged.passRetained(box).toOpaque()
        precondition(pthread_create(&thread, nil, runSignallingPeer, context) == 0, "the machine gives no thread")
        self.thread = thread
        box.begin(self)
    }

    /// A port of 127.0.0.1 that is free for UDP and TCP, now and when the plugin binds it.
    ///
    /// A port that the system chose for us and that we let go of again is chosen for the next who asks, and on a busy
    /// machine that is not the plugin. So these are of the range below the system's own, each in its turn.
    public static func freePort() -> Int? {
        for _ in 0..<256 {
            let number = latestPort.add(1, ordering: .relaxed).newValue
            let port = portRange.lowerBound + number % portRange.count
            if isFree(port, SOCK_DGRAM), isFree(port, SOCK_STREAM) { return port }
        }
        return nil
    }

    /// Below 32768, where Linux begins to choose (`net.ipv4.ip_local_port_range`), and above what services are given.
    private static let portRange = 12_000..<32_000
    /// Runners beside each other begin at places of their own.
    private static let latestPort = Atomic(Int.random(in: 0..<20_000))

    private static func isFree(_ port: Int, _ type: __socket_type) -> Bool {
        let descriptor = Glibc.socket(AF_INET, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { Glibc.close(descriptor) }
        return withLoopback(port) { Glibc.bind(descriptor, $0, $1) } == 0
    }

    /// Begins a dialogue. Nil: there is none of that name, or too many were begun.
    public func begin(_ name: String) -> Int? {
        guard let script = dialogues[name] else { return nil }
        let (run, messages): (Int?, [String]) = state.withLock { state in
            guard state.runs.count < Self.runsMax else { return (nil, []) }
            var dialogue = SignallingDialogue(
                script,
                variables: [
                    "plugin.port": String(pluginPort), "peer.port": String(port), "run": String(state.runs.count + 1),
                ])
            let messages = dialogue.start(nowNs: Self.nowNs())
            state.runs.append(Run(dialogue: dialogue))
            return (state.runs.count, messages)
        }
        for message in messages { send(message) }
        rouse()
        return run
    }

    public func dialogue(_ run: Int) -> SignallingDialogue? {
        state.withLock { $0.runs.indices.contains(run - 1) ? $0.runs[run - 1].dialogue : nil }
    }

    public var unexpected: [String] { state.withLock { $0.unexpected } }

    /// Ends the thread. Nothing may be asked of the peer afterwards.
    public func stop() {
        state.withLock { $0.isStopping = true }
        rouse()
        pthread_join(thread, nil)
        close(socket)
        close(wake)
    }

    private func rouse() {
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    // MARK: The thread

    fileprivate func run() {
        var buffer = [UInt8](repeating: 0, count: Self.datagramBytesMax)
        while true {
            let (isStopping, deadlineNs) = state.withLock { state in
                (state.isStopping, state.runs.compactMap(\.dialogue.deadlineNs).min())
            }
            if isStopping { return }
            var timeoutMs: Int32 = -1
            if let deadlineNs {
                let now = Self.nowNs()
                timeoutMs = deadlineNs <= now ? 0 : Int32(clamping: (deadlineNs - now) / 1_000_000 + 1)
            }
            var waiting = [
                pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&waiting, 2, timeoutMs)
            var count: UInt64 = 0
            _ = read(wake, &count, 8)
            while true {
                let got = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                guard got > 0 else { break }
                take(String(decoding: buffer[..<got], as: UTF8.self))
            }
            tick()
        }
    }

    private func take(_ text: String) {
        // A keep-alive of SIP over UDP (RFC 5626, 3.5.1 has its kin for TCP): nothing but line ends.
        if text.allSatisfy(\.isWhitespace) { return }
        let nowNs = Self.nowNs()
        let answers: [String] = state.withLock { state in
            for index in state.runs.indices {
                if let answers = state.runs[index].dialogue.receive(text, nowNs: nowNs) { return answers }
            }
            if state.unexpected.count < Self.unexpectedMax { state.unexpected.append(text) }
            return []
        }
        for answer in answers { send(answer) }
    }

    private func tick() {
        let nowNs = Self.nowNs()
        let messages = state.withLock { state in
            state.runs.indices.flatMap { state.runs[$0].dialogue.tick(nowNs: nowNs) }
        }
        for message in messages { send(message) }
    }

    private func send(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            _ = Self.withLoopback(pluginPort) { sendto(socket, bytes.baseAddress, bytes.count, 0, $0, $1) }
        }
    }

    // MARK: The system

    private static func nowNs() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }

    private static func bind() -> (socket: Int32, port: Int)? {
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = Glibc.socket(AF_INET, type, 0)
        guard descriptor >= 0 else { return nil }
        guard withLoopback(0, { Glibc.bind(descriptor, $0, $1) }) == 0 else {
            Glibc.close(descriptor)
            return nil
        }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &length) }
        }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }

    private static func withLoopback<Result>(
        _ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

/// Hands the peer to its thread, which is made before the peer is whole.
private final class Box: @unchecked Sendable {
    private let gate: UnsafeMutablePointer<sem_t> = .allocate(capacity: 1)
    private var peer: SignallingPeer?

    init() { sem_init(gate, 0, 0) }

    deinit {
        sem_destroy(gate)
        gate.deallocate()
    }

    func begin(_ peer: SignallingPeer) {
        self.peer = peer
        sem_post(gate)
    }

    func wait() -> SignallingPeer {
        while sem_wait(gate) != 0 {}
        defer { peer = nil }
        return peer!
    }
}

private func runSignallingPeer(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    vch_name_this_thread("signalling")
    Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().wait().run()
    return nil
}
