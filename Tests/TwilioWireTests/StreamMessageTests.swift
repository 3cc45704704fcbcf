// The hot path: what a stream says, read and written on plain buffers, and what of it is refused.

import Media
import Testing
import TwilioWire

struct StreamMessageTests {
    static let start = """
        {"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ2","callSid":"CA3",\
        "tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},\
        "customParameters":{"token":"s3cr3t","other":{"token":"no"}}},"streamSid":"MZ2"}
        """
    static let media = """
        {"event":"media","sequenceNumber":"3","media":{"track":"inbound","chunk":"1","timestamp":"5",\
        "payload":"//8A"},"streamSid":"MZ2"}
        """

    private func read<Result>(_ text: String, _ body: (tw_message?) throws -> Result) rethrows -> Result {
        try lend(text) { text in
            var message = tw_message()
            return try body(tw_message_read(text.at, text.length, &message) ? message : nil)
        }
    }

    @Test("A start tells whose stream it is, in which format, and its token")
    func startMessage() throws {
        try read(Self.start) { message in
            let message = try #require(message)
            #expect(message.event == TW_EVENT_START && message.sequence == 1)
            #expect(String(message.account_sid) == "AC1" && String(message.call_sid) == "CA3")
            #expect(String(message.stream_sid) == "MZ2" && String(message.token) == "s3cr3t")
            #expect(String(message.encoding) == "audio/x-mulaw" && message.rate_hz == 8_000 && message.channels == 1)
        }
    }

