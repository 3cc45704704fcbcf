// The steps of a reload, on the loading queue: each does one thing to one file or generation and reports how it went.

import Calls
import Dispatch
import Glibc
import JSON
import Synchronization

extension LivePlugins {
    func perform(_ action: PluginGenerations.Action) {
        switch action {
        case .look(let file): look(file)
        case .prove(let id, let facts): prove(id, facts)
        case .prepare(let id, let facts): prepare(id, facts)
        case .start(let id): start(id)
        case .publish(let id): publish(id)
        case .withdraw(let id): withdraw(id)
        case .drain(let id): for instance in instances(id) { instance.drain() }
        case .expire(let id):
            for instance in instances(id) {
                instance.giveUpSessions(
                    ProviderFailure(
                        code: .replaced, retryable: true,
                        message: "\(instance.name): this version of the plugin was replaced, and its time is over"))
            }
        case .destroy(let id): destroy(id)
        case .log(let line): log.write(line)
        }
    }

    private func instances(_ id: GenerationID) -> [ProviderInstance] {
        state.withLock { $0.parts[id]?.instances ?? [] }
    }

    // MARK: Looking

    static func facts(of plugin: LoadedPlugin, _ steps: PluginSteps) -> PluginFacts {
        facts(
            PathName.last(of: plugin.path), plugin.manifest, plugin.sidecar, plugin.sha256, plugin.isShipped, steps)
    }

    private static func facts(
        _ file: String, _ manifest: Manifest, _ sidecar: Sidecar, _ sha256: String, _ isShipped: Bool,
        _ steps: PluginSteps
    ) -> PluginFacts {
        PluginFacts(
            file: file, id: manifest.id, version: manifest.version, sha256: sha256,
            settings: JSONValue.object(sidecar.settings).text, isolation: steps.isolation(file, manifest, isShipped),
            isExclusive: manifest.providers.contains { $0.knownKind == .telephony }, isShipped: isShipped)
    }

    private func look(_ file: String) {
        let directory = directory
        var status = stat()
        guard lstat(directory + "/" + file, &status) == 0 || errno != ENOENT else {
            state.withLock { $0.seen[file] = nil }
            return post(.looked(file: file, .gone))
        }
        do throws(PluginRefusal) {
            try PluginFile.checkDirectory(directory)
        } catch {
            return post(.looked(file: file, .refused(error)))
        }
        let finding = PluginRegistry.look(
            at: file, in: directory, names: [file], shipped: PluginRegistry.readShippedList(directory))
        func see(_ read: PluginFile?, _ manifest: Manifest?, _ isShipped: Bool, _ state: PluginRegistry.State) {
            let entry = PluginRegistry.Entry(
                name: file, path: directory + "/" + file, manifest: manifest, sha256: read?.sha256,
                isShipped: isShipped, state: state)
            self.state.withLock { $0.seen[file] = entry }
        }
        switch finding {
        case .ignored(let why, let read, let manifest):
            see(read, manifest, false, .ignored(why))
            post(.looked(file: file, .ignored))
        case .refused(let refusal, let read, let manifest):
            see(read, manifest, false, .refused(refusal))
            // What a copy looks like until it is whole.
            let mayGrow = refusal.code == .truncated || status.st_size == 0
            post(.looked(file: file, mayGrow ? .incomplete(refusal) : .refused(refusal)))
        case .candidate(let candidate):
            let sha256 = candidate.sha256
            if let refusal = quarantine.refusal(of: sha256, file: file) {
                see(candidate.file, candidate.manifest, candidate.isShipped, .refused(refusal))
                return post(.looked(file: file, .refused(refusal)))
            }
            see(candidate.file, candidate.manifest, candidate.isShipped, .ignored("not loaded yet"))
            let facts = Self.facts(
                file, candidate.manifest, candidate.sidecar, sha256, candidate.isShipped, steps)
            state.withLock { $0.candidates[facts.key] = candidate }
            post(.looked(file: file, .plugin(facts)))
        }
    }

    // MARK: A new generation

    private func prove(_ id: GenerationID, _ facts: PluginFacts) {
        do throws(PluginRefusal) {
            let candidate = try candidate(facts)
            let copy = try loader.store.copy(of: candidate.file)
            let plugin = PluginToProve(
                copy: copy, file: facts.file, sha256: candidate.sha256, manifest: candidate.manifest)
            post(.proven(id, steps.prove(plugin)))
        } catch {
            post(.proven(id, error))
        }
    }

    /// What was read of the file; or, for a version that is made again, what its copy holds.
    private func candidate(_ facts: PluginFacts) throws(PluginRefusal) -> PluginLoader.Candidate {
        if let candidate = state.withLock({ $0.candidates[facts.key] }) { return candidate }
        guard let plugin = state.withLock({ $0.lastPlugins[facts.id] }), plugin.sha256 == facts.sha256 else {
            throw PluginRefusal(
                .unreadable, "\(facts.file) was replaced while it was being loaded",
                mend: "Run: vchost plugins reload")
        }
        let path = plugin.loadedPath
        return PluginLoader.Candidate(
            file: try PluginFile(directory: PathName.directory(of: path), name: PathName.last(of: path)),
            manifest: plugin.manifest, sidecar: plugin.sidecar, isShipped: plugin.isShipped)
    }

