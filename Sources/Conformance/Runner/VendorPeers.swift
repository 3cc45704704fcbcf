// The scripted vendors, where the runner asks for them: found beside the plugin, read once, played anew for each probe.

import Providers
import Synchronization

/// Peers from the scripts in providers' folders.
public final class VendorPeers: PeerSource {
    private struct Key: Hashable {
        let plugin: String
        let provider: String
    }

    /// Of `--scripts`, for all plugins of the run; nil: beside each.
    private let directory: String?
    private let scripts = Mutex<[Key: VendorScript]>([:])

    public init(directory: String?) { self.directory = directory }

    public func check(_ subject: Subject) throws(PeerProblem) {
        for provider in subject.manifest?.providers ?? [] { _ = try script(subject, provider.id) }
    }

    public func peer(for subject: Subject, job: inout Job) throws(PeerProblem) -> (any ProbePeer)? {
        guard let script = try script(subject, job.provider) else { return nil }
        var signalling: SignallingPeer?
        if script.hasSignalling {
            guard let port = SignallingPeer.freePort() else { throw PeerProblem("127.0.0.1 has no free port") }
            do throws(ScriptError) {
                signalling = try SignallingPeer(script.dialogues, pluginPort: port)
            } catch {
                throw PeerProblem("\(script.directory): \(error)")
            }
        }
        job.configuration = script.configuration(
            pluginPort: signalling?.pluginPort ?? 0, peerPort: signalling?.port ?? 0)
        job.session = script.session
        job.secrets = script.secrets.merging(job.secrets) { $1 }
        job.scripts = script.directory
        return ScriptedPeer(VendorPeer(script), signalling)
    }

    private func script(_ subject: Subject, _ provider: String) throws(PeerProblem) -> VendorScript? {
        guard let folder = VendorScript.find(besidePlugin: subject.path, directory: directory) else { return nil }
        let key = Key(plugin: subject.path, provider: provider)
        if let known = scripts.withLock({ $0[key] }) { return known }
        do throws(ScriptError) {
            let script = try VendorScript.load(directory: folder, provider: provider)
            scripts.withLock { $0[key] = script }
            return script
        } catch {
            throw PeerProblem("\(folder): \(error)")
        }
    }
}

/// One vendor for one probe, with the socket of its signalling if it has any.
private final class ScriptedPeer: ProbePeer {
    private var vendor: VendorPeer
    private let signalling: SignallingPeer?

    init(_ vendor: VendorPeer, _ signalling: SignallingPeer?) {
        self.vendor = vendor
        self.signalling = signalling
    }

    deinit { signalling?.stop() }

    func answer(_ line: String) -> String? { vendor.answer(line) }
}
