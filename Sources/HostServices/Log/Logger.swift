// The log of the whole host. Who writes a line never waits for the disk, the terminal or a collector that hangs: the
// line goes into a bounded queue, and a thread of its own writes it. When the queue is full the newest lines are
// dropped, since the oldest tell how the trouble began, and the log itself says how many are missing.
//
// Media threads do not log at all: they count, and others tell of the counters.

import Glibc
import PluginABI
import Synchronization

public final class Logger: Sendable {
    public enum Level: UInt32, Sendable, CaseIterable, Comparable {
        case debug = 1, info, warning, error
        case hostFault, pluginFault

        public static func < (one: Level, other: Level) -> Bool { one.rawValue < other.rawValue }

        /// As in the configuration and in the lines.
        public var name: String {
            switch self {
            case .debug: "debug"
            case .info: "info"
            case .warning: "warning"
            case .error: "error"
            case .hostFault: "host-fault"
            case .pluginFault: "plugin-fault"
            }
        }

        /// Both faults are errors of a kind and are kept whenever errors are.
        fileprivate var severity: UInt32 { min(rawValue, Level.error.rawValue) }

        var colour: String {
            switch self {
            case .debug: "\u{1b}[2m"
            case .info: "\u{1b}[32m"
            case .warning: "\u{1b}[33m"
            case .error, .hostFault, .pluginFault: "\u{1b}[31m"
            }
        }
    }

    public enum Format: Sendable { case human, json }

    public struct Configuration: Sendable {
        public var level = Level.info
        public var format = Format.human
        /// Where lines go. It stays open when the logger stops.
        public var descriptor: Int32 = STDERR_FILENO

        public init(level: Level = .info, format: Format = .human, descriptor: Int32 = STDERR_FILENO) {
            self.level = level
            self.format = format
            self.descriptor = descriptor
        }
    }

    /// The bound of the contract, `service/log.h`.
    public static let linesMax = 1_000
    /// A line is for a person: a message of more than 8 KiB, or a field of more than 2, is cut, and 32 fields are kept.
    public static let messageBytesMax = 8 << 10
    public static let fieldBytesMax = 2 << 10
    public static let fieldsMax = 32

    private struct State {
        var lines: [LogLine] = []
        var dropped: UInt64 = 0
        /// True while the writer holds lines that are not out yet.
        var isWriting = false
        var isOver = false
    }

    private let monitor = Monitor(State())
    private let threshold: Atomic<UInt32>
    private let format: Format
    private let descriptor: Int32
    private let isColoured: Bool
    private let toldOnce = Mutex<Set<String>>([])
    private let writer = Mutex<ServiceThread?>(nil)

    /// Lines that were never written, because the queue was full or the descriptor refused them.
    public let dropped = Atomic<UInt64>(0)
    public let redactor = Redactor()

    public init(_ configuration: Configuration = Configuration()) {
        threshold = Atomic(configuration.level.severity)
        format = configuration.format
        descriptor = configuration.descriptor
        // Colour is for eyes: never in a pipe or a file, and not where NO_COLOR says no.
        isColoured = format == .human && isatty(configuration.descriptor) == 1 && getenv("NO_COLOR") == nil
        writer.withLock { $0 = ServiceThread("log") { [self] in writeLines() } }
    }

    /// The level from which lines are kept. It may change while the host runs.
    public var level: Level {
        get { Level(rawValue: threshold.load(ordering: .relaxed)) ?? .error }
        set { threshold.store(newValue.severity, ordering: .relaxed) }
    }

    /// One load: spares the work of making lines that are not kept.
    public func isEnabled(_ level: Level) -> Bool { level.severity >= threshold.load(ordering: .relaxed) }

    public func debug(_ message: @autoclosure () -> String, _ fields: LogField..., of subject: LogSubject = .host) {
        if isEnabled(.debug) { write(.debug, message(), fields, of: subject) }
    }

    public func info(_ message: @autoclosure () -> String, _ fields: LogField..., of subject: LogSubject = .host) {
        if isEnabled(.info) { write(.info, message(), fields, of: subject) }
    }

    public func warning(_ message: @autoclosure () -> String, _ fields: LogField..., of subject: LogSubject = .host) {
        if isEnabled(.warning) { write(.warning, message(), fields, of: subject) }
    }

    public func error(_ message: @autoclosure () -> String, _ fields: LogField..., of subject: LogSubject = .host) {
        write(.error, message(), fields, of: subject)
    }

