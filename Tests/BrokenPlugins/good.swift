// The voice of tts.c once more, as Swift writes it with PluginKit, with the faults that only Swift can commit.
// SPDX-License-Identifier: Apache-2.0
//
// The kit keeps the contract, so what is left to break is what an author writes himself. Swift checks each index, each
// sum and each unwrapping, and answers a mistake with a trap: not an error of this request but the end of the process.

#if BREAK_VC_ELF_33
    import Foundation
#else
    import Glibc
#endif
import PluginKit
import Synchronization

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    #if BREAK_VC_ENT_05
        Task { await warmUp() }
    #elseif BREAK_VC_ENT_02
        precondition(!dictionary.isEmpty)
    #endif
    return Plugin.export(Voice.self, host, module)
}

/// A task has a thread of its own even when there is nothing to do.
private func warmUp() async { await Task.yield() }

/// Made when it is first looked at, which is in the entry function.
private let dictionary = Dictionary(uniqueKeysWithValues: (0..<600_000).map { ("word \($0)", $0) })

private let everybody = Mutex(0)

private enum Wave: String { case square }

final class Voice: TextToSpeech {
    static let id = "org.vchost.good"

    let wordMs: Int

    init(_ host: ProviderHost) throws(PluginError) {
        wordMs = host.configuration.integer("word_ms") ?? 200
        #if BREAK_VC_CFG_05
            precondition(Wave(rawValue: host.configuration.text("wave")!)! == .square)
        #elseif BREAK_VC_LOAD_03
            precondition(!String(cString: getenv("HOME")).isEmpty)
        #elseif BREAK_VC_ELF_33
            precondition(!NumberFormatter().locale.identifier.isEmpty)
        #elseif BREAK_VC_LOAD_15
            fclose(fopen("/dev/urandom", "r")!)
        #endif
    }

    func open(_ host: SessionHost) -> VoiceSession {
        #if BREAK_VC_THR_01
            MainActor.assumeIsolated { precondition(wordMs > 0) }
        #endif
        return VoiceSession(self, rateHz: host.rateHz)
    }
}

final class VoiceSession: TextToSpeechSession {
    private let rateHz: Int
    private let wordSamples: Int
    /// What the host had no room for yet.
    private var waiting: [(clause: Clause, samples: Int)] = []
    private var whenCreditReturned: (() -> Void)?
    private var spoken: [[Int16]] = []

    init(_ provider: Voice, rateHz: Int) {
        self.rateHz = rateHz
        wordSamples = rateHz / 1_000 * provider.wordMs
        #if BREAK_VC_MEM_06
            // The session owns the closure, and the closure the session.
            let buffer = [Int16](repeating: 0, count: rateHz / 4)
            whenCreditReturned = { self.waiting.reserveCapacity(buffer.count / 1_000) }
        #endif
    }

    func speak(_ clause: Clause) {
        #if BREAK_VC_ENVI_01
            print("speaking \(clause.text.utf8.count) bytes")
        #elseif BREAK_VC_ROB_01
            _ = clause.text.split { ".?!…- ".contains($0) }.last!.count
        #elseif BREAK_VC_ROB_02
            // As far as the scripts go that the author has seen.
            let widths = [UInt8](repeating: 1, count: 0x2e80)
            precondition(clause.text.unicodeScalars.reduce(0) { $0 + Int(widths[Int($1.value)]) } > 0)
        #elseif BREAK_VC_ROB_03
            _ = UInt16(clause.text.utf8.count)
        #endif
        waiting.append((clause, clause.text.split(separator: " ").count * wordSamples))
        #if BREAK_VC_THR_12
            everybody.withLock { _ in creditReturned() }
        #else
            creditReturned()
        #endif
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
            #if BREAK_VC_MEM_07
                spoken.append(tone)
            #endif
            guard clause.emit(tone, rateHz: rateHz) == .accepted else { return }
            waiting[0].samples -= count
        }
    }

    func cancel() { waiting.removeAll { $0.clause.isFinished } }
}
