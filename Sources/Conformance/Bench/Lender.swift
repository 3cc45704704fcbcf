// What the bench lends to a call, and takes back when it returned.
//
// The contract says that inputs live until the call returns, that they end where they say, and that nobody writes to
// them. In a rule that asks for it (`guards`), every input ends at a page that cannot be touched, is read-only, and
// becomes untouchable itself after the call; the crash handler then names the sin. All other rules lend ordinary
// memory, which is filled with a pattern when it is taken back.

import CConformance
import Glibc
import PluginABI

final class Lender {
    /// What a rule wants to catch.
    struct Guards: OptionSet {
        let rawValue: Int
        /// Ends at a page that cannot be touched.
        static let end = Guards(rawValue: 1)
        /// Begins at one.
        static let begin = Guards(rawValue: 2)
        static let readOnly = Guards(rawValue: 4)
        /// Cannot be touched any more after the call.
        static let retired = Guards(rawValue: 8)
    }

    var guards: Guards = []

    private struct Loan {
        let pointer: UnsafeMutableRawPointer
        let count: Int
    }
    private var loans: [Loan] = []
    private var inputs: [vcc_input] = []

    /// Lends a copy of `bytes` for the call that follows. `label` is what a fault will be called after: "text".
    func lend(_ bytes: UnsafeRawBufferPointer, _ label: String) -> UnsafeMutableRawPointer {
        guard !guards.isEmpty, let guarded = lendGuarded(bytes, label) else {
            let pointer = malloc(max(bytes.count, 1))!
            if let from = bytes.baseAddress { pointer.copyMemory(from: from, byteCount: bytes.count) }
            loans.append(Loan(pointer: pointer, count: bytes.count))
            return pointer
        }
        return guarded
    }

    func lend(_ text: String, _ label: String) -> vc_str {
        var copy = text
        return copy.withUTF8 { bytes in
            guard bytes.count > 0 else { return vc_str(data: nil, length: 0) }
            let pointer = lend(UnsafeRawBufferPointer(bytes), label)
            return vc_str(data: pointer.assumingMemoryBound(to: CChar.self), length: UInt64(bytes.count))
        }
    }

    /// Bytes by which every struct is longer than its version 1.0, and says so in `size`: what a later host lends.
    var growth = 0

    /// Lends a struct that begins with its `size`.
    func lend<T>(_ value: T, _ label: String) -> UnsafeMutablePointer<T> {
        guard growth > 0 else {
            return withUnsafeBytes(of: value) { lend($0, label) }.assumingMemoryBound(to: T.self)
        }
        var bytes = withUnsafeBytes(of: value) { [UInt8]($0) } + [UInt8](repeating: 0xa5, count: growth)
        let size = UInt32(bytes.count)
        withUnsafeBytes(of: size) { bytes.replaceSubrange(0..<4, with: $0) }
        return bytes.withUnsafeBytes { lend($0, label) }.assumingMemoryBound(to: T.self)
    }

    private func lendGuarded(_ bytes: UnsafeRawBufferPointer, _ label: String) -> UnsafeMutableRawPointer? {
        let placement = guards.contains(.begin) ? VCC_BEGINS_AFTER_GUARD : VCC_ENDS_AT_GUARD
        let input = vcc_input_make(bytes.baseAddress, bytes.count, placement, label)
        guard let data = input.data else { return nil }
        if guards.contains(.readOnly) { vcc_input_protect(input) }
        inputs.append(input)
        return data
    }

    /// The call returned.
    func takeBack() {
        for loan in loans {
            memset(loan.pointer, 0xa5, loan.count)
            free(loan.pointer)
        }
        loans.removeAll(keepingCapacity: true)
        for input in inputs {
            if guards.contains(.retired) { vcc_input_retire(input) } else { vcc_input_release(input) }
        }
        inputs.removeAll(keepingCapacity: true)
    }
}
