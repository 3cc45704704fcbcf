import Glibc
import JSON
import PluginABI
import Providers
import Testing

@testable import HostServices

@Suite("The services as a whole")
struct HostServicesTests {
    @Test("Every service is found by its id, and its table has the size that the contract gives it")
    func tables() {
        #expect(Stage.table(VC_SERVICE_LOG, vc_log.self).size == 24)
        #expect(Stage.table(VC_SERVICE_CLOCK, vc_clock.self).size == 24)
        #expect(Stage.table(VC_SERVICE_CONFIG, vc_config.self).size == 40)
        #expect(Stage.table(VC_SERVICE_SECRET, vc_secret.self).size == 16)
        #expect(Stage.table(VC_SERVICE_TASK, vc_task.self).size == 16)
        #expect(Stage.timer.size == 24 && Stage.http.size == 32 && Stage.server.size == 32)
        #expect(HostTable.pointer.pointee.service("vc.log/2") == nil)
    }

    @Test("A set of services ends within a second, with a request under way")
    func stop() {
        let services = HostServices(HostServices.Configuration())
        let begun = Monotonic.nowNs()
        services.end()
        #expect(Monotonic.nowNs() - begun < 1_000_000_000)
    }

    @Test("The clock is the one of the process, and its wall shows this century")
    func clock() {
        let clock = Stage.table(VC_SERVICE_CLOCK, vc_clock.self)
        let before = Monotonic.nowNs()
        let read = clock.now_ns()
        #expect(read >= before && read <= Monotonic.nowNs())
        #expect(clock.wall_ns() > 1_700_000_000_000_000_000)
    }

    @Test("A null pointer where the contract forbids one is refused")
    func nullArguments() {
        let object = Stage.object()
        var handle: vc_handle = 0
        let timer = Stage.timer
        let nullFire = unsafeBitCast(0, to: vc_timer_fn.self)
        #expect(timer.arm(object.handle, 0, nullFire, nil, &handle) == status(VC_E_ARGUMENT))
        let nullWork = unsafeBitCast(0, to: vc_task_fn.self)
        #expect(Stage.task.run(object.handle, nullWork, nil) == status(VC_E_ARGUMENT))
        Stage.destroy(object)
    }

    @Test("A handle of one kind is stale for every other kind, and so is a made-up one")
    func foreignHandles() {
        let object = Stage.object()
        var timer: vc_handle = 0
        #expect(Stage.timer.arm(object.handle, .max, ignoreTimer, nil, &timer) == status(VC_OK))
        #expect(Stage.http.cancel(timer) == status(VC_E_STALE))
        #expect(Stage.timer.disarm(object.handle) == status(VC_E_STALE))
        #expect(Stage.timer.disarm(0) == status(VC_E_STALE))
        #expect(Stage.timer.disarm(.max) == status(VC_E_STALE))
        #expect(Stage.timer.disarm(timer) == status(VC_OK))
        #expect(Stage.timer.disarm(timer) == status(VC_E_STALE))
        Stage.destroy(object)
    }
}

@Suite("Settings and secrets")
struct SettingsTests {
    let configuration: JSONValue = [
        "model": "large", "voice": ["speed": 1.25, "name": "amy"], "retries": 3, "partials": true, "with.dot": "kept",
        "nothing": nil,
    ]

    @Test("Settings are read by their type, down the dots")
    func read() {
        let config = Stage.table(VC_SERVICE_CONFIG, vc_config.self)
        let object = Stage.object(configuration: configuration)
        var text = vc_str()
        var integer: Int64 = 0
        var number: Double = 0
        var flag: UInt32 = 0
        #expect(config.text(object.handle, "model", &text) == 0 && text.text() == "large")
        #expect(config.text(object.handle, "voice.name", &text) == 0 && text.text() == "amy")
        #expect(config.text(object.handle, "with.dot", &text) == 0 && text.text() == "kept")
        #expect(config.integer(object.handle, "retries", &integer) == 0 && integer == 3)
        #expect(config.number(object.handle, "voice.speed", &number) == 0 && number == 1.25)
        #expect(config.number(object.handle, "retries", &number) == 0 && number == 3)
        #expect(config.flag(object.handle, "partials", &flag) == 0 && flag == 1)
        Stage.destroy(object)
    }

