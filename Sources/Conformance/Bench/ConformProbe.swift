// The probe: a process that serves one rule and is thrown away.
//
// It reads its job, runs the rule's check and writes a verdict; what the verdict is worth, the runner decides. Nothing
// but `done` at the end counts as an end: a plugin that exits with status 0 has not passed.

import CConformance
import Glibc
import JSON
import Providers

public enum ConformProbe {
    /// The descriptors that the runner gives.
    public static let verdictDescriptor: Int32 = 3
    public static let pageDescriptor: Int32 = 4
    public static let peerDescriptor: Int32 = 5

    /// What `vchost __conform` does.
    public static func main() -> Never {
        guard let line = PeerWire.readLine(), let job = Job(line) else { _exit(64) }
        prepareProcess()
        let subject = Subject(reading: job)
        guard let rule = RuleBook.rule(job.rule) else { _exit(65) }
        let verdict = Verdict(nonce: job.nonce)
        if job.isMasked {
            verdict.done()
            _exit(0)
        }
        let bench = Bench(job: job, subject: subject)
        do {
            switch rule.check {
            case .probe(let check): try check(bench)
            case .observed: try observed(bench)
            case .file: preconditionFailure("\(rule.id) is checked by the runner")
            }
        } catch let violation as Violation {
            verdict.fail(violation)
        } catch let reason as NotApplicable {
            verdict.skip(reason.why)
        } catch {
            verdict.fail(Violation("the check", expected: "an end", got: "\(error)"))
        }
        for (name, value) in bench.notes { verdict.note(name, value) }
        verdict.done()
        _exit(0)
    }

    /// What is done for a rule that is judged from outside: a whole life with a plain use in it.
    private static func observed(_ bench: Bench) throws {
        let provider = try bench.provider()
        try provider.plainSession().exercise()
        try provider.end()
    }

    private static func prepareProcess() {
        _ = vcc_page_attach(pageDescriptor)
        _ = vcc_crash_install()
        Breadcrumbs.leave("the probe's start")
    }
}

/// Lines on the verdict pipe.
struct Verdict {
    let nonce: String

    func fail(_ violation: Violation) {
        write(
            "fail",
            [
                "what": .string(violation.what), "expected": .string(violation.expected),
                "got": .string(violation.got), "place": .string(violation.place),
            ])
    }
    func skip(_ why: String) { write("skip", ["why": .string(why)]) }
    func note(_ name: String, _ value: String) { write("note", ["name": .string(name), "value": .string(value)]) }
    func done() { write("done", nil) }

    private func write(_ word: String, _ value: JSONValue?) {
        var line = "\(nonce) \(word)" + (value.map { " " + $0.text } ?? "") + "\n"
        line.withUTF8 { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = Glibc.write(ConformProbe.verdictDescriptor, bytes.baseAddress! + sent, bytes.count - sent)
                if count < 0, errno != EINTR { return }
                sent += max(0, count)
            }
        }
    }
}

/// Lines of JSON to the runner, where the scripted vendor lives, and back.
enum PeerWire {
    nonisolated(unsafe) private static var buffer: [UInt8] = []

    static func readLine() -> String? {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeSubrange(...end)
                return line
            }
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = read(ConformProbe.peerDescriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            buffer.append(contentsOf: chunk[..<count])
        }
    }

    /// One line there and one back; empty when the runner is gone.
    static func ask(_ line: String) -> String {
        var text = line + "\n"
        let isSent = text.withUTF8 { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = write(ConformProbe.peerDescriptor, bytes.baseAddress! + sent, bytes.count - sent)
                if count < 0, errno != EINTR { return false }
                sent += max(0, count)
            }
            return true
        }
        return isSent ? readLine() ?? "" : ""
    }
}
