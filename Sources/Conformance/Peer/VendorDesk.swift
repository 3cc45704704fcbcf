// The parent's end of the peer channel: a vendor, and, for a telephony plugin with its own sockets, the peer on the
// wire.

import JSON
import Synchronization

/// What answers one probe.
public final class VendorDesk: Sendable {
    /// Where the plugin is to listen; 0: the script has no signalling.
    public let pluginPort: Int
    public let peerPort: Int
    private let peer: Mutex<VendorPeer>
    private let signalling: SignallingPeer?

    /// Takes ports if the script needs some. Throws with the reason why there are none.
    public init(_ script: VendorScript) throws(ScriptError) {
        if script.hasSignalling {
            guard let port = SignallingPeer.freePort() else {
                throw ScriptError(file: VendorScript.fileName, path: "udp", problem: "no port on 127.0.0.1 is free")
            }
            let signalling = try SignallingPeer(script.dialogues, pluginPort: port)
            self.signalling = signalling
            pluginPort = port
            peerPort = signalling.port
        } else {
            signalling = nil
            pluginPort = 0
            peerPort = 0
        }
        let variables = ["plugin.port": String(pluginPort), "peer.port": String(peerPort)]
        peer = Mutex(VendorPeer(script, variables: variables))
    }

    /// Answers one line of the probe, without its line break.
    public func answer(_ line: String) -> String {
        if line.contains("\"udp-"), let question = try? JSONValue(parsing: line),
            let name = question["ask"]?.string, name.hasPrefix("udp-")
        {
            return answer(name, question).text
        }
        return peer.withLock { $0.answer(line) }
    }

    private func answer(_ name: String, _ question: JSONValue) -> JSONValue {
        guard let signalling else { return ["error": "the script has no `udp`"] }
        switch name {
        case "udp-run":
            let dialogue = question["dialogue"]?.string ?? ""
            guard let run = signalling.begin(dialogue) else {
                return ["error": .string("the script has no dialogue \"\(dialogue)\", or too many were begun")]
            }
            return ["run": .integer(Int64(run))]
        case "udp-state":
            guard let dialogue = signalling.dialogue(Int(question["run"]?.integer ?? 0)) else {
                return ["error": "there is no such run"]
            }
            var problem = ""
            if case .failed(let reason) = dialogue.state { problem = reason }
            return [
                "state": dialogue.state == .running ? "running" : dialogue.state == .passed ? "passed" : "failed",
                "step": .integer(Int64(dialogue.position)), "problem": .string(problem),
                "received": .array(dialogue.received.map { .string($0.text) }),
                "unexpected": .array(signalling.unexpected.map { .string($0) }),
            ]
        default: return ["error": .string("a peer is not asked \(name)")]
        }
    }

    /// What the vendor saw.
    public var seen: [VendorSighting] { peer.withLock { $0.seen } }

    /// Ends the thread of the signalling, if there is one.
    deinit { signalling?.stop() }
}
