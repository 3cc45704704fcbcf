import Glibc
import PluginABI
import Providers
import Testing

/// Where the model and its runtime lie: `.cache/models` of this package, or the folder in `VCHOST_MODELS`.
enum SileroPaths {
    static var folder: String {
        if let set = getenv("VCHOST_MODELS") { return String(cString: set) }
        return "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/.cache/models"
    }
    static var settings: [String: String] {
        ["runtime": folder + "/libonnxruntime.so", "model": folder + "/silero_vad.onnx"]
    }
    static var areThere: Bool { settings.values.allSatisfy { access($0, R_OK) == 0 } }
}

@Suite("Silero without its model")
struct SileroFailureTests {
    private func failure(_ settings: [String: String]) throws -> RecordedEvent {
        let plugin = try PluginUnderTest("VADSilero")
        let provider = try plugin.makeProvider(texts: settings)
        defer { provider.destroy() }
        try provider.start()
        #expect(provider.object.wait(for: Int(VC_EVENT_ERROR)))
        let session = try provider.openSession(rateHz: 8000)
        defer { session.close() }
        #expect(throws: PluginRefusal(code: vc_status(VC_E_STATE), message: "")) {
            try provider.probabilities([(session, [Int16](repeating: 0, count: 256))], rateHz: 8000)
        }
        return try #require(provider.object.events.first)
    }

    @Test("A missing runtime is a fatal error that names the path and the mend")
    func missingRuntime() throws {
        let event = try failure(["runtime": "/nowhere/libonnxruntime.so", "model": "/nowhere/silero_vad.onnx"])
        #expect(event.fatal)
        #expect(event.message.contains("/nowhere/libonnxruntime.so") && event.message.contains("services/setup"))
    }

    @Test("A library that is not ONNX Runtime is named")
    func otherLibrary() throws {
        let other = PluginUnderTest.buildFolder + "/libVADEnergy.so"
        let event = try failure(["runtime": other, "model": "/nowhere/silero_vad.onnx"])
        #expect(event.message.contains("libVADEnergy.so is not ONNX Runtime"))
    }

    @Test(
        "A model that is missing, or is another file, is a fatal error that names it",
        .enabled(if: SileroPaths.areThere, "run services/setup"))
    func badModel() throws {
        var settings = SileroPaths.settings
        settings["model"] = "/nowhere/silero_vad.onnx"
        #expect(try failure(settings).message.contains("no Silero model at /nowhere/silero_vad.onnx"))
        settings["model"] = #filePath
        #expect(try failure(settings).message.contains("SileroTests.swift cannot be loaded"))
    }

    @Test("A host without the paths is told which settings are missing")
    func missingSettings() throws {
        let plugin = try PluginUnderTest("VADSilero")
        #expect(throws: PluginRefusal.self) { try plugin.makeProvider(texts: ["runtime": "/x"]) }
    }
}

@Suite("Silero", .enabled(if: SileroPaths.areThere, "the model is not in .cache/models: run services/setup"))
struct SileroTests {
    private func withProvider(_ body: (ProviderUnderTest) throws -> Void) throws {
        let plugin = try PluginUnderTest("VADSilero")
        let provider = try plugin.makeProvider(texts: SileroPaths.settings)
        defer { provider.destroy() }
        try provider.start()
        try #require(provider.object.wait(for: Int(VC_EVENT_READY)), "\(provider.object.events)")
        try body(provider)
    }

    /// Windows of something like a voice, each session at another place of it.
    private func window(_ index: Int, rateHz: Int) -> [Int16] {
        let length = rateHz == 8000 ? 256 : 512
        let voice = Sounds.samples(Sounds.babble(dBFS: -20, count: 40 * length, rateHz: rateHz))
        return Array(voice[index % 40 * length..<(index % 40 + 1) * length])
    }

    @Test("A batch gives every call what it gets alone", arguments: [8000, 16000])
    func batchEqualsAlone(rateHz: Int) throws {
        try withProvider { provider in
            let together = try (0..<32).map { _ in try provider.openSession(rateHz: rateHz) }
            let alone = try (0..<32).map { _ in try provider.openSession(rateHz: rateHz) }
            var seen: Set<Float> = []
            // Sizes change from step to step, as they do in a host.
            for (step, size) in [32, 7, 32, 1, 16, 32].enumerated() {
                let batch = (0..<size).map { (together[$0], window($0 + 3 * step, rateHz: rateHz)) }
                let probabilities = try provider.probabilities(batch, rateHz: rateHz)
                for call in 0..<size {
                    let one = try provider.probabilities(
                        [(alone[call], window(call + 3 * step, rateHz: rateHz))], rateHz: rateHz)
                    #expect(abs(one[0] - probabilities[call]) < 1e-3)
                    seen.insert(probabilities[call])
                }
            }
            #expect(seen.count > 50)
            for session in together + alone { session.close() }
        }
    }

    @Test("A reset makes a call forget, and nothing else does")
    func reset() throws {
        try withProvider { provider in
            let session = try provider.openSession(rateHz: 8000)
            defer { session.close() }
            let loud = window(3, rateHz: 8000)
            let first = try provider.probabilities([(session, loud)], rateHz: 8000)
            let second = try provider.probabilities([(session, loud)], rateHz: 8000)
            #expect(first != second)
            let again = try provider.probabilities([(session, loud)], rateHz: 8000, flags: UInt32(VC_VAD_ROW_RESET))
            #expect(again == first)
        }
    }

    @Test("Seconds of silence are forgotten: what comes after them is heard as from an empty state")
    func forgetsSilence() throws {
        try withProvider { provider in
            let session = try provider.openSession(rateHz: 8000)
            let fresh = try provider.openSession(rateHz: 8000)
            defer { session.close() }
            defer { fresh.close() }
            let silence = [Int16](repeating: 0, count: 256)
            for _ in 0..<63 { _ = try provider.probabilities([(session, silence)], rateHz: 8000) }
            // Context of silence is context of zeros, so a call that has forgotten equals a new one.
            let after = try provider.probabilities([(session, window(3, rateHz: 8000))], rateHz: 8000)
            let new = try provider.probabilities([(fresh, window(3, rateHz: 8000))], rateHz: 8000)
            #expect(after == new)
        }
    }

    @Test("Other rates, other windows and too many rows are refused")
    func refuses() throws {
        try withProvider { provider in
            #expect(throws: PluginRefusal.self) { try provider.openSession(rateHz: 48000) }
            let session = try provider.openSession(rateHz: 8000)
            defer { session.close() }
            let refusal = PluginRefusal(code: vc_status(VC_E_ARGUMENT), message: "")
            #expect(throws: refusal) {
                try provider.probabilities([(session, [Int16](repeating: 0, count: 512))], rateHz: 8000)
            }
            #expect(throws: refusal) {
                try provider.probabilities([(session, [Int16](repeating: 0, count: 512))], rateHz: 16000)
            }
            let many = [(SessionUnderTest, [Int16])](repeating: (session, window(0, rateHz: 8000)), count: 33)
            #expect(throws: refusal) { try provider.probabilities(many.map { ($0.0, $0.1) }, rateHz: 8000) }
        }
    }
}
