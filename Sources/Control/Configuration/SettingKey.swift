// The keys of the host's own sections, each with its type, its default and one sentence. `config check` refuses by this
// list, `config show` prints it, and the readers below take their defaults from it, so the three cannot disagree.
// The keys of a provider's section come from the manifest of its plugin.

import HostServices
import JSON

/// What a key of the host may hold.
public struct SettingKey: Sendable {
    public enum Kind: Sendable, Equatable {
        case text
        case path
        case integer(ClosedRange<Int>)
        case flag
        case choice([String])
        /// Names separated by commas.
        case list
        /// A JSON object.
        case object
        /// A regular expression, or nothing.
        case pattern
        /// An address in digits and a port, or nothing.
        case address
    }

    public let name: String
    public let kind: Kind
    public let builtIn: String
    public let summary: String

    init(_ name: String, _ kind: Kind, _ builtIn: String, _ summary: String) {
        self.name = name
        self.kind = kind
        self.builtIn = builtIn
        self.summary = summary
    }

    /// Why `text` cannot be the key's value, or nil when it can.
    func objection(to text: String) -> String? {
        switch kind {
        case .text, .path, .list: nil
        case .object: Self.objection(toObject: text).map { "\(name) is no JSON object: \($0)" }
        case .pattern:
            (try? Regex(text)) != nil ? nil : "\(name) is \"\(text)\", which is no regular expression"
        case .address:
            text.isEmpty || ListenAddress(parsing: text) != nil
                ? nil
                : "\(name) is \"\(text)\"; write an address in digits and a port, 127.0.0.1:8080 or [::1]:8080"
        case .integer(let range):
            if let number = Int(text) {
                range.contains(number)
                    ? nil : "\(name) is \(number); it must be from \(range.lowerBound) to \(range.upperBound)"
            } else {
                "\(name) is \"\(text)\"; it must be a whole number"
            }
        case .flag: Self.flag(text) == nil ? "\(name) is \"\(text)\"; write yes or no" : nil
        case .choice(let choices):
            choices.contains(text) ? nil : "\(name) is \"\(text)\"; choose one of \(choices.joined(separator: ", "))"
        }
    }

    private static func objection(toObject text: String) -> String? {
        do throws(JSONSyntaxError) {
            return try JSONValue(parsing: text).object == nil ? "write { … }" : nil
        } catch {
            return error.description
        }
    }

    /// configparser's words for true and false, in any case.
    static func flag(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "1", "yes", "true", "on": true
        case "0", "no", "false", "off": false
        default: nil
        }
    }
}

extension SettingKey {
    /// Sections that the host itself reads, by their name or, with a final ".", by their prefix.
    static let sections: [(name: String, keys: [SettingKey])] = [
        ("vchost", host), ("media", media), ("server", server), ("profile.", profile), ("tool.", tool),
    ]

    /// The kinds of provider that a section can configure, by prefix.
    public static let providerKinds = ["telephony", "vad", "stt", "turn", "llm", "tts"]

    /// Keys that the host reads in every provider's section, beside those of the plugin.
    static let provider: [SettingKey] = [
        SettingKey("plugin", .text, "", "The plugin: a file of the plugin directory without .so, or a provider's id."),
        SettingKey(
            "isolation", .choice(["inprocess", "worker"]), "",
            "Where it runs; when empty, shipped plugins in the host's process and all others in one of their own."),
    ]

    static let host: [SettingKey] = [
        SettingKey("log_level", .choice(["debug", "info", "warning", "error"]), "info", "The least level logged."),
        SettingKey("log_format", .choice(["text", "json"]), "text", "Lines for people, or one JSON object a line."),
        SettingKey("calls_max", .integer(1...100_000), "500", "Calls at a time; more are declined with 503."),
        SettingKey("retry_after_s", .integer(0...3600), "5", "What a declined caller is told to wait."),
        SettingKey(
            "worker_memory_mib", .integer(0...1_048_576), "4096",
            "Address space of each worker; 0: no limit. A plugin that wants more ends alone."),
        SettingKey(
            "default_profile", .list, "",
            "The profile for calls that no `match` takes; of several, always the same for a number. Else the first."),
        SettingKey("plugin_cache", .path, "", "Where verified copies of plugins are kept; else under $XDG_CACHE_HOME."),
        SettingKey("events_socket", .path, "", "A Unix socket that tells of calls, one JSON object a line."),
        SettingKey("control_socket", .path, "", "A Unix socket for `vchost plugins list|reload|pardon --host`."),
        SettingKey("state", .path, "", "What is remembered of plugins; else $STATE_DIRECTORY, $XDG_STATE_HOME/vchost."),
        SettingKey("drain_timeout_s", .integer(1...86_400), "3600", "How long an old version of a plugin may serve."),
        SettingKey("clips", .path, "", "Rendered sentences, LANGUAGE/NAME.wav; tones for those missing."),
        SettingKey("recordings", .path, "", "A directory for two-sided recordings of all calls; none when empty."),
    ]

