// The pure half of STTDeepgram: what is asked for, what is understood, and what an end means.

import DeepgramListen
import PluginKit
import Testing

@Suite("What a call asks of Deepgram")
struct ListenPlanTests {
    private func plan(
        _ language: String, rateHz: Int = 8000, _ change: (inout ListenSettings) -> Void = { _ in }
    ) -> ListenPlan {
        var settings = ListenSettings()
        settings.fluxLanguages = ["es", "de"]
        change(&settings)
        return ListenPlan(settings, language: language, rateHz: rateHz)
    }

    @Test(
        "The language chooses between Flux, its multilingual model and Nova",
        arguments: [
            ("en-US", "flux-general-en", "/v2/", ""), ("", "flux-general-en", "/v2/", ""),
            ("de-DE", "flux-general-multi", "/v2/", "language_hint=de"), ("tr", "nova-3", "/v1/", "language=tr&"),
            ("tr-TR", "nova-3", "/v1/", "language=tr&"), ("sv_SE", "nova-3", "/v1/", "language=sv&"),
        ])
    func language(language: String, model: String, path: String, part: String) {
        let plan = plan(language)
        #expect(plan.model == model)
        #expect(plan.url.hasPrefix("wss://api.deepgram.com\(path)listen?model=\(model)&"))
        #expect(part.isEmpty || plan.url.contains(part))
    }

    @Test("A model that is no Flux hears all calls, and the setting's language wins over the call's")
    func nova() {
        let plan = plan("tr") {
            $0.model = "nova-2-phonecall"
            $0.language = "en-GB"
            $0.keyterms = ["Acme"]
        }
        #expect(plan.interface == .nova)
        #expect(plan.url.contains("model=nova-2-phonecall&") && plan.url.contains("language=en-GB"))
        #expect(!plan.url.contains("keyterm"), "older models refuse it")
    }

    @Test("A telephone's rate goes as µ-law, the double as it is, and neither interface gets the other's parameters")
    func parameters() {
        let flux = plan("en") {
            $0.eagerThreshold = 0.4
            $0.endOfTurnThreshold = 0.75
            $0.keyterms = ["customer service", "Ağrı"]
        }
        #expect(
            flux.url
                == "wss://api.deepgram.com/v2/listen?model=flux-general-en&encoding=mulaw&sample_rate=8000"
                + "&eot_threshold=0.75&eager_eot_threshold=0.4&keyterm=customer%20service&keyterm=A%C4%9Fr%C4%B1")
        let nova = plan("tr", rateHz: 16000) { $0.url = "wss://api.eu.deepgram.com/" }
        #expect(
            nova.url
                == "wss://api.eu.deepgram.com/v1/listen?model=nova-3&encoding=linear16&sample_rate=16000&language=tr"
                + "&channels=1&interim_results=true&endpointing=300&utterance_end_ms=1000&punctuate=true")
    }

    @Test("An eager threshold is never above the other, which would be refused")
    func thresholds() {
        #expect(plan("en") { $0.eagerThreshold = 0.9 }.url.contains("eager_eot_threshold=0.7"))
    }
}

