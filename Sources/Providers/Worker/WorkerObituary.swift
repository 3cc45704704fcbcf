// What can be said of a worker's end: its last words if it had any, else what the guardian saw and the page of numbers
// still shows. And what it wrote while it lived.

import CPlatform
import Glibc
import PluginABI

/// The first line of a worker, and what it means.
enum WorkerHandshake {
    private static let mark = "vchost-worker|1|"

    static func accepted(sha256: String) -> String { "\(mark)\(VC_ABI_MAJOR).\(VC_ABI_MINOR)|\(sha256)" }

    static func refused(_ why: String) -> String {
        mark + "refused|" + why.split(separator: "\n").joined(separator: " ")
    }

    /// Why a worker refused its plugin, if this is such a line.
    static func refusal(_ line: String) -> String? {
        let prefix = mark + "refused|"
        return line.hasPrefix(prefix) ? String(line.dropFirst(prefix.count)) : nil
    }
}

struct WorkerObituary {
    /// "SIGSEGV", "exit(0)", "hung", ...
    let signal: String
    /// "push, session of call X".
    let place: String
    /// Why we killed it, or what is known beyond the signal; empty when there is nothing.
    let reason: String

    /// - Parameter object: the object behind a handle, if it is one of this worker's.
    init(
        words: vch_last_words?, ending: WorkerProcess.Ending, killedFor: String?, memory: String? = nil,
        page: WorkerPage, object: (vc_handle) -> PluginObject?
    ) {
        reason = [killedFor, memory].compactMap(\.self).joined(separator: "; ")
        if let killedFor {
            signal = killedFor.hasPrefix("it hung") ? "hung" : "killed"
        } else if let words, words.how == UInt32(VCH_ENDED_BY_EXIT) {
            signal = "exit(\(words.number))"
        } else if let words, words.how == UInt32(VCH_ENDED_BY_SIGNAL) {
            signal = signalName(Int32(truncatingIfNeeded: words.number))
        } else {
            switch ending {
            case .signal(let number): signal = signalName(number)
            case .exit(let code): signal = "exit(\(code))"
            case .unknown: signal = "SIGKILL"
            }
        }
        // The thread that died knows best where it was; one that was killed is where the page says.
        let slot = WorkerSlot(rawValue: words?.slot ?? page.callSlot) ?? .none
        let isInCall = words != nil || page.callBegunNs != 0
        let handle = words?.object ?? page.callObject
        guard isInCall, slot != .none else {
            place = WorkerSlot.none.name
            return
        }
        switch object(handle) {
        case let found? where found.level == .session && !found.call.isEmpty:
            place = "\(slot.name), session of call \(found.call)"
        case .some: place = slot.name
        case nil: place = slot.name
        }
    }

    /// "SIGSEGV in push, session of call X".
    var sentence: String {
        let where_ = place == WorkerSlot.none.name ? place : "in \(place)"
        return "\(signal) \(where_)" + (reason.isEmpty ? "" : " (\(reason))")
    }

    /// What followed the handshake on the control line.
    func backtrace(_ control: [UInt8]) -> String {
        guard let end = control.firstIndex(of: UInt8(ascii: "\n")) else { return "" }
        return String(decoding: control[(end + 1)...], as: UTF8.self)
    }
}

func signalName(_ number: Int32) -> String {
    switch number {
    case SIGSEGV: "SIGSEGV"
    case SIGBUS: "SIGBUS"
    case SIGILL: "SIGILL"
    case SIGABRT: "SIGABRT"
    case SIGFPE: "SIGFPE"
    case SIGTRAP: "SIGTRAP"
    case SIGSYS: "SIGSYS"
    case SIGKILL: "SIGKILL"
    case SIGTERM: "SIGTERM"
    default: "signal \(number)"
    }
}

/// Lines that a worker writes to its standard output and error: for the log, and no more of them than anybody reads.
struct WorkerOutput {
    private static let lineBytesMax = 1_024
    /// A backtrace and some warnings; what writes more than this in ten seconds writes for ever.
    private static let linesMax = 50
    private static let windowNs: UInt64 = 10_000_000_000

    private var rest: [UInt8] = []
    private var windowNs: UInt64 = 0
    private var count = 0

    /// The lines that are whole now. Beyond the bound, one that says so, and then none until the window is over.
    mutating func take(_ bytes: [UInt8], now: UInt64) -> [String] {
        if now &- windowNs >= Self.windowNs {
            windowNs = now
            count = 0
        }
        var lines: [String] = []
        for byte in bytes {
            if byte != UInt8(ascii: "\n") {
                // The rest of a line that is too long is dropped.
                if rest.count < Self.lineBytesMax { rest.append(byte) }
                continue
            }
            defer { rest.removeAll(keepingCapacity: true) }
            guard !rest.isEmpty else { continue }
            count += 1
            if count <= Self.linesMax { lines.append(String(decoding: rest, as: UTF8.self)) }
            if count == Self.linesMax + 1 {
                lines.append("(more than \(Self.linesMax) lines in 10 s: the rest is dropped)")
            }
        }
        return lines
    }
}

/// What a provider's worker has used, over all its processes but for processor time and memory.
public struct WorkerUsage: Sendable, Equatable {
    /// The process's number; 0 while there is none.
    public var process: Int
    public var cpuMs: Int
    public var residentBytes: Int
    /// Calls into the plugin, and the time within them.
    public var calls: UInt64
    public var callsNs: UInt64
    public var events: UInt64
    public var restarts: UInt64
    public var crashes: UInt64
    public var isQuarantined: Bool
}
