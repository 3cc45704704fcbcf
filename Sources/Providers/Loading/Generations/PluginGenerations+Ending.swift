// How a generation ends: it is removed or replaced, drained, and destroyed when nobody uses it any more; or it crashed
// once too often.

extension PluginGenerations {
    mutating func remove(_ id: String, at now: UInt64) {
        plugins[id]!.goneAt = nil
        plugins[id]!.file = ""
        plugins[id]!.wanted = nil
        plugins[id]!.handedOver = nil
        plugins[id]!.next?.isOutdated = true
        if let next = plugins[id]!.next, next.state == .waiting {
            plugins[id]!.next!.state = .destroying
            actions.append(.destroy(next.id))
        }
        retire(id, "removed", at: now)
    }

    mutating func retire(_ id: String, _ why: String, _ level: ProviderLogLine.Level = .info, at now: UInt64) {
        guard let current = withdrawCurrent(id, at: now) else { return note(id, why, level) }
        note(id, "\(why); open sessions of version \(current.facts.version) go on to their end", level)
    }

    private mutating func withdrawCurrent(_ id: String, at now: UInt64) -> Generation? {
        guard var current = plugins[id]!.current else { return nil }
        plugins[id]!.current = nil
        actions.append(.withdraw(current.id))
        set(&current, .retiring, at: now)
        plugins[id]!.old.append(current)
        return current
    }

    mutating func observed(_ id: GenerationID, _ sessions: Int, _ isDrained: Bool, at now: UInt64) {
        if let current = plugins[id.plugin]?.current, current.id == id {
            plugins[id.plugin]!.current!.sessions = sessions
            guard sessions == 0, let next = plugins[id.plugin]!.next, next.state == .waiting else { return }
            // The moment without calls.
            var old = current
            plugins[id.plugin]!.current = nil
            plugins[id.plugin]!.handedOver = old.facts
            set(&old, .draining, at: now)
            plugins[id.plugin]!.old.append(old)
            actions.append(.drain(id))
            return
        }
        guard let index = plugins[id.plugin]?.old.firstIndex(where: { $0.id == id && $0.state == .draining }) else {
            return
        }
        plugins[id.plugin]!.old[index].sessions = sessions
        let old = plugins[id.plugin]!.old[index]
        let isLate = now >= old.sinceNs + limits.drainedNs
        if sessions == 0, isDrained || isLate {
            set(&plugins[id.plugin]!.old[index], .destroying, at: now)
            actions.append(.destroy(id))
        } else if now >= old.sinceNs + limits.drainNs, !old.hasExpired, !old.facts.isExclusive {
            plugins[id.plugin]!.old[index].hasExpired = true
            note(
                id.plugin,
                "generation \(id.number) still had \(sessions) sessions after \(limits.drainNs / 1_000_000_000) s; "
                    + "they fail over", .warning)
            actions.append(.expire(id))
        }
    }

    mutating func destroyed(_ id: GenerationID, at now: UInt64) {
        guard let plugin = plugins[id.plugin] else { return }
        if plugin.next?.id == id { return failed(id, nil, at: now) }
        guard let index = plugin.old.firstIndex(where: { $0.id == id }) else { return }
        let old = plugins[id.plugin]!.old.remove(at: index)
        if let next = plugins[id.plugin]!.next, next.state == .waiting, plugins[id.plugin]!.current == nil,
            !plugins[id.plugin]!.old.contains(where: \.facts.isExclusive)
        {
            return start(id.plugin, at: now)
        }
        note(id.plugin, "generation \(id.number), version \(old.facts.version), is over", .debug)
        let file = plugins[id.plugin]!.file
        if refusals[file]?.code == .tooManyGenerations {
            files[file, default: FileSettling()].noticed(.written, at: now)
        }
        if file.isEmpty, plugins[id.plugin]!.living.isEmpty { plugins[id.plugin] = nil }
    }

    mutating func crashed(_ sha256: String, _ what: String, _ quarantine: PluginRefusal?, at now: UInt64) {
        guard let id = plugins.first(where: { $0.value.living.contains { $0.facts.sha256 == sha256 } })?.key else {
            return
        }
        plugins[id]!.crashes += 1
        guard let quarantine else { return note(id, what, .error) }
        let file = plugins[id]!.file
        if !file.isEmpty { refusals[file] = quarantine }
        // Its sessions are gone with its process, so nothing is said of those.
        if plugins[id]!.current?.facts.sha256 == sha256 { _ = withdrawCurrent(id, at: now) }
        note(
            id, "\(what); \(CrashRule.crashesMax) crashes within \(CrashRule.windowMs / 60_000) minutes are too many, "
                + "so \(file.isEmpty ? "it" : file) is in quarantine. \(quarantine.mend).", .error)
    }
}
