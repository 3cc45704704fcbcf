// The parent's side of a conformance run: it reads plugins as bytes, gives each rule a process of its own, and believes
// nothing but what that process says behind its nonce.
//
// One process for each rule costs some milliseconds and buys what nothing else can: a rule starts from the same state
// whatever the plugin did before, a crash is the crash of one rule, and the order of rules cannot matter.

import CConformance
import Glibc
import JSON
import Providers

/// Runs rules against plugins.
public struct Runner: Sendable {
    public let settings: RunSettings
    private let peers: any PeerSource

    /// - Parameter peers: who plays the vendors.
    public init(_ settings: RunSettings, peers: any PeerSource = NoPeers()) {
        self.settings = settings
        self.peers = peers
    }

    /// What is about to run, for a progress bar: how many in all, and each result as it comes.
    public struct Progress: Sendable {
        public var planned: @Sendable (Int) -> Void
        public var ended: @Sendable (RuleResult) -> Void

        public init(
            planned: @escaping @Sendable (Int) -> Void = { _ in },
            ended: @escaping @Sendable (RuleResult) -> Void = { _ in }
        ) {
            self.planned = planned
            self.ended = ended
        }
    }

    /// Which rules concern which provider; the level of the settings is applied besides.
    public struct Selection: Sendable {
        public var includes: @Sendable (Rule, Subject, ProviderDeclaration?) -> Bool

        public init(
            _ includes: @escaping @Sendable (Rule, Subject, ProviderDeclaration?) -> Bool = { _, _, _ in true }
        ) {
            self.includes = includes
        }
    }

    /// Runs what of `rules` is selected, for each provider of each plugin. One report for each subject, in their order.
    ///
    /// Throws what is the runner's own fault; a plugin can make rules fail but not the run.
    public func run(
        _ subjects: [Subject], rules: [Rule] = RuleBook.all, selection: Selection = Selection(),
        progress: Progress = Progress()
    ) throws(RunnerFailure) -> [Report] {
        let adopted = vcc_adopt_orphans()
        guard adopted == 0 else { throw RunnerFailure("orphans cannot be adopted", errno: adopted) }
        let began = runnerClockNs()
        let folder = try RunFolder(in: settings.temporaryDirectory)
        var copies: [String] = []
        for subject in subjects { copies.append(try folder.place(subject)) }

        let items = plan(subjects, rules, selection)
        progress.planned(items.count)
        var speech = settings.speech
        let isHeard = items.contains { SyntheticSpeech.isHeard(by: Self.provider(of: $0, subjects)?.kind ?? "") }
        if speech.isEmpty, isHeard { speech = SyntheticSpeech.make(in: folder.path) }
        let nurseries = Nurseries(settings)
        let unreached = try unreached(items, subjects, copies: copies, speech: speech, in: folder, nurseries)
        let board = WorkBoard(
            RunPlan(items) { item in Self.provider(of: item, subjects)?.id ?? "" }, onResult: progress.ended)
        let finished = try board.work(threads: max(1, min(settings.jobs, items.count))) {
            [self, copies, speech] (item, index) throws(RunnerFailure) in
            let provider = Self.provider(of: item, subjects)
            if item.rule.judgesAnswers, let place = item.provider, let reason = unreached[item.subject]?[place] {
                var result = RuleResult(item.rule, provider: provider?.id ?? "", status: .skip)
                result.why = reason
                return result
            }
            return try run(
                item.rule, subjects[item.subject].with(provider), copy: copies[item.subject], speech: speech,
                in: folder, home: "probe-\(index)", nurseries)
        }
        let results = finished.results
        return subjects.indices.map { index in
            let own = results.filter { $0.item.subject == index }
            // Those that ran at once share the wall's time: a plugin's own is the sum of its rules'.
            let wallMs =
                subjects.count == 1
                ? Double(runnerClockNs() - began) / 1e6 : own.reduce(0) { $0 + $1.result.wallMs }
            var report = Report(subjects[index], settings: settings, results: own.map(\.result))
            report.wallMs = wallMs
            report.unreached = unreached[index]?.sorted { $0.key < $1.key }.map(\.value) ?? []
            return report
        }
    }

    // MARK: Steps

    private static func provider(of item: RunItem, _ subjects: [Subject]) -> ProviderDeclaration? {
        item.provider.flatMap { subjects[item.subject].manifest?.providers[$0] }
    }

