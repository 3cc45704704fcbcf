// A recogniser that understands the same in whatever it hears, at once: for load tests, where a real one would be what
// is measured, and as the smallest example of one. It needs no model, no network and no service of the host.

import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(InstantSTT.self, host, module)
}

final class InstantSTT: SpeechToText {
    static let id = "org.vchost.stt-instant"

    let text: String
    /// Partial transcripts come so often; 0: never.
    let partialEveryMs: Int

    init(_ host: ProviderHost) throws(PluginError) {
        text = host.configuration.text("text") ?? ""
        partialEveryMs = host.configuration.integer("partial_every_ms") ?? 0
    }

    func open(_ host: SpeechToTextHost) -> InstantSTTSession { InstantSTTSession(self, host) }
}

final class InstantSTTSession: SpeechToTextSession {
    private let provider: InstantSTT
    private let host: SpeechToTextHost
    private let samplesPerPartial: UInt64

    private var utterance: UInt64 = 0
    private var start: UInt64 = 0
    private var end: UInt64 = 0
    private var nextPartial: UInt64
    private var hasHeardSound = false

    /// Half a percent of full scale, -46 dBFS: the noise of a line is below it, and every voice above.
    private static let soundMin: Int16 = 164

    init(_ provider: InstantSTT, _ host: SpeechToTextHost) {
        self.provider = provider
        self.host = host
        samplesPerPartial = UInt64(provider.partialEveryMs * host.rateHz / 1000)
        nextPartial = samplesPerPartial
    }

    func begin(utterance: UInt64, at position: UInt64) {
        self.utterance = utterance
        start = position
        nextPartial = position + samplesPerPartial
        hasHeardSound = false
    }

    func push(_ frame: borrowing AudioFrame) -> Intake {
        end = frame.end
        // One sample is enough, so this looks at a frame or two of an utterance and never again.
        if !hasHeardSound {
            hasHeardSound = frame.withSamples { samples in
                samples.indices.contains { samples[$0] > Self.soundMin || samples[$0] < -Self.soundMin }
            }
        }
        if samplesPerPartial > 0 && hasHeardSound && end >= nextPartial {
            nextPartial = end + samplesPerPartial
            host.emit(.partial(transcript(upTo: end)))
        }
        return .taken
    }

    func finalize(_ request: Finalization) {
        // Nothing heard, nothing said: silence must not become words, not even here.
        if end > start && hasHeardSound && !provider.text.isEmpty {
            request.emit(transcript(upTo: min(end, request.position)))
        }
        request.finish()
    }

    private func transcript(upTo position: UInt64) -> Transcript {
        Transcript(
            provider.text, utterance: utterance, start: min(start, position), end: position, language: host.language,
            confidence: 1)
    }
}
