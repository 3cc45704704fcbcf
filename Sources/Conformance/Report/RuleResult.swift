// What one rule said about one provider.
//
// A result carries the rule's own words with it, so that a report is complete in itself: it is written to files that
// outlive the list of rules, and the writers need nothing else.

/// How a rule ended.
public enum Status: String, Sendable, CaseIterable {
    case pass
    /// The check found a breach.
    case fail
    /// A signal ended the probe.
    case crash
    /// The probe used up its time.
    case hang
    /// The probe ended without a verdict, whatever its exit status.
    case noVerdict = "no-verdict"
    /// A breach of a rule that is only advice.
    case warn
    /// The rule does not apply, or a rule that it builds on failed.
    case skip
    /// A breach that was excused beforehand.
    case waived

    /// Whether the rule found something, of whatever sort.
    public var isBreach: Bool { self != .pass && self != .skip }
    /// Whether the plugin took the probe with it.
    public var isLoss: Bool { self == .crash || self == .hang || self == .noVerdict }
}

/// One rule's answer.
public struct RuleResult: Sendable, Equatable {
    /// A value that the check measured.
    public struct Note: Sendable, Equatable {
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// "VC-LIFE-03".
    public var rule: String
    public var level: Rule.Level
    public var weight: Rule.Weight
    public var clock: Rule.Clock
    public var sentence: String
    /// The provider's id; empty for a rule about the file.
    public var provider: String
    public var status: Status
    public var violation: Violation?
    /// Of a crash, hang or missing verdict: what happened. Of a skip: what is missing. Of a waiver: its reason.
    public var why = ""
    /// Of a skip: the rule that failed, without which this one says nothing.
    public var blockedBy = ""
    /// The last breadcrumb, or the place that the check named.
    public var place = ""
    /// Addresses and threads, which differ from run to run.
    public var details = ""
    /// What the probe printed, standard output first.
    public var output = ""
    /// Processes that it left behind.
    public var strays: [String] = []
    public var notes: [Note] = []
    public var cpuMs = 0.0
    public var wallMs = 0.0

    public init(_ rule: Rule, provider: String, status: Status) {
        self.rule = rule.id
        level = rule.level
        weight = rule.weight
        clock = rule.clock
        sentence = rule.sentence
        self.provider = provider
        self.status = status
    }

    /// "LIFE" of "VC-LIFE-03".
    public var group: String {
        let parts = rule.split(separator: "-")
        return parts.count > 1 ? String(parts[1]) : rule
    }

    /// What happened, without the rule's id: "finalize(request 42): expected FINALIZED carrying 42, got 43",
    /// "crash: SIGSEGV at push frame=17: reads beyond the frame". Empty for a pass.
    public var finding: String {
        switch status {
        case .pass: return ""
        case .skip: return why
        case .waived: return breach.isEmpty ? why : "\(breach) (waived: \(why))"
        case .fail, .warn: return breach
        case .crash, .hang, .noVerdict: return "\(status.rawValue): \(why)"
        }
    }

    /// The line for people: the rule and what happened.
    public var message: String { finding.isEmpty ? rule : "\(rule) \(finding)" }

    private var breach: String {
        guard let violation else { return "" }
        return "\(violation.what): expected \(violation.expected), got \(violation.got)"
    }

    /// What must be the same in every run with the same seed: nothing measured, nothing that the kernel chose.
    var comparable: String {
        [provider, rule, status.rawValue, finding, place].joined(separator: "\u{1f}")
    }
}
