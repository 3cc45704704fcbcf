// The vendors of a run: for each plugin the scripts beside it, for each probe a vendor of its own, which knows nothing
// of the rule before.

import Glibc
import JSON
import Providers
import Synchronization

/// Plays the vendors out of `conform/`.
public final class VendorScripts: PeerSource {
    /// The folder of `--scripts`; nil: beside each plugin.
    private let directory: String?
    /// Vendors that were prepared and whose probe was not begun, by the job's nonce: the ports of signalling stand in
    /// the settings before the peer is asked for.
    private let desks = Mutex<[String: VendorDesk]>([:])

    /// - Parameter directory: Where the scripts are, if not beside the plugin.
    public init(directory: String? = nil) {
        // Probes have working directories of their own, in which a relative path is another folder.
        self.directory = directory.map { path in
            guard let whole = realpath(path, nil) else { return path }
            defer { free(whole) }
            return String(cString: whole)
        }
    }

    public func prepare(_ job: inout Job, for subject: Subject) throws(RunnerFailure) {
        if let file = fuzzFiles(of: subject, provider: job.provider).first(where: { $0.ruleId == job.rule }) {
            job.fuzz = file.played.json
        }
        guard let (folder, script) = script(of: subject, provider: job.provider) else { return }
        let scenario = script.scenarios.first { $0.ruleId == job.rule }
        let vendor = scenario?.vendor ?? script
        let desk: VendorDesk
        do throws(ScriptError) {
            desk = try VendorDesk(vendor)
        } catch {
            throw RunnerFailure("the vendor of \(job.provider) cannot be played: \(error)")
        }
        let settings = vendor.configuration(pluginPort: desk.pluginPort, peerPort: desk.peerPort)
        job.configuration = settings.merged(with: job.configuration)
        job.session = vendor.session.merged(with: job.session)
        job.secrets = vendor.secrets.merging(job.secrets) { _, given in given }
        job.scripts = VendorScript.absolute(folder)
        let nonce = job.nonce
        desks.withLock { $0[nonce] = desk }
    }

    public func peer(of job: Job, for subject: Subject) -> (any ProbePeer)? {
        desks.withLock { $0.removeValue(forKey: job.nonce) }.map { DeskPeer(desk: $0) }
    }

    public func ownRules(of subject: Subject, provider: String) -> [Rule] {
        (script(of: subject, provider: provider)?.script.scenarios.map(\.rule) ?? [])
            + fuzzFiles(of: subject, provider: provider).map(\.rule)
    }

    public func hasScript(of subject: Subject, provider: String) -> Bool {
        script(of: subject, provider: provider) != nil
    }

    /// What is wrong with the scripts of a plugin; nil: nothing, or it has none.
    public func problem(of subject: Subject) -> String? {
        guard let folder = VendorScript.find(besidePlugin: subject.path, directory: directory) else { return nil }
        for provider in subject.manifest?.providers ?? [] {
            do throws(ScriptError) {
                _ = try FuzzFile.all(scripts: VendorScript.folder(in: folder, provider: provider.id))
                _ = try VendorScript.load(directory: folder, provider: provider.id)
            } catch {
                return "\(folder)/\(error)"
            }
        }
        return nil
    }

    /// What fuzzing found once in the plugin. A file that cannot be read is `problem`'s affair.
    private func fuzzFiles(of subject: Subject, provider: String) -> [FuzzFile] {
        guard let folder = VendorScript.find(besidePlugin: subject.path, directory: directory) else { return [] }
        return (try? FuzzFile.all(scripts: VendorScript.folder(in: folder, provider: provider))) ?? []
    }

    private func script(of subject: Subject, provider: String) -> (folder: String, script: VendorScript)? {
        guard let folder = VendorScript.find(besidePlugin: subject.path, directory: directory),
            let script = try? VendorScript.load(directory: folder, provider: provider)
        else { return nil }
        return (folder, script)
    }
}

private struct DeskPeer: ProbePeer {
    let desk: VendorDesk
    mutating func answer(_ line: String) -> String? { desk.answer(line) }
}
