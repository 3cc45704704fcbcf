// Who signs: the vectors are Twilio's own, and what is refused is what a forger would try.

import Testing
import TwilioWire

struct SignatureTests {
    static let form = "CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310&To=%2B18005551212"

    /// Whether a request to `path` of `origin` with this form and signature is Twilio's, whose token is 12345.
    private func isGood(
        _ signature: String, origin: String = "https://example.com", path: String = "/myapp.php",
        query: String = "foo=1&bar=2", form: String = Self.form, websocket: Bool = false,
        algorithm: tw_algorithm = TW_HMAC_SHA1, key: String = "12345"
    ) -> Bool {
        var place = tw_origin()
        guard lend(origin, { tw_origin_read($0, &place) }) else { return false }
        var bytes = form.utf8.map { CChar(bitPattern: $0) }
        var fields = [tw_field](repeating: tw_field(), count: 128)
        var scratch = [CChar](repeating: 0, count: Int(TW_SIGNED_TEXT_MAX))
        return bytes.withUnsafeMutableBufferPointer { bytes in
            let count = tw_form_read(bytes.baseAddress, bytes.count, &fields, 128)
            guard count >= 0 else { return false }
            return lend(path) { path in
                lend(query) { query in
                    lend(key) { key in
                        lend(signature) { signature in
                            tw_signature_is_good(
                                &place, websocket, path, query, &fields, count, algorithm, key, signature, &scratch)
                        }
                    }
                }
            }
        }
    }

    @Test("Twilio's own example is taken, by SHA-1 and by SHA-256")
    func example() {
        #expect(isGood("L/OH5YylLD5NRKLltdqwSvS0BnU="))
        #expect(isGood("qMztBq0IANMH/q0K9sCfKQJLylezvRdRzRS647SAVow=", algorithm: TW_HMAC_SHA256))
    }

    @Test("The order of the form and a field that came twice change nothing")
    func order() {
        let turned = Self.form.split(separator: "&").reversed().joined(separator: "&")
        #expect(isGood("L/OH5YylLD5NRKLltdqwSvS0BnU=", form: turned + "&Digits=1234"))
    }

    @Test("A stream is signed over its wss address, with or without a slash at its end, and with or without a port")
    func streams() {
        func isGoodStream(_ signature: String, origin: String = "https://bot.example.com") -> Bool {
            isGood(signature, origin: origin, path: "/twilio/media", query: "", form: "", websocket: true)
        }
        #expect(isGoodStream("xfHDfpT47+GGEe+HqDnVlPDvUCM="))
        #expect(isGoodStream("bnRxQT+F4sRiM1+2b4aDWxZW23U="))
        #expect(isGoodStream("xfHDfpT47+GGEe+HqDnVlPDvUCM=", origin: "https://bot.example.com:443/"))
        #expect(isGoodStream("xfHDfpT47+GGEe+HqDnVlPDvUCM=", origin: "https://user:word@bot.example.com:8443"))
        #expect(!isGoodStream("xfHDfpT47+GGEe+HqDnVlPDvUCM=", origin: "http://bot.example.com"))
        #expect(!isGoodStream("xfHDfpT47+GGEe+HqDnVlPDvUCM=", origin: "https://bot.example.org"))
    }

    @Test("What a forger would try is refused")
    func forged() {
        let good = "L/OH5YylLD5NRKLltdqwSvS0BnU="
        for signature in ["", "L/OH5YylLD5NRKLltdqwSvS0BnU", good + "=", good.lowercased()] {
            #expect(!isGood(signature), "\(signature)")
        }
        #expect(!isGood(good, path: "/other.php"))
        #expect(!isGood(good, query: "foo=1"))
        #expect(!isGood(good, form: Self.form + "&Digits=5"))
        #expect(!isGood(good, form: Self.form + "&Empty="))
        #expect(!isGood(good, key: "12346"))
        #expect(!isGood(good, algorithm: TW_HMAC_SHA256))
        #expect(!isGood(good, algorithm: TW_HMAC_UNKNOWN))
        // HMAC takes an empty key, and everybody knows it.
        #expect(!isGood("", key: ""))
    }

    @Test("The header names the algorithm and the key; one that is not known is not taken for SHA-1")
    func settings() {
        func read(_ header: String) -> (tw_algorithm, String) {
            lend(header) { header in
                let settings = tw_signature_settings_read(header)
                return (settings.algorithm, String(settings.key_id))
            }
        }
        #expect(read("") == (TW_HMAC_SHA1, ""))
        #expect(read("key=SK1,algorithm=HMAC_SHA256") == (TW_HMAC_SHA256, "SK1"))
        #expect(read(" algorithm = HMAC_SHA1 , key = K ") == (TW_HMAC_SHA1, "K"))
        #expect(read("algorithm=HMAC_MD5") == (TW_HMAC_UNKNOWN, ""))
        #expect(read(",,=,key") == (TW_HMAC_SHA1, ""))
    }

    @Test(
        "A public address that cannot work is refused",
        arguments: [
            "", "https://", "bot.example.com", "ftp://bot.example.com", "https://bot.example.com?x=1", "https://bot:port",
            "https://bot:0", "https://bot:70000", "https://b ot", "https:///path",
        ])
    func origins(_ url: String) {
        var origin = tw_origin()
        #expect(!lend(url) { tw_origin_read($0, &origin) })
    }

    @Test("Forms are decoded where they stand; broken ones are refused")
    func forms() {
        func read(_ form: String) -> [String]? {
            var bytes = form.utf8.map { CChar(bitPattern: $0) }
            var fields = [tw_field](repeating: tw_field(), count: 4)
            return bytes.withUnsafeMutableBufferPointer { bytes in
                let count = tw_form_read(bytes.baseAddress, bytes.count, &fields, 4)
                return count < 0 ? nil : fields.prefix(Int(count)).map { "\(String($0.name))=\(String($0.value))" }
            }
        }
        #expect(read("") == [])
        #expect(read("a=1+2%2B3&b&&=x&c=%c3%bc") == ["a=1 2+3", "b=", "=x", "c=ü"])
        for broken in ["a=%", "a=%2", "a=%2g", "%=1", "a=1&b=2&c=3&d=4&e=5"] { #expect(read(broken) == nil, "\(broken)") }
    }

    @Test("A form is written so that it is read again")
    func writtenForms() {
        var form = [CChar](repeating: 0, count: 64)
        func text(_ form: [CChar]) -> String { String(decoding: form.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) }
        let isTaken = lend("<a b=\"ü\"/>") { tw_form_append(&form, 64, "Twiml", $0) }
        #expect(isTaken && text(form) == "Twiml=%3Ca%20b%3D%22%C3%BC%22%2F%3E")
        #expect(lend("+1") { tw_form_append(&form, 64, "To", $0) })
        #expect(text(form).hasSuffix("&To=%2B1"))
        #expect(!lend(String(repeating: "+", count: 20)) { tw_form_append(&form, 64, "From", $0) }, "it does not fit")
        #expect(text(form).hasSuffix("&To=%2B1"), "and nothing is written")
    }
}
