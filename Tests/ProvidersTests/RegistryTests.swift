import Glibc
import JSON
import Testing

@testable import Providers

@Suite("The plugin directory") struct RegistryTests {
    let workshop = Workshop()

    private func state(_ registry: PluginRegistry, _ name: String) throws -> PluginRegistry.State {
        try #require(registry.entries.first { $0.name == name }).state
    }

    private func refusal(_ name: String) throws -> PluginRefusal {
        let state = try state(try workshop.registry(), name)
        guard case .refused(let refusal) = state else { throw Unexpected("\(name) is \(state)") }
        return refusal
    }

    private func good(_ name: String, id: String = "org.test.tts", changes: [String: JSONValue] = [:]) throws {
        try workshop.build(
            name, Sources.least(id: id, kind: "vc.tts/1"),
            manifest: Workshop.manifest(id: id, kind: "vc.tts/1", changes: changes))
    }

    @Test("A foreign plugin is tried out, loaded, and found by its id and by its file")
    func foreignPlugin() throws {
        try good("acme-tts.so")
        let registry = try workshop.registry()
        let plugin = try #require(registry.plugin(named: "org.test.tts"))
        #expect(plugin === registry.plugin(named: "acme-tts"))
        #expect(!plugin.isShipped)
        #expect(plugin.loadedPath == "\(workshop.cache)/\(plugin.sha256)/acme-tts.so")
        #expect(plugin.provider(.textToSpeech)?.id == "org.test.tts")
    }
}
