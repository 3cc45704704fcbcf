// Every constant of the contract, as Swift sees it.
//
// The importer turns some C constants into other values than they have, or leaves them out without a word, so each is
// compared with the number from the header's text. A constant that is missing here fails the last test.

import Glibc
import PluginABI
import Testing

private let numbers: [(name: String, swift: Int, written: Int)] = [
    ("VC_OK", Int(VC_OK), 0),
    ("VC_E_AGAIN", Int(VC_E_AGAIN), -1),
    ("VC_E_CANCELED", Int(VC_E_CANCELED), -2),
    ("VC_E_STALE", Int(VC_E_STALE), -3),
    ("VC_E_CLOSED", Int(VC_E_CLOSED), -4),
    ("VC_E_ARGUMENT", Int(VC_E_ARGUMENT), -10),
    ("VC_E_STATE", Int(VC_E_STATE), -11),
    ("VC_E_UNSUPPORTED", Int(VC_E_UNSUPPORTED), -12),
    ("VC_E_NOT_FOUND", Int(VC_E_NOT_FOUND), -13),
    ("VC_E_CONFIG", Int(VC_E_CONFIG), -20),
    ("VC_E_AUTH", Int(VC_E_AUTH), -21),
    ("VC_E_QUOTA", Int(VC_E_QUOTA), -22),
    ("VC_E_NETWORK", Int(VC_E_NETWORK), -23),
    ("VC_E_TIMEOUT", Int(VC_E_TIMEOUT), -24),
    ("VC_E_VENDOR", Int(VC_E_VENDOR), -25),
    ("VC_E_MEMORY", Int(VC_E_MEMORY), -30),
    ("VC_E_CRASHED", Int(VC_E_CRASHED), -31),
    ("VC_E_INTERNAL", Int(VC_E_INTERNAL), -32),
    ("VC_ABI_MAJOR", Int(VC_ABI_MAJOR), 1),
    ("VC_ABI_MINOR", Int(VC_ABI_MINOR), 0),
    ("VC_FORMAT_S16", Int(VC_FORMAT_S16), 1),
    ("VC_FORMAT_PCMU", Int(VC_FORMAT_PCMU), 2),
    ("VC_FORMAT_PCMA", Int(VC_FORMAT_PCMA), 3),
    ("VC_FORMAT_F32", Int(VC_FORMAT_F32), 4),
    ("VC_FRAME_DISCONTINUITY", Int(VC_FRAME_DISCONTINUITY), 1),
    ("VC_FRAME_CONCEALED", Int(VC_FRAME_CONCEALED), 2),
    ("VC_FRAME_LAST", Int(VC_FRAME_LAST), 4),
    ("VC_EVENT_OPTIONAL", Int(VC_EVENT_OPTIONAL), 1),
    ("VC_EVENT_READY", Int(VC_EVENT_READY), 1),
    ("VC_EVENT_ERROR", Int(VC_EVENT_ERROR), 2),
    ("VC_EVENT_CANCELED", Int(VC_EVENT_CANCELED), 3),
    ("VC_EVENT_CLOSED", Int(VC_EVENT_CLOSED), 4),
    ("VC_EVENT_DRAINED", Int(VC_EVENT_DRAINED), 5),
    ("VC_EVENT_TELEPHONY", Int(VC_EVENT_TELEPHONY), 100),
    ("VC_EVENT_STT", Int(VC_EVENT_STT), 200),
    ("VC_EVENT_TURN", Int(VC_EVENT_TURN), 300),
    ("VC_EVENT_LLM", Int(VC_EVENT_LLM), 400),
    ("VC_EVENT_TTS", Int(VC_EVENT_TTS), 500),
    ("VC_LLM_SPECULATIVE", Int(VC_LLM_SPECULATIVE), 1),
    ("VC_EVENT_DELTA", Int(VC_EVENT_DELTA), 400),
    ("VC_EVENT_TOOL_CALL", Int(VC_EVENT_TOOL_CALL), 401),
    ("VC_EVENT_USAGE", Int(VC_EVENT_USAGE), 402),
    ("VC_EVENT_LLM_DONE", Int(VC_EVENT_LLM_DONE), 403),
    ("VC_LLM_STOP", Int(VC_LLM_STOP), 1),
    ("VC_LLM_LENGTH", Int(VC_LLM_LENGTH), 2),
    ("VC_LLM_TOOL", Int(VC_LLM_TOOL), 3),
    ("VC_LLM_CANCELED", Int(VC_LLM_CANCELED), 4),
    ("VC_LLM_DECLINED", Int(VC_LLM_DECLINED), 5),
    ("VC_STT_TENTATIVE", Int(VC_STT_TENTATIVE), 1),
    ("VC_EVENT_TRANSCRIPT", Int(VC_EVENT_TRANSCRIPT), 200),
    ("VC_EVENT_FINALIZED", Int(VC_EVENT_FINALIZED), 201),
    ("VC_EVENT_STT_TURN", Int(VC_EVENT_STT_TURN), 202),
    ("VC_STT_TURN_START", Int(VC_STT_TURN_START), 1),
    ("VC_STT_TURN_EAGER", Int(VC_STT_TURN_EAGER), 2),
    ("VC_STT_TURN_RESUMED", Int(VC_STT_TURN_RESUMED), 3),
    ("VC_STT_TURN_END", Int(VC_STT_TURN_END), 4),
    ("VC_CALL_INBOUND", Int(VC_CALL_INBOUND), 1),
    ("VC_CALL_OUTBOUND", Int(VC_CALL_OUTBOUND), 2),
    ("VC_EVENT_INCOMING", Int(VC_EVENT_INCOMING), 100),
    ("VC_EVENT_WITHDRAWN", Int(VC_EVENT_WITHDRAWN), 101),
    ("VC_EVENT_RINGING", Int(VC_EVENT_RINGING), 102),
    ("VC_EVENT_ANSWERED", Int(VC_EVENT_ANSWERED), 103),
    ("VC_EVENT_HANGUP", Int(VC_EVENT_HANGUP), 104),
    ("VC_EVENT_FRAME", Int(VC_EVENT_FRAME), 105),
    ("VC_EVENT_PLAYED", Int(VC_EVENT_PLAYED), 106),
    ("VC_EVENT_DTMF", Int(VC_EVENT_DTMF), 107),
    ("VC_EVENT_HELD", Int(VC_EVENT_HELD), 108),
    ("VC_EVENT_TRANSFERRED", Int(VC_EVENT_TRANSFERRED), 109),
    ("VC_HANGUP_CALLER", Int(VC_HANGUP_CALLER), 1),
    ("VC_HANGUP_AGENT", Int(VC_HANGUP_AGENT), 2),
    ("VC_HANGUP_CANCELED", Int(VC_HANGUP_CANCELED), 3),
    ("VC_HANGUP_REFUSED", Int(VC_HANGUP_REFUSED), 4),
    ("VC_HANGUP_NO_ANSWER", Int(VC_HANGUP_NO_ANSWER), 5),
    ("VC_HANGUP_FAILED", Int(VC_HANGUP_FAILED), 6),
    ("VC_TTS_LAST", Int(VC_TTS_LAST), 1),
    ("VC_EVENT_AUDIO", Int(VC_EVENT_AUDIO), 500),
    ("VC_EVENT_MARK", Int(VC_EVENT_MARK), 501),
    ("VC_EVENT_TTS_DONE", Int(VC_EVENT_TTS_DONE), 502),
    ("VC_TTS_COMPLETE", Int(VC_TTS_COMPLETE), 1),
    ("VC_TTS_CANCELED", Int(VC_TTS_CANCELED), 2),
    ("VC_EVENT_VERDICT", Int(VC_EVENT_VERDICT), 300),
    ("VC_VAD_ROW_RESET", Int(VC_VAD_ROW_RESET), 1),
    ("VC_LOG_DEBUG", Int(VC_LOG_DEBUG), 1),
    ("VC_LOG_INFO", Int(VC_LOG_INFO), 2),
    ("VC_LOG_WARNING", Int(VC_LOG_WARNING), 3),
    ("VC_LOG_ERROR", Int(VC_LOG_ERROR), 4),
    ("VC_LOG_HOST_FAULT", Int(VC_LOG_HOST_FAULT), 5),
    ("VC_LOG_PLUGIN_FAULT", Int(VC_LOG_PLUGIN_FAULT), 6),
    ("VC_METRIC_COUNTER", Int(VC_METRIC_COUNTER), 1),
    ("VC_METRIC_GAUGE", Int(VC_METRIC_GAUGE), 2),
    ("VC_METRIC_HISTOGRAM", Int(VC_METRIC_HISTOGRAM), 3),
]

