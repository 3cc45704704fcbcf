// Calls through the back-to-back module of OpenSIPS, as its AI voice connectors have them: SIP is OpenSIPS' affair, the
// media is the host's, and between them go commands (MI) and events, both in datagrams of JSON.
//
// Where things are: `BackToBack` decides, as values under any clock; `SwitchboardThread` has the socket and the clock;
// this is the plugin as the host sees it, and its settings.
//
// OpenSIPS as a plain proxy in front of a SIP server needs nothing of this: that is TelephonySIP on its port (README).

import BackToBack
import Glibc
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(TelephonyOpenSIPS.self, host, module)
}

final class TelephonyOpenSIPS: SignallingTelephony {
    static let id = "org.vchost.telephony-opensips"

    let mailbox: TelephonyMailbox
    private let host: ProviderHost
    private let addresses: Addresses
    private let settings: SwitchboardSettings

    init(_ host: ProviderHost) throws(PluginError) {
        guard TelephonyMedia.isOffered else {
            throw PluginError(.unsupported, "this host offers no vc.media/1, without which there are no calls")
        }
        self.host = host
        mailbox = try TelephonyMailbox()
        let configuration = host.configuration
        addresses = Addresses(
            eventIP: configuration.text("event_ip") ?? "127.0.0.1", eventPort: configuration.integer("event_port") ?? 0,
            advertisedIP: configuration.text("event_advertised_ip") ?? "",
            managementHost: configuration.text("mi_ip") ?? "127.0.0.1",
            managementPort: configuration.integer("mi_port") ?? 8080,
            sources: (configuration.text("event_sources") ?? "").split(separator: ",").map {
                String($0.filter { $0 != " " })
            })
        try addresses.check()
        var settings = SwitchboardSettings()
        settings.management = "\(addresses.managementHost):\(addresses.managementPort)"
        settings.calleeHeader = configuration.text("bot_header") ?? "To"
        let flags = configuration.text("session_flags") ?? "drbh"
        settings.reportsACK = flags.contains("a")
        settings.leavesACK = flags.contains("d")
        settings.renewS = configuration.integer("renew_s") ?? 30
        settings.checkS = configuration.integer("check_s") ?? 30
        settings.callsMax = configuration.integer("calls_max") ?? 2000
        settings.outboundDomain = configuration.text("outbound_domain") ?? ""
        settings.outboundProxy = configuration.text("outbound_proxy") ?? ""
        settings.outboundSocket = configuration.text("outbound_socket") ?? ""
        settings.outboundUser = configuration.text("outbound_user") ?? "vchost"
        settings.commandPrefix = "vc" + String(UInt32.random(in: .min ... .max), radix: 16)
        self.settings = settings
    }

    deinit { mailbox.stop() }

    /// Binds the event port; the thread subscribes.
    func start() throws(PluginError) {
        let socket = try EventSocket(addresses)
        var settings = settings
        settings.eventSocket = "udp:\(addresses.announcedIP()):\(socket.port)"
        let thread = SwitchboardThread(host, mailbox, socket, addresses, settings)
        guard thread.start() else {
            throw PluginError(.memory, "the machine gives no thread: raise the limit of processes (ulimit -u)")
        }
    }
}
