// What happens in the calls of a running host, for whoever wants to watch: a Unix socket that sends one JSON object a
// line.
//
// A socket of the file system and not a port, because its permissions are the file's, and a transcript is nobody else's
// business. Watchers only read; what they write is ignored. A watcher that reads too slowly is cut off instead of being
// waited for: publishing never blocks a call. A connection waits in the kernel until the thread takes it in, and hears
// nothing of what happens meanwhile; so the first line says that from here on nothing is missed.
//
//     call loop ──publish──► [bounded lines of each watcher] ──► thread ──► watchers

import CPlatform
import Glibc
import Synchronization

public final class EventSocket: Sendable {
    /// More than the `vchost call`, the console and a few terminals that a host has.
    static let watchersMax = 32
    /// Some thousand lines: a watcher that far behind is not reading.
    static let bytesWaitingMax = 256 << 10
    /// The first line of every watcher.
    public static let welcome = #"{"event":"watching"}"#

    private struct Watcher {
        let descriptor: Int32
        var waiting = Array((EventSocket.welcome + "\n").utf8)
    }

    private struct State {
        var watchers: [Watcher] = []
        var isStopping = false
    }

    private let state = Mutex(State())
    private let listener: LocalListener
    private let wake: Int32
    /// Watchers that were cut off because they did not read.
    public let cutOff = Atomic<UInt64>(0)
    private let watcherCount = Atomic<Int>(0)

    /// True when somebody watches: spares the work of making lines for nobody.
    public var isWatched: Bool { watcherCount.load(ordering: .relaxed) > 0 }

    /// Listens, under another name until `appear`, so that whoever waits for the path finds a host that is up. Throws
    /// `SettingsError` when that does not work.
    public init(path: String) throws(SettingsError) {
        listener = try LocalListener(path: path, setting: "events_socket")
        wake = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        let box = Unmanaged.passRetained(self)
        var thread = pthread_t()
        guard pthread_create(&thread, nil, eventSocketThread, box.toOpaque()) == 0 else {
            box.release()
            throw SettingsError(.invalid, "events_socket: no thread could be started")
        }
        pthread_detach(thread)
    }

    /// Takes the path, also from a socket that a host before this one left behind. Throws when that does not work.
    public func appear() throws(SettingsError) { try listener.appear() }

    /// Sends a line to every watcher. Never blocks; any thread but a media thread.
    public func publish(_ line: String) {
        guard isWatched else { return }
        state.withLock { state in
            for index in state.watchers.indices {
                state.watchers[index].waiting += Array(line.utf8)
                state.watchers[index].waiting.append(0x0a)
            }
        }
        ring()
    }

    /// Closes the socket and lets the watchers go.
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
            var polled = state.withLock { state -> [pollfd]? in
                if state.isStopping { return nil }
                return [
                    pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0),
                ]
                    + state.watchers.map {
                        pollfd(
                            fd: $0.descriptor, events: Int16($0.waiting.isEmpty ? POLLIN : POLLIN | POLLOUT), revents: 0
                        )
                    }
            }
            guard polled != nil else { break }
            guard poll(&polled!, nfds_t(polled!.count), -1) >= 0 || errno == EINTR else { break }
            var drained: UInt64 = 0
            _ = read(wake, &drained, MemoryLayout<UInt64>.size)
            acceptAll()
            flush()
        }
        state.withLock { state in
            for watcher in state.watchers { close(watcher.descriptor) }
            state.watchers = []
        }
        listener.close()
        close(wake)
    }

    private func acceptAll() {
        while let descriptor = listener.accept() {
            let isTaken = state.withLock { state in
                guard state.watchers.count < Self.watchersMax else { return false }
                state.watchers.append(Watcher(descriptor: descriptor))
                return true
            }
            if !isTaken { close(descriptor) }
            watcherCount.store(state.withLock { $0.watchers.count }, ordering: .relaxed)
        }
    }

    private func flush() {
        state.withLock { state in
            state.watchers.removeAll { watcher in
                var scratch: UInt8 = 0
                // A watcher has nothing to say; what arrives is its end or noise.
                let isGone = recv(watcher.descriptor, &scratch, 1, Int32(MSG_DONTWAIT)) == 0
                let isSlow = watcher.waiting.count > Self.bytesWaitingMax
                if isSlow { cutOff.wrappingAdd(1, ordering: .relaxed) }
                if isGone || isSlow { close(watcher.descriptor) }
                return isGone || isSlow
            }
            for index in state.watchers.indices where !state.watchers[index].waiting.isEmpty {
                let sent = state.watchers[index].waiting.withUnsafeBytes {
                    send(state.watchers[index].descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if sent > 0 { state.watchers[index].waiting.removeFirst(sent) }
            }
            watcherCount.store(state.watchers.count, ordering: .relaxed)
        }
    }
}

private func eventSocketThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<EventSocket>.fromOpaque(context!).takeRetainedValue().serve()
    return nil
}
