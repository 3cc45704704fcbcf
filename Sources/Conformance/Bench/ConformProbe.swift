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
        if getenv(Nurseries.variable) != nil { nurse() }
        guard let line = PeerWire.readLine(), let job = Job(line) else { _exit(64) }
        // Now and not before: a job comes from the runner when it is the parent. If it went just then, its end of the
        // channel went with it.
        _ = vcc_die_with_parent()
        var channel = pollfd(fd: peerDescriptor, events: Int16(POLLIN), revents: 0)
        if poll(&channel, 1, 0) > 0, channel.revents & Int16(POLLHUP) != 0 { _exit(64) }
        prepareProcess()
        let subject = Subject(reading: job)
        guard
            let rule = RuleBook.rule(job.rule) ?? (job.rule == Pilot.rule.id ? Pilot.rule : nil)
                ?? OwnScenario.rule(job.rule, scripts: job.scripts, provider: job.provider)
                ?? FuzzCase.rule(of: job)
        else { _exit(65) }
        let verdict = Verdict(nonce: job.nonce)
        if job.isMasked {
            verdict.done()
            _exit(0)
        }
        let bench = Bench(job: job, subject: subject)
        do {
            switch rule.check {
            case .probe(let check), .watched(let check, _): try check(bench)
            case .observed: try observed(bench)
            case .file: preconditionFailure("\(rule.id) is checked by the runner")
            }
        } catch is Violation where job.excusesVendor && isAboutAnswers(rule) && hasAskedInVain(job) {
            verdict.skip("it asks a vendor, and has no script of one")
        } catch let violation as Violation {
            verdict.fail(withStrayRequest(violation, job))
        } catch let reason as NotApplicable {
            verdict.skip(reason.why)
        } catch {
            verdict.fail(Violation("the check", expected: "an end", got: "\(error)"))
        }
        for (name, value) in bench.notes { verdict.note(name, value) }
        // What was printed into a buffer is printed, before nobody looks any more.
        fflush(nil)
        if bench.endsByExit { exitInPeace(bench, verdict) }
        verdict.done()
        _exit(0)
    }

    /// Makes probes of this process, and returns in each of them.
    private static func nurse() {
        unsetenv(Nurseries.variable)
        // What every probe would make once more for itself.
        _ = RuleBook.rule("")
        _ = Job("{}")?.line
        vcc_nursery_serve(peerDescriptor)
    }

    /// What is done for a rule that is judged from outside: a whole life with a plain use in it.
    private static func observed(_ bench: Bench) throws {
        let provider = try bench.provider()
        try provider.plainSession().exercise()
        try provider.end()
    }

    /// Whether the rule is one of a kind of provider, which is what a vendor's answer decides.
    private static func isAboutAnswers(_ rule: Rule) -> Bool { ["STT", "TURN", "LLM", "TTS"].contains(rule.group) }

    private static func hasAskedInVain(_ job: Job) -> Bool {
        guard job.scripts.isEmpty, let services = VendorServices.current else { return false }
        return services.callCount("http.start") + services.callCount("ws.connect") > 0
    }

    /// Adds what the vendor's script did not know: the commonest cause of all, and hard to guess from what a plugin
    /// says of a status 404.
    private static func withStrayRequest(_ violation: Violation, _ job: Job) -> Violation {
        guard let services = VendorServices.current else { return violation }
        var violation = violation
        if hasAskedInVain(job) {
            violation.got += "; it asked a vendor, and has no script of one: a folder `conform` beside the plugin"
        }
        let stray = services.seen().first { $0.kind == .http && $0.entry.isEmpty && $0.fault == nil }
        guard let request = stray?.request else { return violation }
        violation.got += "; the vendor's script has no entry for \(request.method) \(request.url)"
        // As much as fits a line. Audio, which is no text, is left out.
        if (1...200).contains(request.body.count), let body = String(validating: request.body, as: UTF8.self) {
            violation.got += " with the body \(body)"
        }
        return violation
    }

    private static func prepareProcess() {
        _ = vcc_page_attach(pageDescriptor)
        _ = vcc_crash_install()
        atexit(judgeExit)
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
    /// Bytes at its beginning that hold no end of a line: an answer of two minutes of audio comes in a hundred pieces.
    nonisolated(unsafe) private static var searched = 0

    static func readLine() -> String? {
        while true {
            if let end = lineEnd() {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeSubrange(...end)
                searched = 0
                return line
            }
            searched = buffer.count
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = read(ConformProbe.peerDescriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            buffer.append(contentsOf: chunk[..<count])
        }
    }

    private static func lineEnd() -> Int? {
        buffer.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, searched < bytes.count else { return nil }
            return memchr(base + searched, 10, bytes.count - searched).map { UnsafeRawPointer($0) - base }
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