private let texts: [(name: String, swift: String, written: String)] = [
    ("VC_KIND_LLM", VC_KIND_LLM, "vc.llm/1"),
    ("VC_KIND_STT", VC_KIND_STT, "vc.stt/1"),
    ("VC_KIND_TELEPHONY", VC_KIND_TELEPHONY, "vc.telephony/1"),
    ("VC_KIND_TTS", VC_KIND_TTS, "vc.tts/1"),
    ("VC_KIND_TURN", VC_KIND_TURN, "vc.turn/1"),
    ("VC_KIND_VAD", VC_KIND_VAD, "vc.vad/1"),
    ("VC_PLUGIN_ENTRY", VC_PLUGIN_ENTRY, "vc_plugin_entry_v1"),
    ("VC_MANIFEST_SECTION", VC_MANIFEST_SECTION, ".vchost.manifest"),
    ("VC_SERVICE_CLOCK", VC_SERVICE_CLOCK, "vc.clock/1"),
    ("VC_SERVICE_CONFIG", VC_SERVICE_CONFIG, "vc.config/1"),
    ("VC_SERVICE_HTTP", VC_SERVICE_HTTP, "vc.http/1"),
    ("VC_SERVICE_LOG", VC_SERVICE_LOG, "vc.log/1"),
    ("VC_SERVICE_MEDIA", VC_SERVICE_MEDIA, "vc.media/1"),
    ("VC_SERVICE_METRICS", VC_SERVICE_METRICS, "vc.metrics/1"),
    ("VC_SERVICE_SECRET", VC_SERVICE_SECRET, "vc.secret/1"),
    ("VC_SERVICE_SERVER", VC_SERVICE_SERVER, "vc.server/1"),
    ("VC_SERVICE_TASK", VC_SERVICE_TASK, "vc.task/1"),
    ("VC_SERVICE_TIMER", VC_SERVICE_TIMER, "vc.timer/1"),
    ("VC_SERVICE_TRACE", VC_SERVICE_TRACE, "vc.trace/1"),
    ("VC_SERVICE_WS", VC_SERVICE_WS, "vc.ws/1"),
]

