// "vc.log/1" and "vc.clock/1", for everybody.

import PluginABI

/// Structured log lines about one provider or session.
///
/// No secrets, and no words of callers above debug.
public struct Log: Sendable {
    let handle: vc_handle

    public func debug(_ message: @autoclosure () -> String, _ fields: (name: String, value: String)...) {
        guard HostLine.shared.log?.pointee.enabled(UInt32(VC_LOG_DEBUG)) == 1 else { return }
        write(VC_LOG_DEBUG, message(), fields)
    }
    public func info(_ message: String, _ fields: (name: String, value: String)...) {
        write(VC_LOG_INFO, message, fields)
    }
    public func warning(_ message: String, _ fields: (name: String, value: String)...) {
        write(VC_LOG_WARNING, message, fields)
    }
    public func error(_ message: String, _ fields: (name: String, value: String)...) {
        write(VC_LOG_ERROR, message, fields)
    }

    /// The host broke the contract: what it did, and what the contract says.
    func hostFault(_ message: String) { write(VC_LOG_HOST_FAULT, message, []) }
    /// This plugin broke it.
    func pluginFault(_ message: String) { write(VC_LOG_PLUGIN_FAULT, message, []) }

    private func write<Level: BinaryInteger>(
        _ level: Level, _ message: String, _ fields: [(name: String, value: String)]
    ) {
        guard let table = HostLine.shared.log else { return }
        withString(message) { text in
            withFields(fields) { table.pointee.write(handle, UInt32(level), text, $0, $1) }
        }
    }
}

/// The one clock; virtual under `vchost conform`, so no plugin asks the system for the time.
public struct Clock: Sendable {
    /// Nanoseconds since an arbitrary moment; never goes back.
    public var nowNs: UInt64 { HostLine.shared.nowNs }
    /// Nanoseconds since 1970-01-01 UTC; may jump.
    public var wallNs: UInt64 { HostLine.shared.clock?.pointee.wall_ns() ?? 0 }
}
