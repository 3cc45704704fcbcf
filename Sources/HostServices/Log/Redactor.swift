// Keeps known secrets out of the log, whoever writes them there: a plugin that logs its request, a vendor that repeats
// the key in its error. Values shorter than six bytes are left alone, since redacting every "on" would hide more than
// it protects.

import Glibc
import Synchronization

/// Replaces the values of known secrets in texts.
public final class Redactor: Sendable {
    public static let shortestBytes = 6
    /// More secrets than a host is configured with. A file that rotates adds one each time; the oldest go.
    static let valuesMax = 512

    private struct Known {
        var name: String
        var value: [UInt8]
    }

    private let known = Mutex<[Known]>([])

    public init() {}

    /// From here on `value` shows as `[secret NAME]`.
    public func learn(_ name: String, value: [UInt8]) {
        guard value.count >= Self.shortestBytes else { return }
        known.withLock { known in
            guard !known.contains(where: { $0.value == value }) else { return }
            if known.count == Self.valuesMax { known.removeFirst() }
            // The longest first, for a secret that is part of another.
            let place = known.firstIndex { $0.value.count < value.count } ?? known.count
            known.insert(Known(name: name, value: value), at: place)
        }
    }

    public func redact(_ text: String) -> String {
        known.withLock { known in
            var text = text
            for secret in known {
                while let range = Self.find(secret.value, in: &text) {
                    let start = text.utf8.index(text.startIndex, offsetBy: range.lowerBound)
                    let end = text.utf8.index(text.startIndex, offsetBy: range.upperBound)
                    text.replaceSubrange(start..<end, with: "[secret \(secret.name)]")
                }
            }
            return text
        }
    }

    private static func find(_ value: [UInt8], in text: inout String) -> Range<Int>? {
        text.withUTF8 { utf8 in
            guard let base = utf8.baseAddress else { return nil }
            var start = 0
            while start + value.count <= utf8.count {
                guard let hit = memchr(base + start, Int32(value[0]), utf8.count - value.count - start + 1) else {
                    return nil
                }
                let offset = UnsafeRawPointer(hit) - UnsafeRawPointer(base)
                if memcmp(hit, value, value.count) == 0 { return offset..<offset + value.count }
                start = offset + 1
            }
            return nil
        }
    }
}