    @Test("Numbers are read as strings and as numbers, members in any order, and what is unknown is passed over")
    func tolerance() throws {
        try read(Self.media) { message in
            let message = try #require(message)
            #expect(message.event == TW_EVENT_MEDIA && message.sequence == 3)
            #expect(message.chunk == 1 && message.timestamp_ms == 5)
            #expect(String(message.payload) == "//8A" && String(message.track) == "inbound")
        }
        try read(
            """
             { "new" : [ { "event" : "stop" }, -1.5e3, true ], "streamSid" : "MZ" , "sequenceNumber" : 9,
               "mark" : { "name" : "m7" }, "event" : "mark" }\n
            """
        ) { message in
            let message = try #require(message)
            #expect(message.event == TW_EVENT_MARK && message.sequence == 9 && String(message.name) == "m7")
        }
        read(#"{"event":"later"}"#) { #expect($0?.event == TW_EVENT_UNKNOWN) }
        read(##"{"event":"dtmf","dtmf":{"track":"inbound_track","digit":"#"}}"##) {
            #expect($0.map { String($0.digit) } == "#")
        }
    }

    @Test(
        "What is no message is refused",
        arguments: [
            "", "{", "[]", "null", "\"event\"", "{}", #"{"event":1}"#, #"{"event":"media"}x"#, #"{"event":"media",}"#,
            #"{"event":"me\dia"}"#, "{\"event\":\"a\nb\"}", #"{"event":"\u12g4"}"#, #"{"event":01}"#, #"{event:"media"}"#,
            #"{"event":"media" "a":1}"#, #"{"event":"media","a":tru}"#, #"{"event":"media","a":-}"#,
            #"{"event":"media","a":1.}"#, #"{"event":"media","a":1e}"#, #"{"event":"media","a":"#, #"{"event":"\"#,
        ])
    func refused(_ text: String) { read(text) { #expect($0 == nil) } }

    @Test("Nesting is bounded, so that no message can use up the stack")
    func depth() {
        let deep = { (levels: Int) in
            #"{"event":"x","a":"# + String(repeating: "[", count: levels) + String(repeating: "]", count: levels) + "}"
        }
        read(deep(Int(TW_JSON_DEPTH_MAX) - 1)) { #expect($0 != nil) }
        read(deep(Int(TW_JSON_DEPTH_MAX))) { #expect($0 == nil) }
        read(deep(100_000)) { #expect($0 == nil) }
    }

    @Test("Garbage of every sort is read without reading past its end, and slices stay within the message")
    func garbage() {
        var chance = Chance(state: 7)
        for seed in [Self.start, Self.media, #"{"event":"stop","streamSid":"MZ","stop":{"callSid":"CA"}}"#] {
            for length in 0..<seed.utf8.count { read(String(seed.prefix(length))) { #expect($0 == nil) } }
            for _ in 0..<3_000 {
                var bytes = Array(seed.utf8)
                for _ in 0...chance.next(3) {
                    switch chance.next(3) {
                    case 0: bytes[chance.next(bytes.count)] = UInt8(chance.next(256))
                    case 1: bytes.remove(at: chance.next(bytes.count))
                    default: bytes.insert(Array("{}[]\",:\\0e-u".utf8)[chance.next(12)], at: chance.next(bytes.count))
                    }
                }
                lend(bytes) { text in
                    var message = tw_message()
                    guard tw_message_read(text.at, text.length, &message) else { return }
                    for slice in [message.payload, message.token, message.stream_sid, message.name, message.digit] {
                        guard let at = slice.at else { continue }
                        #expect(at >= text.at && at + slice.length <= text.at + text.length)
                    }
                    var samples = [UInt8](repeating: 0, count: 1_500)
                    _ = tw_base64_decode(message.payload, &samples, samples.count)
                }
            }
        }
    }

    @Test("Messages are written as they are read")
    func writing() throws {
        let audio: [UInt8] = [0xFF, 0xFF, 0x00]
        try lend("MZ2") { stream in
            let media = String(room: Int(TW_MESSAGE_ROOM)) { tw_write_media($0, stream, audio, 3) }
            #expect(media == #"{"event":"media","streamSid":"MZ2","media":{"payload":"//8A"}}"#)
            let mark = String(room: Int(TW_MESSAGE_ROOM)) { tw_write_mark($0, stream, "m1") }
            #expect(mark == #"{"event":"mark","streamSid":"MZ2","mark":{"name":"m1"}}"#)
            let clear = String(room: Int(TW_MESSAGE_ROOM)) { tw_write_clear($0, stream) }
            #expect(clear == #"{"event":"clear","streamSid":"MZ2"}"#)
            read(try #require(media)) { #expect($0.map { String($0.payload) } == "//8A") }
        }
    }

    @Test("The largest message fits into its room, and what is larger is refused")
    func room() {
        let audio = [UInt8](repeating: 1, count: Int(TW_MEDIA_BYTES_MAX) + 1)
        lend(String(repeating: "M", count: Int(TW_SID_MAX))) { stream in
            let largest = String(room: Int(TW_MESSAGE_ROOM)) { tw_write_media($0, stream, audio, audio.count - 1) }
            #expect((largest?.utf8.count ?? .max) <= Int(TW_MESSAGE_ROOM))
            #expect(String(room: 10_000) { tw_write_media($0, stream, audio, audio.count) } == nil)
        }
        lend(String(repeating: "M", count: Int(TW_SID_MAX) + 1)) { stream in
            #expect(String(room: 10_000) { tw_write_clear($0, stream) } == nil)
        }
    }

    @Test(
        "Base64 (RFC 4648, 10) both ways",
        arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")])
    func base64(_ plain: String, _ coded: String) {
        var out = [UInt8](repeating: 0, count: 16)
        let count = lend(coded) { tw_base64_decode($0, &out, 16) }
        #expect(count == Int32(plain.utf8.count) && Array(out.prefix(Int(count))) == Array(plain.utf8))
        #expect((String(room: 16) { tw_base64_encode(Array(plain.utf8), plain.utf8.count, $0) } ?? "") == coded)
    }

    @Test("Base64 that is broken, or too much, is refused; an escaped slash is a slash")
    func brokenBase64() {
        var out = [UInt8](repeating: 0, count: 6)
        for text in ["Z", "Zg", "Zg=", "Zg==Zg==", "=Zg=", "Z=g=", "Zm9v!", "Zm9\\v", "====", "Zm9vYmFyZm9v"] {
            #expect(lend(text) { tw_base64_decode($0, &out, 6) } == -1, "\(text)")
        }
        #expect(lend("\\/\\/8A") { tw_base64_decode($0, &out, 6) } == 3)
        #expect(out.prefix(3) == [0xFF, 0xFF, 0x00])
    }

    @Test("Mu-law is that of the media engine, for every code and every sample")
    func muLaw() {
        for code in UInt8.min...UInt8.max { #expect(tw_mulaw_decode(code) == G711.mu.decode(code)) }
        var differing = 0
        for sample in Int16.min...Int16.max where tw_mulaw_encode(sample) != G711.mu.encode(sample) { differing += 1 }
        #expect(differing == 0)
        for code in UInt8.min...UInt8.max where code != 0x7F { #expect(tw_mulaw_encode(tw_mulaw_decode(code)) == code) }
    }
}
