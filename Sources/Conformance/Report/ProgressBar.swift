// A bar while rules run, on a terminal only: in a file it would be noise, and in a test a difference.

import Synchronization

/// One line that is written again and again. Any thread.
public final class ProgressBar: Sendable {
    private struct State {
        var total = 0
        var ended = 0
        var breaches = 0
        var shown = -1
    }

    private static let width = 40

    private let write: @Sendable (String) -> Void
    private let state = Mutex(State())

    /// `write` puts text on the terminal.
    public init(_ write: @escaping @Sendable (String) -> Void) { self.write = write }

    public var progress: Runner.Progress {
        Runner.Progress(
            planned: { total in self.state.withLock { $0 = State(total: total) } },
            ended: { result in
                self.state.withLock { state in
                    state.ended += 1
                    if result.status.isBreach { state.breaches += 1 }
                    self.show(&state, result.rule)
                }
            })
    }

    /// Takes the line away again.
    public func clear() { write("\r\u{1b}[K") }

    /// Only when a cell of the bar changes: a thousand rules need no thousand lines.
    private func show(_ state: inout State, _ rule: String) {
        let cells = state.ended * Self.width / max(1, state.total)
        guard cells != state.shown else { return }
        state.shown = cells
        let bar = String(repeating: "=", count: cells) + String(repeating: " ", count: Self.width - cells)
        let breaches = state.breaches > 0 ? "  \(state.breaches) breaches" : ""
        write("\r\u{1b}[K[\(bar)] \(state.ended)/\(state.total)\(breaches)  \(rule)")
    }
}
