// Text that a plugin may read until its object is destroyed: settings, the trace context. The object ends for the
// services a little before the plugin's `destroy` is called, and the plugin may look until then; so the text goes when
// the object's memory goes, which is later than both.

import Glibc
import PluginABI
import Providers
import Synchronization

/// Texts by object and key, each copied once.
final class KeptText: Sendable {
    private struct Entry: @unchecked Sendable {
        weak var object: PluginObject?
        var texts: [String: vc_str] = [:]
    }

    private struct State {
        var entries: [ObjectIdentifier: Entry] = [:]
        var sweepAt = 64
    }

    private let state = Mutex(State())

    /// The kept copy of what `make` gives for `key`; it is asked once for each object and key.
    func text(of object: PluginObject, key: String, _ make: () -> String) -> vc_str {
        state.withLock { state in
            let identity = ObjectIdentifier(object)
            if let known = state.entries[identity], known.object === object, let text = known.texts[key] { return text }
            if state.entries.count >= state.sweepAt {
                Self.sweep(&state)
                state.sweepAt = max(64, state.entries.count * 2)
            }
            // Another object may have stood at this address before.
            if let previous = state.entries[identity], previous.object !== object { Self.free(previous) }
            var entry = state.entries[identity].flatMap { $0.object === object ? $0 : nil } ?? Entry(object: object)
            let bytes = Array(make().utf8)
            let memory = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count + 1)
            for (index, byte) in bytes.enumerated() { memory[index] = CChar(bitPattern: byte) }
            memory[bytes.count] = 0
            let text = vc_str(data: memory, length: UInt64(bytes.count))
            entry.texts[key] = text
            state.entries[identity] = entry
            return text
        }
    }

    private static func sweep(_ state: inout State) {
        for (identity, entry) in state.entries where entry.object == nil {
            free(entry)
            state.entries[identity] = nil
        }
    }

    private static func free(_ entry: Entry) {
        for text in entry.texts.values { UnsafeMutablePointer(mutating: text.data)?.deallocate() }
    }
}