    /// Rules about the file come first and once; the others once for each provider whose kind this host knows.
    private func plan(_ subjects: [Subject], _ rules: [Rule], _ selection: Selection) -> [RunItem] {
        var items: [RunItem] = []
        let rules = rules.filter { $0.level <= settings.level }
        for (index, subject) in subjects.enumerated() {
            for rule in rules where rule.isAboutFile && selection.includes(rule, subject, nil) {
                items.append(RunItem(rule: rule, subject: index, provider: nil))
            }
            for (place, provider) in (subject.manifest?.providers ?? []).enumerated() {
                guard let kind = provider.knownKind else { continue }
                let own = settings.includesScenarios ? peers.ownRules(of: subject, provider: provider.id) : []
                for rule in rules + own where !rule.isAboutFile && (rule.kinds.isEmpty || rule.kinds.contains(kind)) {
                    if selection.includes(rule, subject, provider) {
                        items.append(RunItem(rule: rule, subject: index, provider: place))
                    }
                }
            }
        }
        return items
    }

    /// Why the answers of a provider cannot be judged, by the plugin's and the provider's places (`Pilot`).
    private func unreached(
        _ items: [RunItem], _ subjects: [Subject], copies: [String], speech: String, in folder: RunFolder,
        _ nurseries: Nurseries
    ) throws(RunnerFailure) -> [Int: [Int: String]] {
        var reasons: [Int: [Int: String]] = [:]
        var asked: Set<[Int]> = []
        for item in items where item.rule.judgesAnswers {
            guard let place = item.provider, asked.insert([item.subject, place]).inserted else { continue }
            let subject = subjects[item.subject].with(Self.provider(of: item, subjects))
            guard let provider = subject.provider, Pilot.concerns(subject, settings: settings, peers: peers) else {
                continue
            }
            let result = try run(
                Pilot.rule, subject, copy: copies[item.subject], speech: speech, in: folder,
                home: "pilot-\(item.subject)-\(place)", nurseries)
            // Whatever else went wrong is found again by the rule whose affair it is.
            guard result.status == .skip else { continue }
            reasons[item.subject, default: [:]][place] = Pilot.reason(provider.id, result.why)
        }
        return reasons
    }

    private func run(
        _ rule: Rule, _ subject: Subject, copy: String, speech: String, in folder: RunFolder, home: String,
        _ nurseries: Nurseries
    ) throws(RunnerFailure) -> RuleResult {
        let isMasked = settings.masked.contains(rule.id)
        var result = RuleResult(rule, provider: subject.provider?.id ?? "", status: .pass)
        if let reason = rule.skip(subject) {
            result.status = .skip
            result.why = reason
            return result
        }
        if case .file(let check) = rule.check {
            if !isMasked { result.apply { try check(subject) } }
            return result
        }
        var job = Job()
        job.nonce = hexadecimal(.random(in: 0 ... .max)) + hexadecimal(.random(in: 0 ... .max))
        job.rule = rule.id
        job.plugin = copy
        job.kind = subject.provider?.kind ?? ""
        job.provider = subject.provider?.id ?? ""
        job.seed = settings.seed
        job.hostMinor = settings.hostMinor
        job.isMasked = isMasked
        job.speech = speech
        job.excusesVendor = settings.excusesVendor
        job.secrets = settings.secrets
        try peers.prepare(&job, for: subject)
        let peer = peers.peer(of: job, for: subject)
        for name in subject.manifest?.secrets ?? [] where job.secrets[name] == nil {
            // Long and odd enough to be found wherever it turns up.
            job.secrets[name] = "canary-47114711-\(name)"
        }
        job.configuration = Self.merged(job.configuration, settings.configurations[job.provider])
        let directory = try folder.home(home, linking: subject.manifest?.files ?? [])
        defer { RunFolder.remove(directory) }
        let probe = try ProbeProcess(
            job: job, peer: peer, settings: settings, directory: directory, nurseries: nurseries)
        return try RuleResult(
            rule, provider: job.provider, outcome: try probe.run(), isMasked: isMasked)
    }

    /// The operator's settings over the scripts'.
    private static func merged(_ below: JSONValue, _ above: JSONValue?) -> JSONValue {
        guard let above = above?.object else { return below }
        return .object((below.object ?? [:]).merging(above) { $1 })
    }
}

extension Rule {
    /// Whether it is judged once for the file and not for each provider.
    var isAboutFile: Bool {
        if case .file = check { kinds.isEmpty } else { false }
    }
}
