// What the host says about its plugins: a row for each generation that lives, and one for each file that is not used.

import JSON
import Synchronization

public struct LivePluginRow: Sendable, Equatable {
    public var file = ""
    public var id = ""
    public var version = ""
    public var kinds: [String] = []
    public var sha256 = ""
    public var isShipped = false
    /// "running", "draining", ..., "refused", "quarantined".
    public var state = ""
    /// 0 for a file that is not used.
    public var generation = 0
    public var isolation = ""
    /// Sections of the configuration that it serves.
    public var sections: [String] = []
    public var sessions = 0
    public var crashes = 0
    /// Calls into it and events out of it, and the time that it used: in calls for a plugin in process (sampled), of
    /// its process for a worker.
    public var calls: UInt64 = 0
    public var events: UInt64 = 0
    public var cpuMs: UInt64 = 0
    /// Of its workers: resident bytes and process numbers. What runs in process has the host's.
    public var memoryBytes: UInt64 = 0
    public var processes: [Int] = []
    public var faults: UInt64 = 0
    /// Of `vchost conform`, or empty.
    public var level = ""
    /// What happened last.
    public var lastEvent = ""
    /// Why it is not used, and what to do.
    public var reason = ""
    public var mend = ""

    public var json: JSONValue {
        [
            "file": .string(file), "id": .string(id), "version": .string(version),
            "kinds": .array(kinds.map { .string($0) }), "sha256": .string(sha256),
            "origin": .string(isShipped ? "shipped" : "foreign"), "state": .string(state),
            "generation": .integer(Int64(generation)), "isolation": .string(isolation),
            "sections": .array(sections.map { .string($0) }), "sessions": .integer(Int64(sessions)),
            "crashes": .integer(Int64(crashes)), "calls": .integer(Int64(clamping: calls)),
            "events": .integer(Int64(clamping: events)), "cpuMs": .integer(Int64(clamping: cpuMs)),
            "memoryBytes": .integer(Int64(clamping: memoryBytes)),
            "processes": .array(processes.map { .integer(Int64($0)) }),
            "faults": .integer(Int64(clamping: faults)), "level": .string(level), "lastEvent": .string(lastEvent),
            "reason": .string(reason), "mend": .string(mend),
        ]
    }
}

extension LivePlugins {
    /// As of now: plugins by id, the newest generation of each first, then the files that are not used.
    public func rows() -> [LivePluginRow] {
        let (machine, parts, seen) = state.withLock { ($0.machine, $0.parts, $0.seen) }
        let levels = records.all()
        var rows: [LivePluginRow] = []
        for (_, plugin) in machine.plugins.sorted(by: { $0.key < $1.key }) {
            for generation in plugin.living.sorted(by: { $0.id.number > $1.id.number }) {
                var row = row(
                    of: generation, parts[generation.id],
                    parts[generation.id]?.plugin.manifest ?? seen[generation.facts.file]?.manifest, levels)
                row.crashes = quarantine.crashes(of: generation.facts.sha256)
                // What happened last, once for each plugin.
                if rows.last?.id != row.id { row.lastEvent = plugin.lastEvent }
                rows.append(row)
            }
        }
        for (file, refusal) in machine.refusals.sorted(by: { $0.key < $1.key }) {
            rows.append(row(of: file, refusal, seen[file], levels))
        }
        return rows
    }

    private func row(
        of generation: Generation, _ parts: Parts?, _ manifest: Manifest?, _ levels: [String: ConformanceRecord]
    ) -> LivePluginRow {
        var row = LivePluginRow()
        row.file = generation.facts.file
        row.id = generation.facts.id
        row.version = generation.facts.version
        row.sha256 = generation.facts.sha256
        row.isShipped = generation.facts.isShipped
        row.state = generation.state.rawValue
        row.generation = generation.id.number
        row.isolation = generation.facts.isolation.rawValue
        row.level = levels[row.sha256]?.level ?? ""
        row.kinds = manifest?.providers.map(\.kind) ?? []
        guard let parts else { return row }
        row.sections = parts.instances.map(\.name)
        let isolations = Set(parts.instances.map(\.isolation.rawValue)).sorted()
        if !isolations.isEmpty { row.isolation = isolations.joined(separator: "+") }
        for instance in parts.instances {
            row.sessions += instance.sessionCount
            row.calls += instance.account.calls
            row.events += instance.account.events
            row.faults += instance.faults.total
            let usage = instance.workerUsage
            row.cpuMs += usage.map { UInt64($0.cpuMs) } ?? instance.account.callbackMs
            row.memoryBytes += usage.map { UInt64($0.residentBytes) } ?? 0
            if let process = usage?.process, process > 0 { row.processes.append(process) }
        }
        return row
    }

    private func row(
        of file: String, _ refusal: PluginRefusal, _ entry: PluginRegistry.Entry?,
        _ levels: [String: ConformanceRecord]
    ) -> LivePluginRow {
        var row = LivePluginRow()
        row.file = file
        row.id = entry?.manifest?.id ?? ""
        row.version = entry?.manifest?.version ?? ""
        row.kinds = entry?.manifest?.providers.map(\.kind) ?? []
        row.sha256 = entry?.sha256 ?? ""
        row.isShipped = entry?.isShipped ?? false
        row.state = refusal.code == .quarantined ? "quarantined" : "refused"
        row.crashes = quarantine.crashes(of: row.sha256)
        row.level = levels[row.sha256]?.level ?? ""
        row.reason = refusal.reason
        row.mend = refusal.mend
        return row
    }
}