@Suite("Deepgram's messages")
struct ListenMessageTests {
    @Test("A turn is read with its words, and an event of tomorrow is an update")
    func turn() throws {
        let text = #"""
            {"type":"TurnInfo","request_id":"r","sequence_id":11,"event":"EndOfTurn","turn_index":3,
            "audio_window_start":0.0,"audio_window_end":1.7,"transcript":"Hello, you",
            "words":[{"word":"Hello,","confidence":0.96,"start":0.42,"end":0.8},{"word":"you","confidence":0.9}],
            "end_of_turn_confidence":0.86,"trigger":"model","languages":["en"]}
            """#
        guard case .turn(let turn)? = ListenMessage(text) else {
            Issue.record("not read")
            return
        }
        #expect((turn.event, turn.index, turn.end, turn.text) == (.end, 3, 1.7, "Hello, you"))
        #expect(turn.words.map(\.start) == [0.42, nil] && turn.endConfidence == 0.86 && turn.language == "en")
        guard case .turn(let other)? = ListenMessage(#"{"type":"TurnInfo","event":"Breath","transcript":"a"}"#) else {
            Issue.record("not read")
            return
        }
        #expect(other.event == .update && other.text == "a")
    }

    @Test("A result is read as it is punctuated")
    func results() {
        let text = #"""
            {"type":"Results","channel_index":[0,1],"start":1.5,"duration":0.5,"is_final":true,"speech_final":true,
            "from_finalize":false,"channel":{"alternatives":[{"transcript":"Saat kaç?","confidence":0.98,"languages":["tr"],
            "words":[{"word":"saat","punctuated_word":"Saat","start":1.5,"end":1.7,"confidence":0.9}]}]}}
            """#
        guard case .results(let results)? = ListenMessage(text) else {
            Issue.record("not read")
            return
        }
        #expect(results.text == "Saat kaç?" && results.words.map(\.text) == ["Saat"] && results.language == "tr")
        #expect(results.isFinal && results.endsSpeech && !results.fromFinalize)
    }

    @Test("Both shapes of an error keep the vendor's code")
    func errors() {
        #expect(
            ListenMessage(#"{"type":"Error","code":"INTERNAL_SERVER_ERROR","description":"oh"}"#)
                == .error(code: "INTERNAL_SERVER_ERROR", message: "oh"))
        #expect(
            ListenMessage(#"{"type":"Error","variant":"SchemaError","description":"","message":"no"}"#)
                == .error(code: "SchemaError", message: ""))
    }

    @Test("What is not known is passed over, and what is no message is none", arguments: ["", "[]", "<html>", "{}", "{"])
    func nonsense(text: String) {
        #expect(ListenMessage(text) == nil)
        #expect(ListenMessage(#"{"type":"Metadata","duration":1}"#) == .other("Metadata"))
    }
}

@Suite("The end of a connection to Deepgram")
struct ListenFailureTests {
    @Test("A refused key, a limit and a wrong parameter are told, and not tried again", arguments: [401, 402, 403, 400])
    func refused(status: Int) {
        let code: PluginError.Code = status == 401 || status == 403 ? .authentication : .vendor
        let failure = ListenFailure(
            closeCode: 0, reason: "", error: PluginError(code, "refused", protocolStatus: status))
        #expect(!failure.isWorthAnother)
        #expect(failure.error.protocolStatus == status && failure.error.vendor == "deepgram")
        #expect(failure.error.code == (code == .authentication ? .authentication : .configuration))
    }

    @Test("What broke off is worth another connection; what cannot be decoded is not")
    func closed() {
        let timeout = ListenFailure(closeCode: 1011, reason: "NET-0001: no audio", error: nil)
        #expect(timeout.isWorthAnother && timeout.error.vendorCode == "NET-0001" && timeout.error.code == .network)
        let wrong = ListenFailure(closeCode: 1008, reason: "DATA-0000", error: nil)
        #expect(!wrong.isWorthAnother && wrong.error.vendorCode == "DATA-0000" && wrong.error.code == .vendor)
        #expect(ListenFailure(code: "INTERNAL_SERVER_ERROR", message: "oh").isWorthAnother)
        #expect(!ListenFailure(code: "UNPARSABLE_CLIENT_MESSAGE", message: "what").isWorthAnother)
    }
}

@Suite("Samples for Deepgram")
struct SampleCodingTests {
    @Test("µ-law is that of the recommendation, at its ends and in between")
    func muLaw() {
        // ITU-T G.711, table 2a, with the samples in 16 bit.
        let coded = SampleCoding.bytes([0, -1, 32767, -32768, 1000, -1000, 132, 8031], .mulaw)
        #expect(coded == [0xff, 0x7f, 0x80, 0x00, 0xce, 0x4e, 0xef, 0xa0])
    }

    @Test("A telephone's own samples come out as they went in")
    func lossless() {
        for code in UInt8.min...UInt8.max where code != 0x7f {
            let inverted = Int(~code)
            let magnitude = (((inverted & 15) << 3) + 132) << (inverted >> 4 & 7)
            let sample = Int16(inverted & 0x80 != 0 ? 132 - magnitude : magnitude - 132)
            #expect(SampleCoding.bytes([sample], .mulaw) == [code])
        }
    }

    @Test("Linear samples are little-endian, and silence is silent in both")
    func linear() {
        #expect(SampleCoding.bytes([258, -2], .linear16) == [2, 1, 0xfe, 0xff])
        #expect(SampleCoding.silence(2, .linear16) == [0, 0, 0, 0])
        #expect(SampleCoding.silence(2, .mulaw) == SampleCoding.bytes([0, 0], .mulaw))
    }
}
