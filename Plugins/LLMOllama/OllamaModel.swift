// The model of a section: is it there, is it loaded, and what can it do.
//
//     show ──► warm up ──► loaded
//      │ 404
//      ├─ pull = yes: pull ──► show
//      └─ else: list, and tell the operator what there is
//
// It begins when the host starts, and again with a call when something was wrong before or the model was not used for
// so long that Ollama may have let it go. Calls do not wait for any of it: the first question of a call comes seconds
// after its beginning, and a question to a model that is not loaded is answered late rather than never.

import ChatStream
import JSON
import OllamaChat
import PluginKit
import Synchronization

final class OllamaModel: Sendable {
    /// Ollama itself gives up loading after five minutes.
    private static let loadMs = 300_000
    /// For what Ollama answers out of its memory.
    private static let askMs = 10_000
    /// What was wrong is looked at again with a call, but not with every one of fifty.
    private static let againNs: UInt64 = 5_000_000_000
    /// Ollama's own default lets a model go after five minutes.
    private static let idleNs: UInt64 = 240_000_000_000

    private enum Phase { case unknown, preparing, pulling(percent: Int), loaded }

    private struct State {
        var phase = Phase.unknown
        var begunNs: UInt64 = 0
        var usedNs: UInt64 = 0
        var hasPulled = false
        var takesTools = true
        var takesThink = true
    }

    private let settings: OllamaSettings
    private let host: ProviderHost
    private let state = Mutex(State())

    init(_ settings: OllamaSettings, _ host: ProviderHost) {
        self.settings = settings
        self.host = host
    }

    /// False when Ollama says that the model cannot call functions.
    var takesTools: Bool { state.withLock { $0.takesTools } }
    /// False when Ollama refused the setting `think` for this model.
    var takesThink: Bool { state.withLock { $0.takesThink } }

    /// How much of a download is there; nil when none is under way.
    var percentPulled: Int? {
        state.withLock { if case .pulling(let percent) = $0.phase { percent } else { nil } }
    }

    func wasUsed() {
        let now = host.clock.nowNs
        state.withLock { $0.usedNs = now }
    }

    /// Somebody removed it.
    func wentMissing() { state.withLock { $0.phase = .unknown } }

    /// Remembers what the model cannot do. True when that was news, and a request without it makes sense.
    func learns(from refusal: String) -> Bool {
        let isNews = state.withLock { state in
            if refusal.contains("does not support tools"), state.takesTools {
                state.takesTools = false
                return true
            }
            if refusal.contains("does not support thinking") || refusal.contains("think value"), state.takesThink {
                state.takesThink = false
                return true
            }
            return false
        }
        if isNews { host.log.warning("\(settings.model) can do less than asked: \(refusal); it is asked without") }
        return isNews
    }

    /// Sees to the model, unless somebody does already or all is well.
    func prepare() {
        let now = host.clock.nowNs
        let isDue = state.withLock { state in
            switch state.phase {
            case .preparing, .pulling: return false
            case .loaded where now < state.usedNs + Self.idleNs: return false
            case .unknown where state.begunNs > 0 && now < state.begunNs + Self.againNs: return false
            case .unknown, .loaded:
                state.phase = .preparing
                state.begunNs = now
                return true
            }
        }
        if isDue { show() }
    }

    private func show() {
        let body = JSONValue.object(["model": .string(settings.model)]).text
        ask(settings.post("/api/show", body, deadlineMs: Self.askMs), as: "looked for") { [self] status, answer in
            switch status {
            case 200:
                if let abilities = answer["capabilities"]?.array?.compactMap(\.string) { note(abilities) }
                warmUp()
            case 404: settings.pulls && !state.withLock(\.hasPulled) ? pull() : list()
            default: failed("looked for", "\(status): \(VendorError(answer["error"] ?? answer).message)")
            }
        }
    }

    private func note(_ abilities: [String]) {
        let isPoorer = state.withLock { state in
            let before = state.takesTools
            state.takesTools = abilities.contains("tools")
            return before && !state.takesTools
        }
        if isPoorer && settings.hasTools {
            host.log.warning("\(settings.model) cannot call functions: it cannot end or transfer a call by itself")
        }
    }

    private func warmUp() {
        guard settings.warms else { return loaded() }
        let request = settings.post("/api/chat", settings.request().warmUp, deadlineMs: Self.loadMs)
        ask(request, as: "loaded") { [self] status, answer in
            guard status == 200, answer["done"]?.bool == true else {
                return failed("loaded", "\(status): \(VendorError(answer["error"] ?? answer).message)")
            }
            let loadMs = (answer["load_duration"]?.integer ?? 0) / 1_000_000
            host.log.info("\(settings.model) is loaded", (name: "loadMs", value: String(loadMs)))
            loaded()
        }
    }

    private func loaded() {
        wasUsed()
        state.withLock { $0.phase = .loaded }
    }

    private func list() {
        ask(settings.get("/api/tags", deadlineMs: Self.askMs), as: "looked for") { [self] _, answer in
            let names = answer["models"]?.array?.compactMap { $0["name"]?.string ?? $0["model"]?.string } ?? []
            failed(
                "found", "\(settings.url) has \(names.isEmpty ? "none" : names.sorted().joined(separator: ", "));"
                    + " `ollama pull \(settings.model)`, or set `pull = yes`")
        }
    }

    private func pull() {
        state.withLock { state in
            state.phase = .pulling(percent: 0)
            state.hasPulled = true
        }
        host.log.info("\(settings.model) is not there and is pulled")
        let body = JSONValue.object(["model": .string(settings.model), "stream": true]).text
        let download = Mutex(ModelPull(model: settings.model))
        do throws(PluginError) {
            try host.start(settings.post("/api/pull", body, deadlineMs: settings.pullTimeoutMs)) { [self] event in
                switch event {
                // A refusal has the shape of a last line with an error.
                case .response: break
                case .data(let bytes): follow(download.withLock { $0.feed(bytes) })
                case .done: follow(download.withLock { $0.end() })
                case .failed(let error): failed("pulled", error.message)
                }
            }
        } catch {
            failed("pulled", error.message)
        }
    }

    private func follow(_ steps: [ModelPull.Step]) {
        for step in steps {
            switch step {
            case .progress(let percent, let megabytes):
                state.withLock { $0.phase = .pulling(percent: percent) }
                host.log.info(
                    "\(settings.model) is pulled", (name: "percent", value: String(percent)),
                    (name: "ofMegabytes", value: String(megabytes)))
            case .done:
                host.log.info("\(settings.model) was pulled")
                state.withLock { $0.phase = .preparing }
                show()
            case .failed(let error): failed("pulled", error.message)
            }
        }
    }

    private func failed(_ what: String, _ reason: String) {
        // Another call may try again, a download included.
        state.withLock { state in
            state.phase = .unknown
            state.hasPulled = false
        }
        host.log.warning("\(settings.model) was not \(what): \(reason)")
    }

    private func ask(
        _ request: HTTPRequest, as what: String, then: @escaping @Sendable (Int, JSONValue) -> Void
    ) {
        host.ask(request) { [self] outcome in
            switch outcome {
            case .success(let answer): then(answer.status, answer.body)
            case .failure(let error): failed(what, error.message)
            }
        }
    }
}