    static let media: [SettingKey] = [
        SettingKey("bind_address", .text, "0.0.0.0", "The address on which RTP is received."),
        SettingKey("advertised_address", .text, "", "The address written into SDP; else that of the default route."),
        SettingKey("port_min", .integer(1024...65534), "16384", "The first RTP port; pairs of RTP and RTCP."),
        SettingKey("port_max", .integer(1025...65535), "32766", "The last port."),
        SettingKey("threads", .integer(1...64), "1", "Media threads; one carries a thousand calls."),
        SettingKey("realtime", .flag, "yes", "Ask for real-time priority on media threads."),
    ]

    static let server: [SettingKey] = [
        SettingKey("listen", .address, "", "Where vendors that call us are let in; nowhere when empty."),
        SettingKey("connections_max", .integer(1...100_000), "2000", "Connections at a time; more are closed at once."),
        SettingKey("connections_per_address_max", .integer(1...100_000), "1000", "Of these, from one address."),
    ]

    static let tool: [SettingKey] = [
        SettingKey("description", .text, "", "What the language model is told that it does, and when to use it."),
        SettingKey(
            "parameters", .object, #"{"type":"object","properties":{}}"#,
            "Its arguments, as a JSON Schema of an object."),
        SettingKey(
            "url", .text, "", "Where it is called; {name} is replaced by that argument, and may not be the server."),
        SettingKey("method", .choice(["GET", "POST", "PUT", "PATCH", "DELETE"]), "POST", "How it is called."),
        SettingKey("headers", .text, "", "Header fields, one a line: Authorization: Bearer ${secret:NAME}."),
        SettingKey("timeout_ms", .integer(100...30_000), "5000", "The longest wait for its result."),
        SettingKey("result_bytes_max", .integer(100...65_536), "8192", "The largest result that the model is given."),
    ]

    static let profile: [SettingKey] = [
        SettingKey("match", .list, "", "Called numbers or names that this profile answers; * stands for anything."),
        SettingKey(
            "match_regex", .pattern, "",
            "Answers also those whose name or number, in small letters, begins with what this expression takes."),
        SettingKey("language", .text, "en", "BCP 47; chooses endings, backchannels and clips."),
        SettingKey("vad", .text, "", "The detector's section, \"vad.NAME\"; the built-in energy detector when empty."),
        SettingKey("stt", .list, "", "Recognisers in the order in which they are tried."),
        SettingKey("llm", .list, "", "Language models in the order in which they are asked."),
        SettingKey("tts", .list, "", "Voices in the order in which they are tried."),
        SettingKey(
            "voice", .list, "",
            "How they sound: a voice of the first, or tts.NAME: VOICE for each; their own sections' when empty."),
        SettingKey("turn", .text, "", "An end-of-turn detector, or none."),
        SettingKey(
            "tools", .list, "end_call",
            "What the language model may do: end_call, transfer_call, send_dtmf, and sections [tool.NAME]."),
        SettingKey(
            "transfer_to", .text, "", "Where transfer_call connects to; when empty, wherever the model says."),
        SettingKey("prompt", .text, "", "What the language model is told about its role."),
        SettingKey("greeting", .text, "", "What the agent says first; it waits for the caller when empty."),
        SettingKey("greeting_protected", .flag, "no", "Say the greeting to its end, whatever the caller does."),
        SettingKey("end_of_turn_ms", .integer(100...3000), "320", "Silence that ends a turn of complete words."),
        SettingKey("end_of_turn_max_ms", .integer(200...6000), "700", "Silence that ends any turn."),
        SettingKey("digits_ms", .integer(300...6000), "1500", "Silence that ends a turn in which digits are dictated."),
        SettingKey("early_start", .flag, "yes", "Ask the language model before the end of the turn is certain."),
        SettingKey("barge_in", .flag, "yes", "Whether the caller can interrupt the agent."),
        SettingKey("barge_in_ms", .integer(60...2000), "350", "Sound of this length interrupts without words."),
        SettingKey("resume_ms", .integer(200...5000), "800", "A false alarm lets the agent go on after this time."),
        SettingKey("no_input_ms", .integer(1000...120_000), "8000", "Silence before \"are you still there?\"."),
        SettingKey("bridge_ms", .integer(500...10_000), "1200", "Silence before \"one moment, please\"."),
        SettingKey("call_max_s", .integer(10...86_400), "3600", "The longest call."),
    ]
}
