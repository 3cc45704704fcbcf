// What Cartesia sends, read once and strictly: later code knows only what is in here.
//
// Newer versions of the API say what is wrong in `title`, `message` and `error_code`, older ones in `error` alone, and
// some errors name no context. All of them become the contract's error with the vendor's own code in it.

import JSON
import PluginKit

/// A message of the vendor's.
public enum CartesiaMessage: Sendable, Equatable {
    /// A word, as it stands in the text, in seconds since the context began.
    public struct Word: Sendable, Equatable {
        public var text: String
        public var startS: Double
        public var endS: Double
    }

    case chunk(context: String, [UInt8])
    case words(context: String, [Word])
    /// All audio of the oldest text that was not flushed yet has been sent.
    case flushed(context: String)
    case done(context: String)
    case refused(context: String?, PluginError)
    /// Of a type that means nothing here.
    case other(String)

    /// nil: it is no message of this protocol.
    public init?(parsing text: String) {
        guard let json = try? JSONValue(parsing: text), let type = json["type"]?.string else { return nil }
        let context = json["context_id"]?.string
        switch type {
        case "error": self = .refused(context: context, Self.error(json))
        case "chunk":
            guard let context, let data = json["data"]?.string, let bytes = decodeBase64(data) else { return nil }
            self = .chunk(context: context, bytes)
        case "timestamps":
            guard let context, let words = Self.words(json["word_timestamps"]) else { return nil }
            self = .words(context: context, words)
        case "flush_done":
            guard let context else { return nil }
            self = .flushed(context: context)
        case "done":
            guard let context else { return nil }
            self = .done(context: context)
        default: self = .other(type)
        }
    }

    private static func words(_ json: JSONValue?) -> [Word]? {
        guard let texts = json?["words"]?.array, let starts = json?["start"]?.array, let ends = json?["end"]?.array,
            texts.count == starts.count, texts.count == ends.count
        else { return nil }
        var words: [Word] = []
        for (index, text) in texts.enumerated() {
            guard let text = text.string, let start = starts[index].number, let end = ends[index].number,
                start.isFinite, end.isFinite
            else { return nil }
            words.append(Word(text: text, startS: start, endS: end))
        }
        return words
    }

    private static func error(_ json: JSONValue) -> PluginError {
        let status = json["status_code"]?.integer.flatMap { Int(exactly: $0) } ?? 0
        let said = [json["title"], json["message"], json["error"]].compactMap { $0?.string }.filter { !$0.isEmpty }
        var words = said.isEmpty ? "an error without a word" : said.joined(separator: ": ")
        if let request = json["request_id"]?.string, !request.isEmpty { words += " (request \(request))" }
        // One line, whatever the vendor wrote.
        let line = String(words.map { $0.isNewline ? " " : $0 }.prefix(300))
        return PluginError(
            code(status), "Cartesia answered \(status): \(line)", isRetryable: status == 429 || status >= 500,
            protocolStatus: status, vendor: "cartesia", vendorCode: json["error_code"]?.string ?? "")
    }

    private static func code(_ status: Int) -> PluginError.Code {
        switch status {
        case 400, 404, 422: .configuration
        case 401, 403: .authentication
        // 402: no credits are left; 429: too many contexts at a time.
        case 402, 429: .quota
        default: .vendor
        }
    }
}
