// Providers that the tests of the kit drive by hand: each remembers what it was asked, and a test answers.

import PluginABI
import Synchronization

@testable import PluginKit

final class HandSTT: SpeechToText {
    static let id = "test.stt"
    init(_ host: ProviderHost) throws(PluginError) {
        if host.configuration.text("url") == "bad" {
            throw PluginError(.configuration, "`url` is \"bad\", which is no address; write http://host:port")
        }
    }
    func open(_ host: SpeechToTextHost) throws(PluginError) -> HandSTTSession { HandSTTSession(host) }
}

final class HandSTTSession: SpeechToTextSession {
    let host: SpeechToTextHost
    var samples: [Int16] = []
    var finalizations: [Finalization] = []
    init(_ host: SpeechToTextHost) {
        self.host = host
        Hands.add(self, host.handle)
    }
    func push(_ frame: borrowing AudioFrame) -> Intake {
        frame.append(to: &samples)
        return samples.count > 4000 ? .full : .taken
    }
    func finalize(_ request: Finalization) { finalizations.append(request) }
}

final class HandLLM: LanguageModel {
    static let id = "test.llm"
    init(_ host: ProviderHost) throws(PluginError) {}
    func open(_ host: SessionHost) throws(PluginError) -> HandLLMSession {
        if host.configuration.flag("late") == true { host.defersReady() }
        return HandLLMSession(host)
    }
}

final class HandLLMSession: LanguageModelSession {
    let host: SessionHost
    var questions: [Question] = []
    var cancels = 0
    var credits = 0
    init(_ host: SessionHost) {
        self.host = host
        Hands.add(self, host.handle)
    }
    func answer(_ question: Question) { questions.append(question) }
    func cancel() { cancels += 1 }
    func creditReturned() { credits += 1 }
}

final class HandTTS: TextToSpeech {
    static let id = "test.tts"
    init(_ host: ProviderHost) throws(PluginError) {}
    func open(_ host: SessionHost) throws(PluginError) -> HandTTSSession { HandTTSSession(host) }
}

final class HandTTSSession: TextToSpeechSession {
    let host: SessionHost
    var clauses: [Clause] = []
    var credits = 0
    init(_ host: SessionHost) {
        self.host = host
        Hands.add(self, host.handle)
    }
    func speak(_ clause: Clause) { clauses.append(clause) }
    func creditReturned() { credits += 1 }
}

/// Finds the author's session behind a handle, without keeping it alive.
enum Hands {
    private final class Weak: @unchecked Sendable {
        weak var session: AnyObject?
        init(_ session: AnyObject) { self.session = session }
    }
    private static let sessions = Mutex<[vc_handle: Weak]>([:])

    static func add(_ session: AnyObject, _ handle: vc_handle) {
        let weak = Weak(session)
        sessions.withLock { $0[handle] = weak }
    }
    static func session<Session: AnyObject>(_ handle: vc_handle) -> Session? {
        sessions.withLock { $0[handle] }?.session as? Session
    }
}

/// The three of them, exported once for the process, as a plugin is.
let handPlugin: Result<LoadedPlugin, any Error> = Result {
    try LoadedPlugin { Plugin.export(HandSTT.self, HandLLM.self, HandTTS.self, host: $0, module: $1) }
}
