/// The kinds of provider a conversation uses directly.
///
/// Voice activity and telephony are not here: the first is wired to the call's audio before the conversation hears of
/// it, the second is the call itself. A semantic end-of-turn detector (`turn`) is, because the conversation may do
/// without it and must know when it has died.
public enum ProviderKind: UInt8, Sendable, CaseIterable {
    case speechToText, languageModel, textToSpeech, turn
}

/// One provider of one call: a place in the chain of its kind, and the name it is configured under.
///
/// The conversation picks providers by their place and knows nothing else of them. Two with equal `kind` and `name` are
/// the same session to the driver even if a changed configuration moved the name to another place.
public struct Provider: Hashable, Sendable {
    public var kind: ProviderKind
    /// Place in the chain, 0 first.
    public var index: Int
    /// The configured name, such as `llm.rules`.
    public var name: String

    public init(kind: ProviderKind, index: Int, name: String) {
        self.kind = kind
        self.index = index
        self.name = name
    }

    public static func == (one: Provider, other: Provider) -> Bool {
        one.kind == other.kind && one.name == other.name
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(kind)
        hasher.combine(name)
    }
}

/// The names of the providers of each kind, in the order in which they are tried.
public struct ProviderChains: Equatable, Sendable {
    public var speechToText: [String]
    public var languageModel: [String]
    public var textToSpeech: [String]
    /// Empty: the end of a turn is decided from silence and words alone.
    public var turn: [String]
    /// Those that fail for all calls now. They stand last in their chains, and nothing is opened with them in advance.
    public var resting: Set<String> = []
    /// Those that this call shall find out about, for all calls: what it has against them itself is forgotten.
    public var probing: Set<String> = []

    public init(speechToText: [String], languageModel: [String], textToSpeech: [String], turn: [String] = []) {
        self.speechToText = speechToText
        self.languageModel = languageModel
        self.textToSpeech = textToSpeech
        self.turn = turn
    }

    public subscript(kind: ProviderKind) -> [String] {
        switch kind {
        case .speechToText: speechToText
        case .languageModel: languageModel
        case .textToSpeech: textToSpeech
        case .turn: turn
        }
    }
}

/// Why a provider could not do what it was asked.
///
/// The typed part decides (is a second attempt worth its time?); the vendor's own words are only carried, because the
/// operator's first question is what the vendor said.
public struct ProviderFailure: Error, Equatable, Sendable {
    public enum Code: UInt8, Sendable {
        case configuration, authentication, quota, network, timeout, vendor, crashed, misbehaved, `internal`
        /// This very question was refused, and the next may not be.
        case request
        /// The version of its plugin that had the session is over; there is another.
        case replaced
    }

    public var code: Code
    /// Whether the same provider may succeed if asked again.
    public var retryable: Bool
    /// The provider's own wish. 0: at once. A wish beyond the deadline of the turn counts as not retryable.
    public var retryAfterMs: Int
    public var message: String
    /// The vendor's code, unchanged, or empty.
    public var vendorCode: String

    public init(code: Code, retryable: Bool, retryAfterMs: Int = 0, message: String, vendorCode: String = "") {
        self.code = code
        self.retryable = retryable
        self.retryAfterMs = retryAfterMs
        self.message = message
        self.vendorCode = vendorCode
    }
}

/// What came of one question to a provider, for whoever remembers providers beyond the call. A question that is
/// withdrawn, by a barge-in or a hang-up, has no outcome.
public enum ProviderOutcome: Sendable, Equatable {
    /// To its end: one that always breaks off in the middle works no better than one that is silent.
    case answered
    case failed(ProviderFailure)
    /// A failure that says nothing of the next question.
    case inconclusive

    /// - Parameter hasBegun: there was some output.
    init(_ failure: ProviderFailure, hasBegun: Bool = false) {
        switch failure.code {
        // The host knows better than to guess: a process that died is started again at once, until it is quarantined.
        case .crashed, .replaced: self = .inconclusive
        case .request where !hasBegun: self = .inconclusive
        // A vendor that refuses, and would not take the same again, refuses what was asked: a 400, and not a 500.
        case .vendor where !hasBegun && !failure.retryable && failure.retryAfterMs == 0: self = .inconclusive
        default: self = .failed(failure)
        }
    }
}
