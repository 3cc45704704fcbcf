// The voice of tts.c once more, as Swift writes it with PluginKit, with the faults that only Swift can commit.
// SPDX-License-Identifier: Apache-2.0
//
// The kit keeps the contract, so what is left to break is what an author writes himself. Swift checks each index, each
// sum and each unwrapping, and answers a mistake with a trap: not an error of this request but the end of the process.

import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(Voice.self, host, module)
}

final class Voice: TextToSpeech {
    static let id = "org.vchost.good"

    let wordMs: Int

    init(_ host: ProviderHost) throws(PluginError) { wordMs = host.configuration.integer("word_ms") ?? 200 }

    func open(_ host: SessionHost) -> VoiceSession { VoiceSession(self, rateHz: host.rateHz) }
}

final class VoiceSession: TextToSpeechSession {
    private let rateHz: Int
    private let wordSamples: Int
    /// What the host had no room for yet.
    private var waiting: [(clause: Clause, samples: Int)] = []

    init(_ provider: Voice, rateHz: Int) {
        self.rateHz = rateHz
        wordSamples = rateHz / 1_000 * provider.wordMs
    }

    func speak(_ clause: Clause) {
        #if BREAK_VC_ROB_01
            _ = clause.text.split { ".?!…- ".contains($0) }.last!.count
        #endif
        #if BREAK_VC_ROB_03
            _ = UInt16(clause.text.utf8.count)
        #endif
        waiting.append((clause, clause.text.split(separator: " ").count * wordSamples))
        creditReturned()
    }

    /// Speaks on, 100 ms at a time, until the host has enough.
    func creditReturned() {
        while let (clause, samples) = waiting.first {
            guard samples > 0 else {
                clause.finish()
                waiting.removeFirst()
                continue
            }
            let count = min(samples, rateHz / 10)
            let tone = (0..<count).map { Int16($0 % 20 < 10 ? 4_000 : -4_000) }
            guard clause.emit(tone, rateHz: rateHz) == .accepted else { return }
            waiting[0].samples -= count
        }
    }

    func cancel() { waiting.removeAll { $0.clause.isFinished } }
}
