// One call's recogniser: which audio is asked for, which answer serves which question.

import JSON
import PluginKit
import UtteranceAudio

final class WhisperSession: SpeechToTextSession {
    /// Whisper makes words out of anything shorter.
    private static let utteranceMsMin = 100

    private let provider: STTFasterWhisper
    private let host: SpeechToTextHost
    private let language: String
    private var audio: UtteranceAudio
    private var utterance: UInt64 = 0
    /// The newest recognition of the open utterance, under way or done.
    private var latest: Recognition?
    private var reportedDrops: UInt64 = 0

    init(_ provider: STTFasterWhisper, _ host: SpeechToTextHost) {
        self.provider = provider
        self.host = host
        // The configuration wins over the call: an English model hears English. Whisper wants "en" and not "en-US".
        language = provider.language.isEmpty ? String(host.language.prefix { $0 != "-" }) : provider.language
        audio = UtteranceAudio(rateHz: host.rateHz, secondsMax: provider.utteranceSecondsMax)
    }

    func begin(utterance: UInt64, at position: UInt64) {
        self.utterance = utterance
        audio.begin(at: position)
        latest = nil
    }

    func push(_ frame: borrowing AudioFrame) -> Intake {
        audio.append(at: frame.position) { samples, offset in frame.append(to: &samples, from: offset) }
        return .taken
    }

    func finalize(_ request: Finalization) {
        let range = audio.range(upTo: request.position)
        if let latest, serves(latest, range) {
            latest.waiting.append(request)
            if latest.isDone { latest.answer() }
        } else {
            latest?.supersede()
            recognise(range, for: request)
        }
        if audio.droppedSamples > reportedDrops {
            reportedDrops = audio.droppedSamples
            host.log.warning(
                "an utterance was longer than `utterance_seconds_max`; its beginning was not recognised",
                (name: "droppedSamples", value: String(reportedDrops)))
        }
        if !request.isTentative {
            audio.close(at: range.upperBound)
            latest = nil
        }
    }

    /// The recogniser is told of a new epoch only when the whole call starts over.
    func cancel() { latest = nil }

    /// An answer serves for a longer stretch if nothing was said in what was added.
    private func serves(_ recognition: Recognition, _ range: Range<UInt64>) -> Bool {
        guard recognition.error == nil, recognition.range.lowerBound == range.lowerBound else { return false }
        if range.upperBound <= recognition.range.upperBound { return range.upperBound == recognition.range.upperBound }
        return !audio.isSpeech(in: recognition.range.upperBound..<range.upperBound, comparedWith: recognition.range)
    }

    private func recognise(_ range: Range<UInt64>, for request: Finalization) {
        let recognition = Recognition(utterance: utterance, range: range, waiting: request)
        latest = recognition
        let isTooShort = range.count < host.rateHz * Self.utteranceMsMin / 1000
        if isTooShort || audio.isSilent(in: range) {
            recognition.isDone = true
            recognition.answer()
        } else {
            attempt(recognition, audio[range], retriesLeft: provider.retries)
        }
    }

    private func attempt(_ recognition: Recognition, _ samples: [Int16], retriesLeft: Int) {
        guard !recognition.waiting.isEmpty else { return }
        var status = 0
        var response: HTTPResponse?
        var body: [UInt8] = []
        do throws(PluginError) {
            recognition.exchange = try host.http.start(
                provider.request(samples, rateHz: host.rateHz, language: language)
            ) { [weak self] event in
                guard let self else { return }
                switch event {
                case .response(let head):
                    response = head
                    status = head.status
                case .data(let bytes): if body.count < 1 << 20 { body += bytes }
                case .done where status == 200: heard(body, recognition)
                case .done: failed(refusal(status, body, response), recognition, samples, retriesLeft)
                case .failed(let error): failed(error, recognition, samples, retriesLeft)
                }
            }
        } catch {
            recognition.fail(error)
        }
    }

    private func heard(_ body: [UInt8], _ recognition: Recognition) {
        let text = String(decoding: body, as: UTF8.self)
        guard let answer = (try? JSONValue(parsing: text)).flatMap(WhisperAnswer.init) else {
            return recognition.fail(
                PluginError(
                    .vendor,
                    "\(provider.url) answered without a `text`: \(Self.line(text)); is it a transcription server?"))
        }
        if answer.invented > 0 {
            host.log.info(
                "left out what the model itself takes for no speech", (name: "segments", value: "\(answer.invented)"))
        }
        if !answer.text.isEmpty {
            let range = recognition.range
            func position(_ seconds: Double) -> UInt64 {
                let samples = UInt64(min(max(seconds, 0), 3_600) * Double(host.rateHz))
                return min(range.lowerBound + samples, range.upperBound)
            }
            recognition.transcript = Transcript(
                answer.text, utterance: recognition.utterance, start: range.lowerBound, end: range.upperBound,
                language: answer.language ?? language, confidence: answer.confidence,
                words: answer.words.map { word in
                    Transcript.Word(
                        word.text, start: position(word.startSeconds), end: position(word.endSeconds),
                        confidence: word.confidence)
                })
        }
        recognition.isDone = true
        recognition.answer()
    }

    /// Nothing was said yet, so a broken connection is tried again, at once. A server that says that it is busy is
    /// believed: the host has other providers.
    private func failed(_ error: PluginError, _ recognition: Recognition, _ samples: [Int16], _ retriesLeft: Int) {
        if error.code == .network && retriesLeft > 0 {
            attempt(recognition, samples, retriesLeft: retriesLeft - 1)
        } else {
            recognition.fail(error)
        }
    }

    /// The beginning of a server's words as an error may quote them: in one line.
    private static func line(_ text: String) -> String {
        text.prefix(200).split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    private func refusal(_ status: Int, _ body: [UInt8], _ response: HTTPResponse?) -> PluginError {
        let text = String(decoding: body.prefix(4096), as: UTF8.self)
        let json = try? JSONValue(parsing: text)
        let error = json?["error"] ?? json?["detail"]
        let message = Self.line(error?["message"]?.string ?? error?.string ?? error?.text ?? text)
        let code: PluginError.Code =
            switch status {
            case 401, 403: .authentication
            case 400, 404, 405, 415, 422: .configuration
            case 429: .quota
            case 408, 504: .timeout
            default: .vendor
            }
        return PluginError(
            code, "the recogniser at \(provider.url) answered \(status): \(message)",
            isRetryable: status == 408 || status == 429 || status >= 500,
            retryAfterMs: response?["retry-after"].flatMap { Int($0) }.map { min($0, 3600) * 1000 } ?? 0,
            protocolStatus: status, vendor: "whisper", vendorCode: error?["code"]?.string ?? "")
    }
}

/// One request to the server, and those who wait for its answer.
final class Recognition {
    let utterance: UInt64
    let range: Range<UInt64>
    var waiting: [Finalization]
    var exchange: HTTPExchange?
    var isDone = false
    /// nil when done: nothing was said.
    var transcript: Transcript?
    private(set) var error: PluginError?

    init(utterance: UInt64, range: Range<UInt64>, waiting: Finalization) {
        self.utterance = utterance
        self.range = range
        self.waiting = [waiting]
    }

    func answer() {
        for request in waiting {
            if let transcript { request.emit(transcript) }
            request.finish()
        }
        waiting = []
    }

    func fail(_ error: PluginError) {
        self.error = error
        for request in waiting { request.fail(error) }
        waiting = []
    }

    /// A newer question is about more audio: whoever waits is told that there is nothing for them.
    func supersede() {
        exchange?.cancel()
        for request in waiting { request.finish() }
        waiting = []
    }
}
