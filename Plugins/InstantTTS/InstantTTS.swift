// A voice that hums: a quiet tone, for as long as a person would need for the text, made at once. For load tests, where
// a real voice would be what is measured, and as the smallest example of one. It needs no service of the host.

import Glibc
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(InstantTTS.self, host, module)
}

final class InstantTTS: TextToSpeech {
    static let id = "org.vchost.tts-instant"

    let rateHz: Int
    let charactersPerSecond: Int
    /// One second of it, with a whole number of periods, so that it can be repeated without a click.
    let tone: [Int16]

    init(_ host: ProviderHost) throws(PluginError) {
        let rateHz = host.configuration.integer("rate_hz") ?? 8000
        let toneHz = Double(host.configuration.integer("tone_hz") ?? 220)
        // -30 dBFS: heard, and never taken for speech by a detector that listens to its echo.
        let amplitude = 32767 * pow(10, (host.configuration.number("level_dbfs") ?? -30) / 20)
        self.rateHz = rateHz
        charactersPerSecond = max(1, host.configuration.integer("characters_per_second") ?? 15)
        tone = (0..<rateHz).map { Int16(amplitude * sin(2 * .pi * toneHz * Double($0) / Double(rateHz))) }
    }

    func open(_ host: SessionHost) -> InstantTTSSession { InstantTTSSession(self) }
}

final class InstantTTSSession: TextToSpeechSession {
    private let provider: InstantTTS
    /// What the host had no room for yet.
    private var waiting: [(clause: Clause, samples: Int)] = []

    init(_ provider: InstantTTS) { self.provider = provider }

    func speak(_ clause: Clause) {
        waiting.append((clause, clause.text.count * provider.rateHz / provider.charactersPerSecond))
        creditReturned()
    }

    /// Hums on, a second at a time, until the host has enough.
    func creditReturned() {
        while let (clause, samples) = waiting.first {
            guard samples > 0 else {
                clause.finish()
                waiting.removeFirst()
                continue
            }
            let second = samples < provider.tone.count ? Array(provider.tone[..<samples]) : provider.tone
            guard clause.emit(second, rateHz: provider.rateHz) == .accepted else { return }
            waiting[0].samples -= second.count
        }
    }

    func cancel() { waiting.removeAll { $0.clause.isFinished } }
}
