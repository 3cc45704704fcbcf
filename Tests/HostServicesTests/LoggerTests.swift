import Glibc
import JSON
import PluginABI
import Providers
import Synchronization
import Testing

@testable import HostServices

@Suite("The log")
struct LoggerTests {
    /// A logger that writes into a pipe, and what it wrote so far.
    final class Piped {
        let logger: Logger
        private let ends: (read: Int32, write: Int32)

        init(level: Logger.Level = .info, format: Logger.Format = .human) {
            var ends: [Int32] = [0, 0]
            precondition(pipe(&ends) == 0)
            self.ends = (ends[0], ends[1])
            logger = Logger(.init(level: level, format: format, descriptor: ends[1]))
        }

        deinit {
            close(ends.read)
            close(ends.write)
        }

        /// Reads what is in the pipe now.
        func text() -> String {
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            let count = read(ends.read, &bytes, bytes.count)
            return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
        }
    }

    @Test("A line says when, how bad, who and what, without colour in a pipe")
    func human() {
        let piped = Piped()
        piped.logger.warning(
            "connection lost", LogField("origin", "https://a.b"), LogField("why", "no \"route\""),
            of: LogSubject(plugin: "org.acme.stt", name: "stt.main", call: "c1"))
        piped.logger.stop()
        let line = piped.text()
        #expect(
            line.hasSuffix(
                "Z WARNING stt.main plugin=org.acme.stt call=c1 connection lost"
                    + " origin=https://a.b why=\"no \\\"route\\\"\"\n"
            ))
        #expect(!line.contains("\u{1b}") && line.hasPrefix("20"))
    }

    @Test("A JSON line is one JSON object with the same parts")
    func json() throws {
        let piped = Piped(format: .json)
        piped.logger.error("it\nbroke", LogField("n", 3), of: LogSubject(plugin: "p", name: "s", call: "c"))
        piped.logger.stop()
        let text = piped.text()
        #expect(text.filter { $0 == "\n" }.count == 1)
        let line = try JSONValue(parsing: text)
        #expect(line["level"] == "error" && line["message"] == "it\nbroke" && line["fields"]?["n"] == "3")
        #expect(line["plugin"] == "p" && line["name"] == "s" && line["call"] == "c")
    }

    @Test("A line break in a message does not begin another line")
    func oneLine() {
        let piped = Piped()
        piped.logger.info("one\r\n2026-01-01T00:00:00.000Z ERROR forged\u{1b}[2J")
        piped.logger.stop()
        let text = piped.text()
        #expect(text.filter { $0.isNewline }.count == 1 && !text.contains("\u{1b}"))
    }

    @Test("The timestamp is RFC 3339 in UTC")
    func timestamp() {
        #expect(LogLine.timestamp(1_767_225_599_042_000_000) == "2025-12-31T23:59:59.042Z")
    }

    @Test("Lines below the level are not made, and faults count as errors")
    func levels() {
        let piped = Piped(level: .error)
        var made = 0
        func make() -> String {
            made += 1
            return "made"
        }
        piped.logger.info(make())
        #expect(made == 0 && !piped.logger.isEnabled(.warning))
        #expect(piped.logger.isEnabled(.hostFault) && piped.logger.isEnabled(.pluginFault))
        piped.logger.level = .debug
        piped.logger.debug(make())
        #expect(made == 1)
        piped.logger.stop()
    }

    @Test("A secret that was given out is not in the log, whoever writes it")
    func redaction() {
        let piped = Piped()
        piped.logger.redactor.learn("API_KEY", value: Array("s3cr3t-value".utf8))
        piped.logger.redactor.learn("SHORT", value: Array("on".utf8))
        piped.logger.info("key s3cr3t-value refused, s3cr3t-value!", LogField("header", "Bearer s3cr3t-value"))
        piped.logger.stop()
        let line = piped.text()
        #expect(!line.contains("s3cr3t-value") && line.contains("key [secret API_KEY] refused, [secret API_KEY]!"))
        #expect(line.contains("Bearer [secret API_KEY]"))
    }

    @Test("When the reader hangs, the newest lines are dropped, counted, and reported when it reads on")
    func overflow() {
        let piped = Piped()
        let filler = String(repeating: "x", count: 4_000)
        // The pipe takes 64 KiB, sixteen lines; a batch of at most 1,000 is in the writer's hands, and as many wait.
        for number in 0..<3_000 { piped.logger.info("line \(number) \(filler)") }
        let dropped = piped.logger.dropped.load(ordering: .relaxed)
        #expect(dropped >= 950 && dropped < 3_000)
        // Told in one sum, or in two where the writer came late to its first batch.
        var text = ""
        var told: UInt64 = 0
        while told < dropped {
            text += piped.text()
            told = text.matches(of: /([0-9]+) log lines are missing here/).reduce(0) { $0 + (UInt64($1.output.1) ?? 0) }
        }
        #expect(told == dropped && text.contains("line 0 "))
        piped.logger.stop()
    }

    @Test("Long messages are cut, and say how long they were")
    func long() {
        let piped = Piped()
        piped.logger.info(String(repeating: "y", count: 20_000))
        piped.logger.stop()
        let line = piped.text()
        #expect(line.utf8.count < 9_000 && line.contains("… (20000 bytes)"))
    }

    @Test("The same fault of the same subject is told once")
    func once() {
        let piped = Piped()
        for _ in 0..<5 { piped.logger.pluginFault("late", of: LogSubject(name: "a")) }
        piped.logger.pluginFault("late", of: LogSubject(name: "b"))
        piped.logger.stop()
        #expect(piped.text().filter { $0.isNewline }.count == 2)
    }

    @Test("A plugin's line through the table is about the object of its handle")
    func table() {
        let log = Stage.table(VC_SERVICE_LOG, vc_log.self)
        let object = Stage.object(plugin: "org.acme.logs", name: "tts.logs", call: "call-7")
        lend([("took_ms", "12")]) { fields, count in
            lend("spoke a clause") { log.write(object.handle, UInt32(VC_LOG_INFO), $0, fields, count) }
        }
        #expect(log.enabled(UInt32(VC_LOG_DEBUG)) == 1 && log.enabled(99) == 0)
        #expect(Stage.log.contains("INFO    tts.logs plugin=org.acme.logs call=call-7 spoke a clause took_ms=12"))
        Stage.destroy(object)
    }
}
