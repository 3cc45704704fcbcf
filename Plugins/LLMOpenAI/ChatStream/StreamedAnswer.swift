// One question to a server that streams its answer over HTTP: asked, read, and asked once more where that helps.
//
// Servers of language models differ in what is sent and in how an answer is written; what is done about a refusal, a
// broken connection, an answer that nobody wants any more is the same for all of them and stands here once. A request
// is tried again only while nothing of its answer was said, and only if the server asks for a short wait: a caller who
// waits for the first word is better served by the next provider of the chain than by a patient one.

public import PluginKit

/// Reads an answer as it arrives. A value, so that a second attempt begins with nothing of the first.
public protocol AnswerReader {
    /// Something was said or called: from here on a second attempt would say it twice.
    var hasOutput: Bool { get }
    mutating func feed(_ bytes: [UInt8]) -> [ChatStep]
    /// The connection ended properly.
    mutating func end() -> [ChatStep]
}

/// A server that streams answers, as it is configured.
public protocol ChatVendor: AnyObject {
    associatedtype Reader: AnswerReader
    /// Whom errors name: the host part of the address.
    var vendor: String { get }
    var patience: Patience { get }
    func request(for question: Question) -> HTTPRequest
    func reader(for question: Question) -> Reader
    /// Whether `refusal` says what the next request can do without. Asked once for each question.
    func learns(from refusal: VendorError, status: Int) -> Bool
    /// What an operator should know besides the server's own words, or nil.
    func mend(for refusal: VendorError, status: Int) -> String?
}

extension ChatVendor {
    public func learns(from refusal: VendorError, status: Int) -> Bool { false }
    public func mend(for refusal: VendorError, status: Int) -> String? { nil }
}

/// How long and how often a server is waited for, and how much of its answer is wanted.
public struct Patience: Sendable {
    /// Further attempts while nothing of the answer was said.
    public var retries: Int
    /// A server that asks for a longer wait is not asked again.
    public var retryAfterMaxMs: Int
    /// 0: no limit.
    public var sentencesMax: Int

    public init(retries: Int, retryAfterMaxMs: Int, sentencesMax: Int) {
        self.retries = retries
        self.retryAfterMaxMs = retryAfterMaxMs
        self.sentencesMax = sentencesMax
    }

    /// From the settings `retries`, `retry_after_max_ms` and `sentences_max`, which every such plugin has.
    public init(_ configuration: Configuration) {
        self.init(
            retries: configuration.integer("retries") ?? 1,
            retryAfterMaxMs: configuration.integer("retry_after_max_ms") ?? 500,
            sentencesMax: configuration.integer("sentences_max") ?? 0)
    }
}

/// A question under way. It is kept alive by its exchange, and ends with it.
public final class StreamedAnswer<Vendor: ChatVendor> {
    /// No refusal needs more words than this.
    private static var refusalBytesMax: Int { 64 << 10 }
    /// Between two attempts where the server asks for no wait: long enough for a connection that was just closed.
    private static var retryMs: Int { 50 }

    private let vendor: Vendor
    private let host: SessionHost
    private let question: Question
    private var retriesLeft: Int
    private var mayLearn = true
    private var exchange: HTTPExchange?
    private var response = HTTPResponse(status: 0, headers: [])
    private var reader: Vendor.Reader
    private var limit: SentenceLimit
    private var refusal: [UInt8] = []

    /// Asks. The answer goes to `question`.
    public static func ask(_ vendor: Vendor, _ question: Question, on host: SessionHost) {
        StreamedAnswer(vendor, question, host).attempt()
    }

    private init(_ vendor: Vendor, _ question: Question, _ host: SessionHost) {
        self.vendor = vendor
        self.question = question
        self.host = host
        retriesLeft = vendor.patience.retries
        reader = vendor.reader(for: question)
        limit = SentenceLimit(sentencesMax: vendor.patience.sentencesMax)
    }

    private func attempt() {
        guard !question.isFinished else { return }
        reader = vendor.reader(for: question)
        response = HTTPResponse(status: 0, headers: [])
        refusal = []
        do throws(PluginError) {
            exchange = try host.http.start(vendor.request(for: question)) { self.heard($0) }
        } catch {
            question.fail(error)
        }
    }

    private func heard(_ event: HTTPEvent) {
        switch event {
        case .response(let response): self.response = response
        case .data(let bytes) where response.status == 200: follow(reader.feed(bytes))
        case .data(let bytes): refusal += bytes.prefix(Self.refusalBytesMax - refusal.count)
        case .done where response.status == 200: follow(reader.end())
        case .done: refused(VendorError(body: refusal))
        case .failed(let error): fail(error)
        }
    }

    private func follow(_ steps: [ChatStep]) {
        for step in steps where !question.isFinished {
            switch step {
            case .emit(.delta(let text)):
                let (words, isOver) = limit.pass(text)
                emit(.delta(words))
                // The server writes on until its connection is closed.
                if isOver { end(.stop) }
            case .emit(let part): emit(part)
            case .finish(let reason): question.finish(reason)
            case .fail(let error): fail(error)
            }
        }
    }

    private func emit(_ part: AnswerPart) {
        switch question.emit(part) {
        case .accepted: break
        // Megabytes wait to be said: whatever this is, it is no answer to a caller any more.
        case .noCredit: end(.length)
        case .canceled, .gone: exchange?.cancel()
        }
    }

    private func end(_ reason: AnswerEnd) {
        question.finish(reason)
        exchange?.cancel()
    }

    private func refused(_ details: VendorError) {
        if mayLearn, vendor.learns(from: details, status: response.status) {
            mayLearn = false
            host.log.info("asking once more, otherwise", (name: "after", value: details.message))
            return attempt()
        }
        var error = details.pluginError(
            status: response.status, vendor: vendor.vendor,
            retryAfterMs: RetryAfter.ms(response, nowMs: host.clock.wallNs / 1_000_000),
            shouldRetry: RetryAfter.advice(response))
        if let mend = vendor.mend(for: details, status: response.status) { error.message += "; \(mend)" }
        fail(error)
    }

    /// Tries once more where that can help and nothing was said yet; else the question has failed.
    private func fail(_ error: PluginError) {
        exchange?.cancel()
        guard
            error.isRetryable, error.retryAfterMs <= vendor.patience.retryAfterMaxMs, !reader.hasOutput, retriesLeft > 0
        else { return question.fail(error) }
        retriesLeft -= 1
        host.log.info("asking once more", (name: "after", value: error.message))
        let timer = host.timers.after(max(Self.retryMs, error.retryAfterMs)) { self.attempt() }
        if timer == nil { question.fail(error) }
    }
}
