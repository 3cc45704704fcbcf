// What the breadcrumb page said when the probe ended, as values.

import CConformance

/// Where a probe was.
struct ProbeCrumb: Sendable, Equatable {
    /// The probe got as far as its own start. One that did not is the runner's failure and not the plugin's.
    var isAttached = false
    var hasCrashed = false
    /// "push frame=17"; empty when nothing was ever left.
    var place = ""
    /// "SIGSEGV at push frame=17: reads beyond the frame", "exit() at create", "at push frame=17".
    var sentence = ""
    /// Thread and addresses, which differ from run to run.
    var details = ""

    init() {}

    init(descriptor: Int32) {
        var crumb = vcc_crumb()
        guard vcc_page_read(descriptor, &crumb) else { return }
        isAttached = crumb.is_attached
        hasCrashed = crumb.has_crashed
        place = withUnsafeBytes(of: crumb.where) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        sentence = Self.text { vcc_crumb_sentence(&crumb, $0, $1) }
        details = Self.text { vcc_crumb_details(&crumb, $0, $1) }
    }

    private static func text(_ write: (UnsafeMutablePointer<CChar>, Int) -> Int) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1_024) { buffer in
            buffer.initialize(repeating: 0)
            _ = write(buffer.baseAddress!, buffer.count)
            return String(cString: buffer.baseAddress!)
        }
    }

    static func signalName(_ number: Int32) -> String { text { vcc_signal_name(number, $0, $1) } }
}
