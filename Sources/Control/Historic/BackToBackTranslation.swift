// `[engine]`, `[opensips]` and `[rtp]` of the connector: OpenSIPS hands calls over by its MI and its events.

enum BackToBackTranslation {
    static let telephony = "telephony.opensips"

    static func core(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        draft.set(telephony, "plugin", Setting("TelephonyOpenSIPS", from: reading.source(of: "opensips")))
        draft.set(telephony, "mi_ip", reading.value("opensips", ["ip"], ["MI_IP"], or: "127.0.0.1"))
        draft.set(telephony, "mi_port", reading.number("opensips", ["port"], ["MI_PORT"], or: "8080"))
        draft.set(telephony, "event_ip", reading.value("engine", ["event_ip"], ["EVENT_IP"], or: "127.0.0.1"))
        draft.set(telephony, "event_port", reading.number("engine", ["event_port"], ["EVENT_PORT"], or: "0"))
        sessionFlags(reading, &draft)
        media(&reading, &draft)
        perCall(&reading, &draft)
    }

    /// What the script of that deployment gives `ua_session_server_init`: "rbh" where the connector had Vosk or
    /// SmartSpeech, and "drbh" in all others, which is the plugin's default. No old file says it, and it must be the
    /// script's: without `d` OpenSIPS acknowledges the answer to our own re-INVITE, and a second ACK would be ours.
    private static func sessionFlags(_ reading: HistoricReading, _ draft: inout HistoricDraft) {
        guard [.vosk, .smartSpeech].contains(reading.dialect) else { return }
        draft.set(telephony, "session_flags", Setting("rbh", from: .historic(reading.dialect)))
    }

    /// The connector's range without its last port, ours with it: one port more does no harm, and the number that the
    /// operator sees is the one that he wrote.
    private static func media(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        let section = reading.has("rtp") ? "rtp" : "RTP"
        draft.set("media", "bind_address", reading.value(section, ["bind_ip"], ["RTP_BIND_IP"]))
        draft.set("media", "advertised_address", reading.value(section, ["ip"], ["RTP_IP"]))
        HistoricPorts.set(
            reading.number(section, ["min_port"], ["RTP_MIN_PORT"], or: "35000"),
            reading.number(section, ["max_port"], ["RTP_MAX_PORT"], or: "65000"), &reading, &draft)
    }

    private static func perCall(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        if let url = reading.value("engine", ["api_url"], ["API_URL"]) {
            reading.warn(
                url.source,
                "api_url: vchost asks nobody how to answer a call; profiles are chosen by `match` and `match_regex`")
        }
        if let key = reading.value("engine", ["api_key"], ["API_KEY"]) {
            reading.warn(key.source, "api_key: there is no api_url to send it to")
        }
        guard let header = reading.value("engine", ["bot_header"], ["BOT_HEADER"]) else { return }
        let names = ["to": "To", "from": "From", "contact": "Contact"]
        if let name = names[header.text.lowercased()] {
            draft.set(telephony, "bot_header", header.map { _ in name })
        } else {
            reading.warn(header.source, "bot_header is \(header.text), which is none of To, From, Contact; To is taken")
        }
    }
}

/// Ports for RTP, as the old files give them and as the media engine takes them.
enum HistoricPorts {
    static func set(
        _ low: Setting?, _ high: Setting?, _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        guard let low, let high else { return }
        let range = low.whole(1024...65534)
        draft.set("media", "port_min", range)
        draft.set("media", "port_max", high.whole(1025...65535))
        let first = Int(range.text) ?? 0
        let ports = (Int(high.whole(1025...65535).text) ?? 0) - first + 1
        // A pair begins at an even port (RFC 3550, section 11).
        let calls = max(0, ports - first % 2) / 2
        if calls < 8 {
            reading.warn(
                high.source,
                "ports \(low.text) to \(high.text) hold \(calls) calls: each takes two, RTP and RTCP, "
                    + "where the connector took one")
        }
    }
}
