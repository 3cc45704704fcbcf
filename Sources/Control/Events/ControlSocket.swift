// Where an operator talks to a running host: a Unix socket, one JSON object a line in, one out.
//
//     {"command": "reload"}                     ─► {"ok": true, "lines": ["org.acme.tts: version 1.1.0 is used ..."]}
//     {"command": "pardon", "plugin": "NAME"}   ─► {"ok": false, "error": "..."}
//
// Whoever may open the file may do all of it: its mode is 0600. Requests are answered in their order, one at a time for
// each client, and an answer may take as long as what was asked for; a client that is waiting costs nothing but its
// place. One thread for all, which calls the handler and never waits for it.

import CPlatform
import Glibc
import JSON
import Synchronization

public final class ControlSocket: Sendable {
    /// A few terminals and scripts; more are not let in.
    static let clientsMax = 16
    /// A request is a command and a name.
    static let requestBytesMax = 16 << 10

    /// Called on the socket's thread; it returns at once, and calls `answer` once, from any thread.
    public typealias Handler =
        @Sendable (_ request: JSONValue, _ answer: @escaping @Sendable (JSONValue) -> Void) -> Void

    private struct Client {
        let descriptor: Int32
        var received: [UInt8] = []
        var toSend: [UInt8] = []
        var isWaiting = false
        /// It is let go when everything is sent.
        var isLast = false
    }

    private struct State {
        var clients: [UInt64: Client] = [:]
        var next: UInt64 = 0
        var isStopping = false
    }

    private let state = Mutex(State())
    private let listener: LocalListener
    private let wake: Int32
    private let handler: Handler

    /// Listens, under another name until `appear`. Throws `SettingsError` when that does not work.
    public init(path: String, handler: @escaping Handler) throws(SettingsError) {
        self.handler = handler
        listener = try LocalListener(path: path, setting: "control_socket")
        wake = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        let box = Unmanaged.passRetained(self)
        var thread = pthread_t()
        guard pthread_create(&thread, nil, controlSocketThread, box.toOpaque()) == 0 else {
            box.release()
            throw SettingsError(.invalid, "control_socket: no thread could be started")
        }
        pthread_detach(thread)
    }

    /// Takes the path: whoever finds it finds a host that is up.
    public func appear() throws(SettingsError) { try listener.appear() }

    /// Closes the socket and lets the clients go.
    public func stop() {
        state.withLock { $0.isStopping = true }
        ring()
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(wake, &one, MemoryLayout<UInt64>.size)
    }

    // MARK: The thread

    fileprivate func serve() {
        while true {
            let polled = state.withLock { state -> [(client: UInt64?, poll: pollfd)]? in
                if state.isStopping { return nil }
                let clients = state.clients.map { number, client in
                    // While one waits for its answer, what it asks next stays in the kernel's buffer.
                    let mayAsk = !client.isWaiting && !client.isLast
                    let events = (client.toSend.isEmpty ? 0 : POLLOUT) | (mayAsk ? POLLIN : 0)
                    return (
                        client: Optional(number), poll: pollfd(fd: client.descriptor, events: Int16(events), revents: 0)
                    )
                }
                return [
                    (nil, pollfd(fd: wake, events: Int16(POLLIN), revents: 0)),
                    (nil, pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)),
                ] + clients
            }
            guard let polled else { break }
            var descriptors = polled.map(\.poll)
            guard poll(&descriptors, nfds_t(descriptors.count), -1) >= 0 || errno == EINTR else { break }
            var drained: UInt64 = 0
            _ = read(wake, &drained, MemoryLayout<UInt64>.size)
            acceptAll()
            for (index, entry) in polled.enumerated() {
                guard let number = entry.client else { continue }
                receive(number, descriptors[index].revents)
                send(number)
            }
        }
        state.withLock { state in
            for client in state.clients.values { close(client.descriptor) }
            state.clients = [:]
        }
        listener.close()
        close(wake)
    }

    private func acceptAll() {
        while let descriptor = listener.accept() {
            let isTaken = state.withLock { state in
                guard state.clients.count < Self.clientsMax else { return false }
                state.clients[state.next] = Client(descriptor: descriptor)
                state.next += 1
                return true
            }
            if !isTaken { close(descriptor) }
        }
    }

    private func receive(_ number: UInt64, _ events: Int16) {
        guard events & Int16(POLLIN | POLLHUP | POLLERR) != 0 else { return }
        let request = state.withLock { state -> [UInt8]? in
            guard var client = state.clients[number] else { return nil }
            var bytes = [UInt8](repeating: 0, count: 4_096)
            let got = events & Int16(POLLIN) != 0 ? recv(client.descriptor, &bytes, bytes.count, 0) : 0
            guard got > 0 else {
                if got < 0, errno == EAGAIN || errno == EINTR { return nil }
                close(client.descriptor)
                state.clients[number] = nil
                return nil
            }
            client.received += bytes[..<got]
            defer { state.clients[number] = client }
            return Self.takeLine(&client)
        }
        if let request { answer(number, request) }
    }

    /// A whole line, if there is one; the client waits for its answer from then on.
    private static func takeLine(_ client: inout Client) -> [UInt8]? {
        guard !client.isWaiting, !client.isLast else { return nil }
        guard let end = client.received.firstIndex(of: 0x0a) else {
            if client.received.count > requestBytesMax {
                client.toSend += line(failure("a request has at most \(requestBytesMax) bytes"))
                client.isLast = true
            }
            return nil
        }
        defer { client.received.removeFirst(end + 1) }
        client.isWaiting = true
        return Array(client.received[..<end])
    }

    private func answer(_ number: UInt64, _ request: [UInt8]) {
        let answer: @Sendable (JSONValue) -> Void = { [self] value in
            let next = state.withLock { state -> [UInt8]? in
                guard state.clients[number]?.isWaiting == true else { return nil }
                state.clients[number]!.isWaiting = false
                state.clients[number]!.toSend += Self.line(value)
                return Self.takeLine(&state.clients[number]!)
            }
            ring()
            if let next { self.answer(number, next) }
        }
        guard let value = request.withUnsafeBufferPointer({ try? JSONValue(parsing: $0) }), value.object != nil else {
            return answer(Self.failure("a request is a JSON object on one line"))
        }
        handler(value, answer)
    }

    private func send(_ number: UInt64) {
        state.withLock { state in
            guard let client = state.clients[number], !client.toSend.isEmpty else { return }
            let sent = client.toSend.withUnsafeBytes {
                Glibc.send(client.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if sent > 0 { state.clients[number]!.toSend.removeFirst(sent) }
            let isBroken = sent < 0 && errno != EAGAIN && errno != EINTR
            if isBroken || client.isLast && sent == client.toSend.count {
                close(client.descriptor)
                state.clients[number] = nil
            }
        }
    }

    private static func line(_ value: JSONValue) -> [UInt8] { Array(value.text.utf8) + [0x0a] }

    /// The shape of every refusal.
    public static func failure(_ message: String) -> JSONValue { ["ok": false, "error": .string(message)] }
}

private func controlSocketThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<ControlSocket>.fromOpaque(context!).takeRetainedValue().serve()
    return nil
}
