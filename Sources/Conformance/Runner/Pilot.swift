// One question before anything is judged, to a provider whose vendor is a server of its own.
//
// A plugin that asks its vendor through the host's services is answered by a script, or by the 404 of a vendor that has
// none. One that brings its own sockets, as gRPC does, asks the machine on which the rules run, where nobody listens
// until somebody starts a server and gives its address. Every rule about an answer would then blame the plugin for a
// connection that was refused. Nothing in a manifest says whose sockets a plugin uses, so it is tried: a question, no
// request to the host's services, and an ERROR that says the vendor was not there or did not know us. With settings of
// the operator's nothing is excused: who gives an address means it. A running host has settings too, those of the call,
// and a server that is down just now is no reason to refuse the plugin.

import PluginABI
import Providers

enum Pilot {
    /// Asks what the kind is asked in a call. Skipped with the plugin's words: there is nobody to answer.
    static let rule = Rule(
        "VC-PILOT-01", kinds: [.speechToText, .languageModel, .textToSpeech],
        "The provider's vendor can be reached.", because: "Without one there is no answer to judge.", needs: [],
        check: .probe { bench in
            guard let services = VendorServices.current else { return }
            let trial = try bench.provider().session().trial(services)
            let asked = services.callCount("http.start") + services.callCount("ws.connect")
            guard asked == 0, let failure = trial.failure, isAbsence(failure.code) else { return }
            throw NotApplicable(failure.message)
        })

    /// Whether it is worth asking: a provider that says it has a vendor, whom nobody here plays or names.
    static func concerns(_ subject: Subject, settings: RunSettings, peers: any PeerSource) -> Bool {
        guard let provider = subject.provider, let kind = provider.knownKind, rule.kinds.contains(kind),
            subject.manifest?.network.isEmpty == false,
            settings.excusesVendor || settings.configurations[provider.id] == nil
        else { return false }
        return !peers.hasScript(of: subject, provider: provider.id)
    }

    /// What a rule about answers says of a provider that has none.
    static func reason(_ provider: String, _ message: String) -> String {
        "its vendor was not reached, and it has sockets of its own, so that no script can play one: start a server and "
            + "give its address, --config FILE with {\"\(provider)\": {…}} (\(message))"
    }

    private static func isAbsence(_ code: vc_status) -> Bool {
        [VC_E_NETWORK, VC_E_AUTH, VC_E_TIMEOUT].contains(Int(code))
    }
}

extension Rule {
    /// Whether it cannot be kept without an answer of the vendor: what is said, when it may be said, and what of it
    /// stops when the caller interrupts.
    var judgesAnswers: Bool {
        ["STT", "TURN", "LLM", "TTS", "BP", "CAN"].contains(group)
            || ["VC-LIFE-14", "VC-LIFE-26", "VC-MEM-06", "VC-MEM-07"].contains(id)
    }
}
