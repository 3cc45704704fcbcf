// What the tests of the services share: one running set of services, as in a host, and objects of a plugin that use
// them through the C tables.

import CPlatform
import Glibc
import JSON
import PluginABI
import Providers
import Synchronization

@testable import HostServices

enum Stage {
    static let logPath = "/tmp/vchost-test-\(getpid()).log"

    static let services: HostServices = {
        setenv("VCHOST_TEST_SECRET", "correct horse battery", 1)
        // Every test but one talks to this machine, and shows by that, that no proxy stands between.
        setenv("http_proxy", "http://127.0.0.1:\(proxy.port)", 1)
        for name in ["no_proxy", "NO_PROXY"] { unsetenv(name) }
        var configuration = HostServices.Configuration()
        configuration.log.level = .debug
        configuration.log.descriptor = open(logPath, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0o600)
        configuration.secrets = [
            "API_KEY": .environment("VCHOST_TEST_SECRET"), "UNSET_VARIABLE": .environment("VCHOST_TEST_UNSET"),
        ]
        configuration.http.bodyBytesMax = 4 << 20
        configuration.http.authoritiesPath = certificate.path
        configuration.server.listen = ListenAddress(host: "127.0.0.1", port: 0)
        return HostServices.start(configuration: configuration)
    }()

    /// Where the host's own listener is.
    static let port: Int = {
        do throws(ListenFailure) {
            let port = try services.reserveListener()
            try services.openListener()
            return Int(port ?? 0)
        } catch {
            preconditionFailure("\(error)")
        }
    }()

    /// A table as a plugin gets it.
    static func table<Table>(_ id: String, _ type: Table.Type) -> Table {
        _ = services
        return HostTable.pointer.pointee.service(id)!.load(as: type)
    }

    /// What `http_proxy` of the environment names: a server that answers for every origin itself.
    static let proxy = Peer("http_peer.py")

    /// A certificate for `localhost` that signs itself, made anew for each run; the services trust it.
    static let certificate: (path: String, keyPath: String) = {
        let path = "/tmp/vchost-test-\(getpid())-certificate.pem"
        let keyPath = "/tmp/vchost-test-\(getpid())-key.pem"
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", path, "-keyout", keyPath)
        return (path, keyPath)
    }()

    static var webSocket: vc_ws { table(VC_SERVICE_WS, vc_ws.self) }
    static var http: vc_http { table(VC_SERVICE_HTTP, vc_http.self) }
    static var timer: vc_timer { table(VC_SERVICE_TIMER, vc_timer.self) }
    static var task: vc_task { table(VC_SERVICE_TASK, vc_task.self) }

    /// An object of a plugin, in the handle table. Each test has a plugin of its own, so that lanes are not shared.
    static func object(
        plugin: String = #function, name: String = "stt.main", call: String = "call-1",
        configuration: JSONValue = [:], secrets: [String] = ["API_KEY"]
    ) -> PluginObject {
        _ = services
        let object = PluginObject(
            level: .session, plugin: plugin, name: name, call: call, configuration: configuration, secrets: secrets
        ) { _ in vc_status(VC_OK) }
        precondition(HandleTable.shared.insert(object) != 0)
        return object
    }

    /// What a host does before it calls a plugin's `destroy`, and then the call.
    static func destroy(_ object: PluginObject, _ body: () -> Void = {}) {
        object.end()
        HandleTable.shared.remove(object.handle)
        _ = services.tasks.waitUntilIdle(object.handle, timeoutMs: 5_000)
        object.control(body)
    }

    static var log: String {
        services.logger.flush()
        guard let file = fopen(logPath, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}

/// Writes down what a service calls, and lets a test wait for it.
final class Recorder<State>: @unchecked Sendable {
    let monitor: Monitor<State>

    init(_ state: State) { monitor = Monitor(state) }

    var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    static func of(_ context: UnsafeMutableRawPointer?) -> Recorder {
        Unmanaged<Recorder>.fromOpaque(context!).takeUnretainedValue()
    }

    func change(_ body: (inout State) -> Void) {
        monitor.withLock(body)
        monitor.broadcast()
    }

    var state: State { monitor.withLock { $0 } }

    /// False when it did not come true in time.
    func wait(seconds: Double = 10, until isDone: (State) -> Bool) -> Bool {
        let deadlineNs = Monotonic.nowNs() + UInt64(seconds * 1e9)
        return monitor.wait { state, now in
            if isDone(state) { return .ready(true) }
            return now >= deadlineNs ? .ready(false) : .sleepUntil(deadlineNs)
        }
    }
}

func sleep(milliseconds: UInt32) { usleep(milliseconds * 1_000) }

func status(_ code: some BinaryInteger) -> vc_status { vc_status(code) }

/// Runs a program to its end, quietly.
func run(_ arguments: String...) {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    var pid = pid_t()
    precondition(
        posix_spawnp(&pid, arguments[0], &actions, nil, &argv, environ) == 0, "\(arguments[0]) is not installed")
    var outcome: Int32 = 0
    waitpid(pid, &outcome, 0)
    precondition(outcome == 0, "\(arguments[0]) failed")
}
