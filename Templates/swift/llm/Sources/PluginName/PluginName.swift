// plugin-name: a language model that is a server. PluginKit keeps the contract: order, cancelling, credit, closing.
//
// A provider is shared by all calls, so it is constant. A session belongs to one call, and nothing in it is ever
// concurrent: answers of the server come as calls of the session, one after the other. Text goes to the host as it
// comes, never cut within a character.

import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(PluginName.self, host, module)
}

final class PluginName: LanguageModel {
    static let id = "org.example.plugin-name"

    let url: String

    init(_ host: ProviderHost) throws(PluginError) {
        url = host.configuration.text("url") ?? ""
        guard !url.isEmpty else {
            throw PluginError(.configuration, "`url` is empty; name the language model's address")
        }
        // Yours: further settings, as the manifest's `config` declares them.
    }

    func open(_ host: SessionHost) -> PluginNameSession { PluginNameSession(self, host) }
}

final class PluginNameSession: LanguageModelSession {
    private let provider: PluginName
    private let host: SessionHost

    init(_ provider: PluginName, _ host: SessionHost) {
        self.provider = provider
        self.host = host
        // A handshake takes longer than a caller likes to wait.
        host.http.prewarm(provider.url)
    }

    private static let brokenOff = PluginError(
        .vendor, "the server's answer breaks off before its end, a line feed", isRetryable: true)

    func answer(_ question: Question) {
        let reply = Reply()
        var waiting: [UInt8] = []
        var last: UInt8?
        do {
            try host.http.start(request(question)) { event in
                switch event {
                case .response(let response): reply.begin(response)
                case .data(let bytes):
                    guard reply.take(bytes) else { return }
                    waiting += words(bytes)
                    last = bytes.last ?? last
                    let whole = wholeCharacters(waiting)
                    guard let text = String(validating: waiting[..<whole], as: UTF8.self) else {
                        return reply.fail(PluginError(.vendor, "the server's answer is no text in UTF-8"))
                    }
                    if question.emit(.delta(text)) == .noCredit {
                        reply.fail(PluginError(.vendor, "the server's answer is longer than anybody waits for"))
                    }
                    waiting.removeFirst(whole)
                case .done:
                    if !isEnd(last) { reply.fail(Self.brokenOff) }
                    if let problem = reply.end() { question.fail(problem) } else { question.finish(.stop) }
                case .failed(let error): question.fail(error)
                }
            }
        } catch {
            question.fail(error)
        }
    }

    private func request(_ question: Question) -> HTTPRequest {
        // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end. As it
        // stands, what the host passes is sent as it is, three texts of JSON. A credential is named in a header and in
        // the manifest's `secrets`; the host puts it in, and the plugin never sees it:
        // ("Authorization", "Bearer ${secret:ACME_API_KEY}").
        let body = """
            {"messages": \(question.messagesText), "tools": \(question.toolsText), "options": \(question.optionsText)}
            """
        return HTTPRequest(
            "POST", provider.url, headers: [("Content-Type", "application/json")], body: .text(body),
            deadlineMs: 60_000, firstByteMs: 5_000)
    }
}

private func words(_ bytes: [UInt8]) -> [UInt8] {
    // Yours: take out what is text. As it stands, all of it is.
    bytes
}

/// Whether the last byte of an answer says that it is whole.
private func isEnd(_ last: UInt8?) -> Bool {
    // Yours: what the end of an answer looks like. As it stands, a line feed; half an answer is none.
    last == 0x0A
}

/// How many of these bytes are whole characters of UTF-8.
private func wholeCharacters(_ bytes: [UInt8]) -> Int {
    for back in 1...3 where back <= bytes.count {
        let byte = bytes[bytes.count - back]
        // In the middle of a character.
        if byte & 0xC0 == 0x80 { continue }
        let needed = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
        return needed > back ? bytes.count - back : bytes.count
    }
    return bytes.count
}