    private func prepare(_ id: GenerationID, _ facts: PluginFacts) {
        var created: [ProviderInstance] = []
        do throws(PluginRefusal) {
            let loaded = try loader.load(try candidate(facts))
            let registry = state.withLock { $0.registry.replacing(Self.entry(loaded, file: facts.file)) }
            for section in try house.sections(of: loaded, in: registry) {
                let instance = ProviderInstance(section, log: log)
                do throws(ProviderFailure) {
                    try instance.create()
                    created.append(instance)
                    try house.created(instance)
                } catch {
                    throw .didNotStart(facts.file, error.message)
                }
            }
            let parts = Parts(plugin: loaded, instances: created)
            state.withLock { $0.parts[id] = parts }
            post(.prepared(id, nil))
        } catch {
            clear(created)
            post(.prepared(id, error))
        }
    }

    private func start(_ id: GenerationID) {
        guard let parts = state.withLock({ $0.parts[id] }) else { return }
        do throws(ProviderFailure) {
            for instance in parts.instances { try instance.start() }
            for instance in parts.instances { try instance.waitUntilReady() }
            post(.started(id, nil))
        } catch {
            state.withLock { $0.parts[id] = nil }
            clear(parts.instances)
            post(.started(id, .didNotStart(PathName.last(of: parts.plugin.path), error.message)))
        }
    }

    private func publish(_ id: GenerationID) {
        guard let parts = state.withLock({ $0.parts[id] }) else { return }
        let names = Set(parts.instances.map(\.name))
        let before = state.withLock { state in
            let file = state.machine.generation(id)?.facts.file ?? PathName.last(of: parts.plugin.path)
            let entry = Self.entry(parts.plugin, file: file)
            state.registry = state.registry.replacing(entry)
            state.seen[file] = entry
            state.lastPlugins[id.plugin] = parts.plugin
            return state.parts.filter { $0.key.plugin == id.plugin && $0.key != id }.flatMap(\.value.instances)
        }
        house.publish(parts.instances)
        // A section that the new version does not serve has nobody now.
        house.withdraw(before.filter { !names.contains($0.name) })
        if parts.instances.isEmpty {
            log.write(
                ProviderLogLine(
                    .info, "loaded, and no section of the configuration names it", plugin: id.plugin))
        }
    }

    // MARK: The end of one

    private func withdraw(_ id: GenerationID) {
        let parts = state.withLock { state -> Parts? in
            let parts = state.parts[id]
            if let parts { state.registry = state.registry.removing(file: PathName.last(of: parts.plugin.path)) }
            return parts
        }
        guard let parts else { return }
        house.withdraw(parts.instances)
        for line in house.bereaved(by: parts.instances.map(\.name)) {
            log.write(ProviderLogLine(.warning, line, plugin: id.plugin))
        }
    }

    private func destroy(_ id: GenerationID) {
        guard let parts = state.withLock({ $0.parts[id] }) else { return post(.destroyed(id)) }
        for instance in parts.instances where instance.state != .destroyed {
            guard instance.sessionCount == 0 else {
                // One was opened in the last moment. Nothing new is, so its call is what is waited for.
                return queue.asyncAfter(deadline: .now() + .milliseconds(200)) { [self] in destroy(id) }
            }
            house.willDestroy(instance)
            instance.destroy()
        }
        state.withLock { $0.parts[id] = nil }
        post(.destroyed(id))
    }

    /// What a step had made before it failed.
    private func clear(_ instances: [ProviderInstance]) {
        for instance in instances {
            house.willDestroy(instance)
            instance.destroy()
        }
    }

    private static func entry(_ plugin: LoadedPlugin, file: String) -> PluginRegistry.Entry {
        PluginRegistry.Entry(
            name: file, path: plugin.path, manifest: plugin.manifest, sha256: plugin.sha256,
            isShipped: plugin.isShipped, state: .loaded(plugin))
    }
}

extension PluginFacts {
    /// By which the bytes of a file are found again.
    var key: String { sha256 + settings }
}

extension PluginGenerations {
    /// Of files that are being used, or will be next.
    var wantedKeys: Set<String> {
        var keys: Set<String> = []
        for plugin in plugins.values {
            if let next = plugin.next, next.state == .proving || next.state == .preparing {
                keys.insert(next.facts.key)
            }
            if let wanted = plugin.wanted { keys.insert(wanted.key) }
        }
        return keys
    }
}

extension ProviderInstance {
    /// Holds nothing any more: drained, or failed and without sessions.
    var isDrained: Bool {
        switch state {
        case .drained, .destroyed: true
        case .failed, .new, .created: sessionCount == 0
        case .starting, .running, .draining: false
        }
    }
}
