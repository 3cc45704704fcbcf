// One call's voice: over HTTP or over a WebSocket, as the address says.

import PluginKit

final class PiperSession: TextToSpeechSession {
    private let way: any TextToSpeechSession

    init(_ way: any TextToSpeechSession) { self.way = way }

    func speak(_ clause: Clause) { way.speak(clause) }
    func cancel() { way.cancel() }
    func creditReturned() { way.creditReturned() }
    func close() { way.close() }
}
