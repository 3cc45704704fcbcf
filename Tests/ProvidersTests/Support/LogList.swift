import Synchronization

@testable import Providers

/// A log that a test can read.
final class LogList: ProviderLog {
    private let list = Mutex<[ProviderLogLine]>([])
    func write(_ line: ProviderLogLine) { list.withLock { $0.append(line) } }
    var lines: [ProviderLogLine] { list.withLock { $0 } }
    var faults: [String] { lines.filter { $0.level == .pluginFault }.map(\.message) }
}
