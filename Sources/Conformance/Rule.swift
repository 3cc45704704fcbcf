// What a rule of the contract is.
//
// A rule judges one thing. Whatever else goes wrong before its eyes is another rule's affair: the corpus of broken
// plugins (`Tests/BrokenPlugins`) holds one for every rule, which must fail that rule and no other, and a rule that
// looks left and right fails with its neighbours. So a rule has one sentence, and a check that can be read beside it.
//
// The texts are part of the rule and not of a manual: `vchost conform explain` prints them, the list in the
// documentation is made of them, and whoever changes the check has them before his eyes.

import Providers

/// One rule of the contract, and how it is checked.
public struct Rule: Sendable {
    /// What a plugin that keeps all rules up to this one may call itself.
    public enum Level: Int, Sendable, Comparable, CaseIterable {
        /// It loads, works, ends, and touches nothing that is not its own.
        case basic = 1
        /// It is quick enough for a telephone call, and stops when the caller interrupts.
        case realTime = 2
        /// It keeps its head when the vendor, the network or the host's services fail.
        case resilient = 3

        public var name: String {
            switch self {
            case .basic: "basic"
            case .realTime: "real-time"
            case .resilient: "resilient"
            }
        }

        public static func < (one: Level, other: Level) -> Bool { one.rawValue < other.rawValue }
    }

    public enum Weight: String, Sendable {
        /// A breach fails the plugin.
        case must
        /// A breach is a warning.
        case should
    }

    public enum Clock: String, Sendable {
        /// Time passes when the rule says so.
        case virtual
        /// The rule measures; it runs alone, after all others.
        case real
    }

    public enum Check: Sendable {
        /// In the runner, on the bytes of the file: no code of the plugin runs.
        case file(@Sendable (Subject) throws -> Void)
        /// In a probe of its own.
        case probe(@Sendable (Bench) throws -> Void)
        /// In a probe that uses the plugin as a call would, judged by what the runner saw of the process from outside.
        case observed(@Sendable (Observation) throws -> Void)
        /// In a probe of its own, and then by what the runner saw of the process.
        case watched(@Sendable (Bench) throws -> Void, @Sendable (Observation) throws -> Void)
    }

    /// "VC-LIFE-03": the group and a number that is never given to another rule.
    public let id: String
    public let level: Level
    public let weight: Weight
    /// Among those that a plugin must keep before a running host uses it. All of them together take less than a second.
    public let isSmoke: Bool
    /// Whom it concerns; empty: every kind.
    public let kinds: [PluginKind]
    public let clock: Clock
    /// What the plugin does, in one sentence: "A session emits CLOSED exactly once."
    public let sentence: String
    /// What happens to a call otherwise.
    public let reason: String
    /// A few lines that keep the rule, and a few that break it.
    public let passing: String
    public let failing: String
    /// Rules without which this one says nothing: when one of them failed, it is skipped.
    public let needs: [String]
    /// Why the rule does not apply to this plugin: it names the capability that is missing. Nil: it applies.
    public let skip: @Sendable (Subject) -> String?
    public let check: Check

    public init(
        _ id: String, _ level: Level = .basic, _ weight: Weight = .must, smoke isSmoke: Bool = false,
        kinds: [PluginKind] = [], clock: Clock = .virtual, _ sentence: String, because reason: String,
        passing: String = "", failing: String = "", needs: [String] = ["VC-LIFE-02"],
        skip: @escaping @Sendable (Subject) -> String? = { _ in nil }, check: Check
    ) {
        self.id = id
        self.level = level
        self.weight = weight
        self.isSmoke = isSmoke
        self.kinds = kinds
        self.clock = clock
        self.sentence = sentence
        self.reason = reason
        self.passing = passing
        self.failing = failing
        self.needs = needs
        self.skip = skip
        self.check = check
    }

    /// "LIFE" of "VC-LIFE-03".
    public var group: String { String(id.split(separator: "-")[1]) }
}

/// A breach, in the three parts of a message: what was done, what the contract says, what came instead.
public struct Violation: Error, Sendable, Equatable {
    public var what: String
    public var expected: String
    public var got: String
    /// Where in the plugin's life: the last breadcrumb, or a place in the file.
    public var place: String

    public init(_ what: String, expected: String, got: String, place: String = "") {
        self.what = what
        self.expected = expected
        self.got = got
        self.place = place
    }
}

/// Thrown by a check that finds only on its way that it has nothing to judge.
public struct NotApplicable: Error, Sendable {
    public let why: String

    public init(_ why: String) { self.why = why }
}

/// What the runner sees of a probe from outside.
public struct Observation: Sendable {
    /// Processes that it left behind, "pid 4711 (sleep)".
    public var strays: [String] = []
    public var standardOutput = ""
    public var standardError = ""

    public init() {}
}
