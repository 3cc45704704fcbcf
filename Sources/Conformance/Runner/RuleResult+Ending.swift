// From what was seen of a probe to what it says about the rule: the one place where a verdict is believed or not.
//
//     done, nothing else          pass                 done and a breach      fail (or warn)
//     done and a reason           skip                 no done, a signal      crash
//     no done, time used up       hang                 no done, an end        no-verdict, also with exit status 0

import Glibc

extension RuleResult {
    /// The result of a rule whose probe ended so. Throws when the probe never came to its own start.
    init(_ rule: Rule, provider: String, outcome: ProbeOutcome, isMasked: Bool) throws(RunnerFailure) {
        self.init(rule, provider: provider, status: .pass)
        let verdict = outcome.verdict
        violation = verdict.violation
        place = violation?.place ?? ""
        details = outcome.crumb.details
        output = outcome.standardOutput.text + outcome.standardError.text
        strays = outcome.strays
        notes = verdict.notes.map { Note($0.name, $0.value) }
        if verdict.foreignLines > 0 {
            notes.append(Note("lines on the verdict pipe that are not the probe's", "\(verdict.foreignLines)"))
        }
        cpuMs = outcome.cpuMs
        wallMs = outcome.wallMs

        guard verdict.isDone else {
            try judgeLoss(outcome)
            return
        }
        if violation != nil {
            status = .fail
        } else if let reason = verdict.skip {
            status = .skip
            why = reason
        } else if let check = rule.fromOutside, !isMasked {
            judge(check, outcome)
        }
        if status == .fail, weight == .should { status = .warn }
    }

    /// The probe ended before it said what it found.
    private mutating func judgeLoss(_ outcome: ProbeOutcome) throws(RunnerFailure) {
        guard outcome.crumb.isAttached || outcome.verdict != VerdictReader.Verdict() else {
            let how =
                switch outcome.end {
                case .exited(let status): "ended with status \(status)"
                case .signalled(let number): "was ended by \(ProbeCrumb.signalName(number))"
                case .expired: "did nothing"
                }
            let words = output.isEmpty ? "" : ": \(output.prefix(400))"
            throw RunnerFailure("the probe of \(rule) \(how) before it had begun\(words)")
        }
        place = outcome.crumb.place
        let at = place.isEmpty ? "" : " at \(place)"
        switch outcome.end {
        case .expired(.words):
            status = .noVerdict
            why = "it flooded the verdict pipe\(at)"
        case .expired(let limit):
            status = .hang
            why = limit == .cpu ? "its processor time was used up\(at)" : "it did not come back\(at)"
        case .signalled(let number) where number == SIGXCPU:
            status = .hang
            why = "its processor time was used up\(at)"
        case .signalled(let number):
            status = .crash
            why = outcome.crumb.hasCrashed ? outcome.crumb.sentence : "\(ProbeCrumb.signalName(number))\(at)"
        case .exited(let number):
            status = .noVerdict
            let parting = outcome.crumb.sentence.contains("()") ? " (\(outcome.crumb.sentence))" : ""
            why = "the process ended with status \(number)\(at)\(parting)"
        }
    }

    /// A rule about the process, which only its parent can judge.
    private mutating func judge(_ check: (Observation) throws -> Void, _ outcome: ProbeOutcome) {
        var observation = Observation()
        observation.strays = outcome.strays
        observation.standardOutput = outcome.standardOutput.text
        observation.standardError = outcome.standardError.text
        apply { try check(observation) }
    }

    /// Runs a check in this process, and takes what it throws.
    mutating func apply(_ check: () throws -> Void) {
        do {
            try check()
        } catch let found as Violation {
            status = weight == .should ? .warn : .fail
            violation = found
            place = found.place
        } catch let reason as NotApplicable {
            status = .skip
            why = reason.why
        } catch {
            status = weight == .should ? .warn : .fail
            violation = Violation("the check", expected: "an end", got: "\(error)")
        }
    }
}

extension Rule {
    /// What is asked of the process, when the probe itself found nothing.
    fileprivate var fromOutside: (@Sendable (Observation) throws -> Void)? {
        switch check {
        case .observed(let check), .watched(_, let check): check
        case .file, .probe: nil
        }
    }
}