    @Test("What is missing is not found, and what has another type is an argument error")
    func refuse() {
        let config = Stage.table(VC_SERVICE_CONFIG, vc_config.self)
        let object = Stage.object(configuration: configuration)
        var integer: Int64 = 77
        for key in ["", "absent", "nothing", "voice.absent", "model.deeper", "."] {
            #expect(config.integer(object.handle, key, &integer) == status(VC_E_NOT_FOUND))
        }
        #expect(config.integer(object.handle, "model", &integer) == status(VC_E_ARGUMENT))
        #expect(config.integer(object.handle, "voice.speed", &integer) == status(VC_E_ARGUMENT))
        #expect(integer == 77)
        #expect(config.integer(object.handle &+ 1 << 32, "retries", &integer) == status(VC_E_STALE))
        Stage.destroy(object)
    }

    @Test("A text stays where it is until the object's memory goes, even after the object has ended")
    func textLives() {
        let config = Stage.table(VC_SERVICE_CONFIG, vc_config.self)
        let object = Stage.object(configuration: configuration)
        var first = vc_str()
        var second = vc_str()
        #expect(config.text(object.handle, "model", &first) == 0)
        #expect(config.text(object.handle, "model", &second) == 0)
        #expect(first.data == second.data)
        object.end()
        for _ in 0..<300 {
            let other = Stage.object(configuration: configuration)
            _ = config.text(other.handle, "model", &second)
            Stage.destroy(other)
        }
        #expect(first.text() == "large")
        Stage.destroy(object)
    }

    @Test("A secret is lent for one call and zeroed afterwards")
    func secret() {
        let service = Stage.table(VC_SERVICE_SECRET, vc_secret.self)
        let object = Stage.object(secrets: ["API_KEY", "UNSET", "UNSET_VARIABLE"])
        let recorder = Recorder("")
        #expect(service.with(object.handle, "API_KEY", recordSecret, recorder.context) == status(VC_OK))
        #expect(recorder.state == "correct horse battery")
        #expect(service.with(object.handle, "UNSET", recordSecret, recorder.context) == status(VC_E_NOT_FOUND))
        #expect(service.with(object.handle, "UNSET_VARIABLE", recordSecret, recorder.context) == status(VC_E_AUTH))
        #expect(service.with(object.handle, "HOME", recordSecret, recorder.context) == status(VC_E_ARGUMENT))
        #expect(Stage.log.contains("set the environment variable VCHOST_TEST_UNSET"))
        Stage.destroy(object)
    }

    @Test("A secret in a file is read without its line break, and anew when the file changes")
    func secretFile() throws {
        let path = "/tmp/vchost-secret-\(getpid())"
        defer { unlink(path) }
        func write(_ text: String) {
            let file = fopen(path, "w")
            fputs(text, file)
            fclose(file)
        }
        let store = SecretStore(
            ["KEY": .file(path), "other/KEY": .environment("HOME"), "GONE": .file(path + "-gone")], redactor: Redactor()
        )
        write("first value\n")
        #expect(try store.value("KEY", section: "stt", listed: ["KEY"]) == Array("first value".utf8))
        write("second, longer value\r\n")
        #expect(try store.value("KEY", section: "stt", listed: ["KEY"]) == Array("second, longer value".utf8))
        #expect(try store.value("KEY", section: "other", listed: ["KEY"]) != Array("second, longer value".utf8))
        #expect(throws: SecretFailure.self) { try store.value("GONE", section: "stt", listed: ["GONE"]) }
        write("\n")
        #expect(throws: SecretFailure.self) { try store.value("KEY", section: "stt", listed: ["KEY"]) }
    }

    @Test("References are env: or file:, and anything else is refused without being repeated")
    func references() throws {
        #expect(try SecretReference(parsing: "env:KEY") == .environment("KEY"))
        #expect(try SecretReference(parsing: "file:/run/key") == .file("/run/key"))
        for text in ["sk-123456", "env:", "file:", ""] {
            let failure = #expect(throws: SecretFailure.self) { try SecretReference(parsing: text) }
            #expect(failure?.description.contains("sk-") == false)
        }
    }
}

private func ignoreTimer(_ context: UnsafeMutableRawPointer?, _ timer: vc_handle) {}

private func recordSecret(_ context: UnsafeMutableRawPointer?, _ secret: vc_str) {
    Recorder<String>.of(context).change { $0 = secret.text() }
}
