// The host's own listener for HTTP/1.1: libmicrohttpd with one thread, which parses requests and writes answers. It
// never waits for a plugin: while one thinks, its connection is suspended, and `Exchange.answer` wakes it up.
//
// libwebsockets, which we have for the way out, was refused for this way in: it decides about an upgrade within its
// callback, and it does not list header fields that it has no number for, where a vendor's signature stands. Here a
// connection is handed over once it is upgraded, and wslay frames it on a thread of its own (`ServedSocketLoop`).
//
// Here are its beginning, its end and its connections; what happens to a request is in `Listener+Requests.swift`, and
// the functions that libmicrohttpd calls in `ListenerCallbacks.swift`. The lock of the table of connections is never
// held while libmicrohttpd is called, since it calls us with its own.

import Cmicrohttpd
import Glibc
import Synchronization

final class Listener: @unchecked Sendable {
    /// Where requests go once they are whole.
    struct Desk: Sendable {
        /// Finds whom the request is for, and makes an exchange of it, without asking the plugin yet.
        var begin: @Sendable (ReceivedRequest, _ connection: OpaquePointer) -> Result<Exchange, HostAnswer>
        /// Nobody will answer it any more, or see its answer.
        var forget: @Sendable (Exchange) -> Void
        var upgraded: @Sendable (WebSocket, ServedSocketLoop.Upgraded) -> Void
        /// There is a first connection to watch.
        var wake: @Sendable () -> Void
    }

    let limits: ServerSettings
    private let identity: TLSIdentity?
    let counters: ServerCounters
    let desk: Desk
    let table: Mutex<ConnectionTable>
    let suspended = Atomic<Int>(0)
    let isStopping = Atomic<Bool>(false)

    // Touched before the listener's thread begins and after it ended.
    private var descriptor: Int32 = -1
    private var daemon: OpaquePointer?

    /// `identity`: with it, TLS and nothing else.
    init(limits: ServerSettings, identity: TLSIdentity?, counters: ServerCounters, desk: Desk) {
        self.limits = limits
        self.identity = identity
        self.counters = counters
        self.desk = desk
        table = Mutex(ConnectionTable(limits: limits))
    }

    // MARK: Beginning and end

    /// Takes the port, so that a wrong address is found before anything else is started. Nobody is let in yet.
    func reserve(_ address: ListenAddress) throws(ListenFailure) -> UInt16 {
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard address.withSocketAddress({ bind(descriptor, $0, $1) }) == 0 else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw ListenFailure(
                description: "[server] listen = \(address) does not work: \(reason); choose a free port and an address "
                    + "of this machine")
        }
        self.descriptor = descriptor
        var own = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { own in
                getsockname(descriptor, own, &length)
                // Both families have the port at the same place.
                return own.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_port.bigEndian }
            }
        }
    }

    /// Lets clients in.
    func open() throws(ListenFailure) {
        // A burst of webhooks, before the thread gets to them.
        guard descriptor >= 0, listen(descriptor, 256) == 0 else {
            throw ListenFailure(description: "the listener's port is not there: it was not reserved, or was stopped")
        }
        var settings = vc_mhd_settings(
            listen_descriptor: descriptor,
            // Ours comes first and counts what it refuses.
            connections_max: UInt32(limits.connectionsMax + 16),
            // Ours are shorter: this is for a connection that we would not see.
            timeout_s: UInt32(max(limits.idleMs, limits.sendMs) / 1_000 + 10),
            connection_bytes: connectionBytes, certificate: nil, key: nil,
            context: Unmanaged.passUnretained(self).toOpaque(), accept: acceptConnection,
            connection: connectionChanged, target: targetArrived, request: requestArrived,
            completed: requestCompleted)
        func start() -> OpaquePointer? { vc_mhd_start(&settings) }
        if let identity {
            daemon = identity.certificate.withCString { certificate in
                identity.key.withCString { key in
                    settings.certificate = certificate
                    settings.key = key
                    return start()
                }
            }
        } else {
            daemon = start()
        }
        guard daemon != nil else {
            close(descriptor)
            descriptor = -1
            throw ListenFailure(
                description: "the listener could not be started: "
                    + (identity == nil
                        ? "libmicrohttpd refused"
                        : "check that [server] certificate and key are PEM and belong together"))
        }
    }

    /// Memory of a connection: the request's head, and the answer's beside it.
    ///
    /// With TLS it becomes the buffer of an upgraded connection, half of it for each direction. libmicrohttpd 0.9.75
    /// fills the outbound half, hands it to GnuTLS, and when there was more than a record of 16 KiB, the largest there
    /// is, it takes the socket for full and waits for room that it has already. So a half may hold one record.
    private var connectionBytes: Int {
        identity == nil ? limits.headBytesMax * 3 / 2 + limits.responseHeadBytesMax : 32 << 10
    }

    /// Requests are answered with 503 from here on. True when no request rests any more, which `close` needs.
    func stopAccepting(answerAll: () -> Void) -> Bool {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        // Two seconds, for clients that take their answers slowly are not waited for: only our own thread is.
        for _ in 0..<400 {
            answerAll()
            if suspended.load(ordering: .sequentiallyConsistent) == 0 { return true }
            usleep(5_000)
        }
        return false
    }

    /// Ends the thread and closes all connections.
    func end() {
        if let daemon {
            MHD_stop_daemon(daemon)
        } else if descriptor >= 0 {
            close(descriptor)
        }
        daemon = nil
        descriptor = -1
    }

    // MARK: Connections

    /// Shuts down what takes too long. False when there is nothing to watch.
    func cutOverdue(now: UInt64) -> Bool {
        table.withLock { table in
            // Under the lock, in which libmicrohttpd tells us before it closes a descriptor.
            for (descriptor, phase) in table.overdue(now: now) {
                counters.connection("cut_\(phase)")
                shutdown(descriptor, Int32(SHUT_RDWR))
            }
            return table.count > 0
        }
    }

    var connectionCount: Int { table.withLock { $0.count } }

    func mayEnter(_ address: String) -> Bool {
        guard let refusal = table.withLock({ $0.refusal(of: address) }) else { return true }
        counters.connection("refused_\(refusal)")
        return false
    }

    func began(_ connection: OpaquePointer) {
        let address = vc_mhd_peer(connection).map(addressText) ?? ""
        let descriptor = vc_mhd_descriptor(connection)
        let isFirst = table.withLock { table in
            table.began(key(of: connection), descriptor: descriptor, address: address, now: Monotonic.nowNs())
            return table.count == 1
        }
        counters.connection("accepted")
        if isFirst { desk.wake() }
    }

    func ended(_ connection: OpaquePointer) {
        table.withLock { $0.ended(key(of: connection)) }
    }

    func moved(_ connection: OpaquePointer, to phase: ConnectionTable.Phase) {
        table.withLock { $0.moved(key(of: connection), to: phase, now: Monotonic.nowNs()) }
    }

    func key(of connection: OpaquePointer) -> ConnectionTable.Identity { UInt(bitPattern: connection) }
}