@Test("Every number has in Swift the value that it has in C")
func numbersAreRight() {
    for number in numbers { #expect(number.swift == number.written, "\(number.name)") }
}

@Test("Every id has in Swift the text that it has in C")
func textsAreRight() {
    for text in texts { #expect(text.swift == text.written, "\(text.name)") }
}

@Test("No constant of the headers is missing in this list")
func listIsComplete() throws {
    let known = Set(numbers.map(\.name) + texts.map(\.name))
    let found = try Set(headers().flatMap { constants(in: $0) })
    #expect(found.subtracting(known).isEmpty)
    #expect(known.subtracting(found).isEmpty)
    #expect(found.count > 100)
}

/// The text of each header, without comments.
private func headers() throws -> [String] {
    var root = #filePath[...]
    for _ in 0..<3 { root = root[..<root.lastIndex(of: "/")!] }
    var found: [String] = []
    for folder in ["", "/kind", "/service"] {
        let path = root + "/Sources/PluginABI/include/vchost" + folder
        let handle = try #require(opendir(String(path)))
        defer { closedir(handle) }
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                String(cString: UnsafeRawPointer(pointer).assumingMemoryBound(to: CChar.self))
            }
            guard name.hasSuffix(".h") else { continue }
            let file = try #require(fopen("\(path)/\(name)", "r"))
            defer { fclose(file) }
            var bytes = [UInt8](repeating: 0, count: 1 << 16)
            found.append(String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self))
        }
    }
    return found
}

/// Members of an `enum`, and macros that are a number or a text.
private func constants(in text: String) -> [String] {
    var found: [String] = []
    var isEnum = false
    for line in text.split(separator: "\n") {
        let words = line.split(separator: " ")
        if line == "enum {" { isEnum = true }
        if line == "};" { isEnum = false }
        if isEnum, words.count > 2, words[1] == "=", words[0].hasPrefix("VC_") { found.append(String(words[0])) }
        if words.count > 2, words[0] == "#define", words[1].hasPrefix("VC_"), !words[1].contains("("),
            words[2].hasPrefix("\"") || Int(words[2]) != nil
        {
            found.append(String(words[1]))
        }
    }
    return found
}
