// How a running host's plugins are shown: what it answered over its control socket, as a table and sentences.

import JSON

struct LivePluginListing {
    private let rows: [JSONValue]
    private let providers: [JSONValue]

    init(_ answer: JSONValue) {
        rows = answer["plugins"]?.array ?? []
        providers = answer["providers"]?.array ?? []
    }

    var hasRefused: Bool { rows.contains { ["refused", "quarantined"].contains($0["state"]?.string ?? "") } }

    /// A row for each generation, and below them what happened to each plugin last.
    var text: String {
        guard !rows.isEmpty else { return "the host has no plugins\n" }
        var lines = [
            [
                "FILE", "STATE", "GEN", "KIND", "ID", "VERSION", "ISOLATION", "SESSIONS", "CALLS", "CRASHES", "CPU",
                "MEMORY", "LEVEL", "SHA256",
            ]
        ]
        for row in rows {
            func text(_ name: String) -> String {
                guard let value = row[name]?.string, !value.isEmpty else { return "-" }
                return value
            }
            func number(_ name: String) -> Int64 { row[name]?.integer ?? 0 }
            let kinds = (row["kinds"]?.array ?? []).compactMap(\.string)
            let lives = number("generation") > 0
            lines.append([
                text("file"), text("state"), lives ? "\(number("generation"))" : "-",
                kinds.isEmpty ? "-" : kinds.joined(separator: ","), text("id"), text("version"), text("isolation"),
                lives ? "\(number("sessions"))" : "-", lives ? "\(number("calls"))" : "-", "\(number("crashes"))",
                lives ? Self.seconds(number("cpuMs")) : "-",
                number("memoryBytes") > 0 ? "\(number("memoryBytes") >> 20)M" : "-", text("level"),
                String(text("sha256").prefix(12)),
            ])
        }
        var out = PluginListing.aligned(lines)
        let sentences = rows.compactMap { row -> String? in
            if let reason = row["reason"]?.string, !reason.isEmpty {
                return "\(reason). \(row["mend"]?.string ?? "").\n"
            }
            guard let last = row["lastEvent"]?.string, !last.isEmpty else { return nil }
            return "\(row["id"]?.string ?? ""): \(last)\n"
        }
        + providers.compactMap(Self.sentence(on:))
        if !sentences.isEmpty { out += "\n" + sentences.joined() }
        return out
    }

    /// Of a provider that calls leave alone; one that failed and answers again is nobody's business.
    private static func sentence(on provider: JSONValue) -> String? {
        let next: String
        switch provider["state"]?.string {
        case "open":
            let waitMs = provider["waitMs"]?.integer ?? 0
            next = waitMs > 0
                ? "left alone for another \((waitMs + 999) / 1_000) s" : "left alone until the next call asks it"
        case "halfOpen": next = "left alone but for one call that asks it again"
        default: return nil
        }
        return "\(provider["provider"]?.string ?? ""): \(next): \(provider["reason"]?.string ?? "")\n"
    }

    /// "0.3s", "125s".
    private static func seconds(_ ms: Int64) -> String {
        ms >= 100_000 ? "\(ms / 1_000)s" : "\(ms / 1_000).\(ms % 1_000 / 100)s"
    }
}
