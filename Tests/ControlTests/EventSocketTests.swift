import Control
import Glibc
import Synchronization
import Testing

@Suite("The event socket tells watchers what happens and waits for none of them")
struct EventSocketTests {
    private static func connect(to path: String) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        precondition(connected == 0, "connect: \(errno)")
        return descriptor
    }

    private static func waitUntil(_ condition: () -> Bool) -> Bool {
        for _ in 0..<500 where !condition() { usleep(10_000) }
        return condition()
    }

    /// So many bytes, and the end of the line behind them.
    private static func next(_ watcher: Int32, _ count: Int) -> String {
        var bytes = [UInt8](repeating: 0, count: count + 1)
        guard recv(watcher, &bytes, bytes.count, Int32(MSG_WAITALL)) == bytes.count, bytes.last == 0x0a else { return "" }
        return String(decoding: bytes.dropLast(), as: UTF8.self)
    }

    private static func path() -> String { "/tmp/vchost-events-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock" }

    @Test("Every watcher gets every line, in order")
    func broadcast() throws {
        let path = Self.path()
        let events = try EventSocket(path: path)
        try events.appear()
        defer { events.stop() }
        let watchers = [Self.connect(to: path), Self.connect(to: path)]
        defer { for watcher in watchers { close(watcher) } }
        for watcher in watchers { #expect(Self.next(watcher, EventSocket.welcome.utf8.count) == EventSocket.welcome) }
        events.publish("one")
        events.publish("two")
        for watcher in watchers { #expect(Self.next(watcher, 7) == "one\ntwo") }
    }

    @Test("A watcher that was welcomed misses nothing: connected is not yet taken in")
    func welcome() throws {
        for _ in 0..<50 {
            let path = Self.path()
            let events = try EventSocket(path: path)
            try events.appear()
            defer { events.stop() }
            let watcher = Self.connect(to: path)
            defer { close(watcher) }
            #expect(Self.next(watcher, EventSocket.welcome.utf8.count) == EventSocket.welcome)
            events.publish("first")
            #expect(Self.next(watcher, 5) == "first")
        }
    }

    @Test("A watcher that does not read is cut off, and publishing never blocks")
    func slowWatcher() throws {
        let path = Self.path()
        let events = try EventSocket(path: path)
        try events.appear()
        defer { events.stop() }
        let watcher = Self.connect(to: path)
        defer { close(watcher) }
        #expect(Self.waitUntil { events.isWatched })
        let line = String(repeating: "x", count: 10_000)
        #expect(
            Self.waitUntil {
                for _ in 0..<20 { events.publish(line) }
                return events.cutOff.load(ordering: .relaxed) == 1
            })
        #expect(Self.waitUntil { !events.isWatched })
    }

    @Test("The path appears when the host says that it is up, and not before")
    func appearance() throws {
        let path = Self.path()
        let events = try EventSocket(path: path)
        defer { events.stop() }
        #expect(access(path, F_OK) != 0)
        try events.appear()
        #expect(access(path, F_OK) == 0)
    }

    @Test("The socket is the owner's alone, and a path that is too long is refused in words")
    func permissions() throws {
        let path = Self.path()
        let events = try EventSocket(path: path)
        try events.appear()
        defer { events.stop() }
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(throws: SettingsError.self) { try EventSocket(path: "/tmp/" + String(repeating: "x", count: 200)) }
    }
}