    /// A plugin's breach of contract: what it did, and what the contract says. The same breach of the same subject is
    /// told once, because a plugin that does it once does it for every frame.
    public func pluginFault(_ message: String, _ fields: LogField..., of subject: LogSubject) {
        let isNew = toldOnce.withLock { told in
            // Past the bound nothing new is told: a thousand different faults are a pattern that is visible by then.
            told.count < 1_000 && told.insert("\(subject.plugin)\u{0}\(subject.name)\u{0}\(message)").inserted
        }
        if isNew { write(.pluginFault, message, fields, of: subject) }
    }

    /// Queues one line. Never blocks but for the queue's own short lock.
    public func write(_ level: Level, _ message: String, _ fields: [LogField] = [], of subject: LogSubject = .host) {
        guard isEnabled(level) else { return }
        let line = LogLine(
            wallNs: Monotonic.wallNs(), level: level, subject: subject,
            message: Self.cut(message, Self.messageBytesMax),
            fields: fields.prefix(Self.fieldsMax).map { LogField($0.name, Self.cut($0.value, Self.fieldBytesMax)) })
        let isKept = monitor.withLock { state in
            guard state.lines.count < Self.linesMax, !state.isOver else {
                state.dropped += 1
                return false
            }
            state.lines.append(line)
            return true
        }
        if isKept { monitor.broadcast() } else { dropped.wrappingAdd(1, ordering: .relaxed) }
    }

    /// Waits until everything queued so far is out, or `timeoutMs` is over.
    @discardableResult
    public func flush(timeoutMs: UInt64 = 1_000) -> Bool {
        let deadlineNs = Monotonic.nowNs() + timeoutMs * 1_000_000
        return monitor.wait { state, now in
            if state.lines.isEmpty && !state.isWriting { return .ready(true) }
            return now >= deadlineNs ? .ready(false) : .sleepUntil(deadlineNs)
        }
    }

    /// Writes what is queued and ends the writer. Later lines are counted and dropped.
    public func stop() {
        let isOut = flush()
        monitor.withLock { $0.isOver = true }
        monitor.broadcast()
        writer.withLock { writer in
            // A writer that hangs in a full pipe is left to the end of the process.
            if isOut { writer?.join() } else { writer?.detach() }
            writer = nil
        }
    }

    // MARK: The writer's thread

    private func writeLines() {
        while true {
            let batch: (lines: [LogLine], dropped: UInt64)? = monitor.wait { state, _ in
                state.isWriting = false
                guard !state.lines.isEmpty || state.dropped > 0 else {
                    if state.isOver { return .ready(nil) }
                    self.monitor.broadcast()  // for `flush`
                    return .sleep
                }
                guard !state.isOver || !state.lines.isEmpty else { return .ready(nil) }
                state.isWriting = true
                defer {
                    state.lines = []
                    state.dropped = 0
                }
                return .ready((state.lines, state.dropped))
            }
            guard let batch else { return }
            var lines = batch.lines
            let missing = batch.dropped
            if missing > 0 {
                lines.append(
                    LogLine(
                        wallNs: Monotonic.wallNs(), level: .warning, subject: .host,
                        message: "\(missing) log lines are missing here: more than \(Self.linesMax) were waiting, "
                            + "because whoever reads the log is too slow or too much is logged",
                        fields: [LogField("dropped", missing)]))
            }
            var text = ""
            for line in lines { text += render(line) }
            if !put(text) { dropped.wrappingAdd(UInt64(lines.count), ordering: .relaxed) }
        }
    }

    private func render(_ line: LogLine) -> String {
        var line = line
        line.message = redactor.redact(line.message)
        for index in line.fields.indices { line.fields[index].value = redactor.redact(line.fields[index].value) }
        switch format {
        case .human: return line.humanText(coloured: isColoured)
        case .json: return line.jsonText
        }
    }

    private func put(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { utf8 in
            var rest = UnsafeRawBufferPointer(utf8)
            while !rest.isEmpty {
                let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if written < 0 {
                    if errno == EINTR { continue }
                    if errno == EAGAIN {
                        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                        _ = poll(&waiting, 1, 1_000)
                        continue
                    }
                    return false
                }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
            }
            return true
        }
    }

    private static func cut(_ text: String, _ limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        return String(decoding: text.utf8.prefix(limit), as: UTF8.self) + "… (\(text.utf8.count) bytes)"
    }
}
