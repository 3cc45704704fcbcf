// The later programs, to which OpenSIPS forwards calls as a proxy: `[engine]` (or `[opensips]`) with a SIP port.
//
// Those answered everybody. vchost trusts the proxy of a private network without a password, where a container or a
// neighbour stands, and nobody on the public one; the warning names the key to change.

enum ProxiedTranslation {
    static let telephony = "telephony.sip"
    private static let privateNetworks = "127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"

    static func core(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        // The environment counted only where there was no file, and only for the program with gRPC services.
        let isBare = reading.file == nil
        func variables(_ names: String...) -> [String] { isBare ? names.map { "OPENSIPS_" + $0 } : [] }
        let section = reading.has("engine") ? "engine" : "opensips"
        let source = reading.source(of: section)
        draft.set(telephony, "plugin", Setting("TelephonySIP", from: source))
        draft.set(telephony, "host", reading.value(section, ["sip_ip"], variables("SIP_IP"), or: "0.0.0.0"))
        draft.set(telephony, "port", reading.number(section, ["sip_port"], variables("SIP_PORT"), or: "8089"))
        draft.set(telephony, "transports", Setting("udp", from: .historic(reading.dialect)))
        draft.set(telephony, "trusted_peers", Setting(privateNetworks, from: .historic(reading.dialect)))
        reading.warn(
            source,
            "calls are taken without a password from private networks only; another proxy is named by "
                + "VCHOST__TELEPHONY_SIP__TRUSTED_PEERS")
        events(section, variables("EVENT_IP"), variables("EVENT_PORT"), &reading)
        media(&reading, &draft, variables("RTP_BIND_IP"), variables("RTP_MIN_PORT"), variables("RTP_MAX_PORT"))
    }

    private static func events(
        _ section: String, _ address: [String], _ port: [String], _ reading: inout HistoricReading
    ) {
        _ = reading.value(section, ["event_ip"], address)
        guard let port = reading.value(section, ["event_port"], port) else { return }
        reading.warn(
            port.source,
            "event_port: calls come by SIP here, and the texts of this port were sent by nobody; it is not opened")
    }

    private static func media(
        _ reading: inout HistoricReading, _ draft: inout HistoricDraft, _ bind: [String], _ low: [String],
        _ high: [String]
    ) {
        let isGRPC = reading.dialect == .grpcServices
        let section = isGRPC ? "opensips" : reading.has("rtp") ? "rtp" : "RTP"
        let prefix = isGRPC ? "rtp_" : ""
        draft.set("media", "bind_address", reading.value(section, [prefix + "bind_ip"], bind))
        HistoricPorts.set(
            reading.number(section, [prefix + "min_port"], low, or: "35000"),
            reading.number(section, [prefix + "max_port"], high, or: "35100"), &reading, &draft)
        guard !isGRPC else { return }
        let advertised = reading.value("", [], ["RTP_HOST_IP", "EXTERNAL_RTP_IP", "HOST_IP"])
        draft.set("media", "advertised_address", advertised)
        if let ip = reading.value(section, ["ip"]) {
            reading.warn(
                ip.source,
                "[\(section)] ip was read by nothing; RTP_HOST_IP is the variable, "
                    + (advertised.map { "which says \($0.text)" }
                        ?? "or VCHOST__MEDIA__ADVERTISED_ADDRESS = \(ip.text)"))
        }
    }
}
