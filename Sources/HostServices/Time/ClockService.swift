// "vc.clock/1" of a running host: real time. Conformance runs register a virtual clock of their own under the same id.

import PluginABI

let clockTable = ServiceTable(
    vc_clock(size: UInt32(MemoryLayout<vc_clock>.size), reserved: 0, now_ns: clockNow, wall_ns: clockWall))

private func clockNow() -> UInt64 { Monotonic.nowNs() }

private func clockWall() -> UInt64 { Monotonic.wallNs() }
