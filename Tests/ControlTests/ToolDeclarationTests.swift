import Calls
import Testing

@testable import Control

@Suite("Tools that a configuration declares")
struct ToolDeclarationTests {
    private static let caller = CallIdentity(id: "c-1", profile: "desk", caller: "sip:ayşe\r\n@x", callee: "100")

    private func tool(_ text: String) -> ToolDeclaration {
        let configuration = Configuration(file: INIFile(parsing: "[tool.order]\n" + text, path: "x.ini"))
        return ToolDeclaration(configuration["tool.order"]!, in: configuration)
    }

    private func request(_ text: String, _ arguments: String) throws(ToolFailure) -> ToolDeclaration.Request {
        try tool(text).request(ToolCall(id: "1", name: "order", arguments: arguments), for: Self.caller)
    }

    @Test("Arguments that the address names go there, the rest into the body")
    func post() throws {
        let request = try request(
            "url = https://x/orders/{number}/notes?lang={lang}\nheaders = Authorization: Bearer ${secret:KEY}",
            #"{"number":"A 17/3","lang":"tr","note":"kapı çalışmıyor"}"#)
        #expect(request.method == "POST")
        #expect(request.url == "https://x/orders/A%2017%2F3/notes?lang=tr")
        #expect(request.headers == ["Authorization": "Bearer ${secret:KEY}", "Content-Type": "application/json"])
        #expect(String(decoding: request.body, as: UTF8.self) == #"{"note":"kapı çalışmıyor"}"#)
    }

    @Test("The arguments of a GET are its query")
    func get() throws {
        let request = try request("url = http://x/find?v=1\nmethod = GET", #"{"city":"İzmir","days":3}"#)
        #expect(request.url == "http://x/find?v=1&city=%C4%B0zmir&days=3")
        #expect(request.body.isEmpty && request.headers.isEmpty)
    }

    @Test("Words of a caller go into header fields of their own, without what could be another field")
    func context() throws {
        let request = try request("url = http://x/", "{}")
        #expect(request.context["VCHost-Caller"] == "sip:aye@x")
        #expect(request.context["VCHost-Call"] == "c-1")
        #expect(request.headers["VCHost-Caller"] == nil)
    }

    @Test("Arguments that cannot be are told to the model", arguments: [
        ("{}", "needs \"number\""), (#"{"number":".."}"#, "cannot be \"..\""), (#"{"number":""}"#, "cannot be"),
        ("[1]", "no JSON object"),
    ])
    func wrong(arguments: String, message: String) {
        let failure = #expect(throws: ToolFailure.self) {
            _ = try request(
                "url = http://x/{number}\nparameters = {\"type\":\"object\",\"required\":[\"number\"]}", arguments)
        }
        #expect(failure?.code == .arguments)
        #expect(failure?.message.contains(message) == true, "\(String(describing: failure))")
    }

    @Test("An answer with an error is a failure with its status and the beginning of its words")
    func answers() {
        let tool = tool("url = http://x/")
        #expect(tool.result(status: 200, body: Array("sunny".utf8)) == .json("sunny"))
        #expect(tool.result(status: 204, body: []) == .json(#"{"ok":true}"#))
        #expect(
            tool.result(status: 404, body: Array("no such order".utf8))
                == .failed(ToolFailure(.refused, "it answered with 404: no such order")))
    }

    @Test("A declaration that cannot work is refused with its line", arguments: [
        ("[tool.a b]\nurl = http://x/\ndescription = d", "letters, digits, _ and - only"),
        ("[tool.end_call]\nurl = http://x/\ndescription = d", "is a tool of the host itself"),
        ("[tool.a]\nurl = http://x/", "description is needed"),
        ("[tool.a]\ndescription = d", "url is needed"),
        ("[tool.a]\ndescription = d\nurl = http://{host}/", "the server cannot be an argument"),
        ("[tool.a]\ndescription = d\nurl = ftp://x/", "must begin with http"),
        ("[tool.a]\ndescription = d\nurl = http://x/\nheaders = nonsense", "is no header field"),
    ])
    func refused(text: String, message: String) {
        let configuration = Configuration(file: INIFile(parsing: text, path: "x.ini"))
        let problems = ConfigurationReview.problems(ofTools: configuration) { _ in nil }
        #expect(problems.count == 1 && problems[0].severity == .error && problems[0].source.place > 0)
        #expect(problems.first?.message.contains(message) == true, "\(problems)")
    }

    @Test("Parameters that are no JSON object, and tools that there are not, are refused")
    func values() {
        let configuration = Configuration(
            file: INIFile(
                parsing: "[tool.a]\nparameters = {\"type\":\n[profile.p]\ntools = end_cal, tool.a, tool.b", path: "x.ini"))
        #expect(configuration.problems.map(\.severity) == [.error])
        let problems = ConfigurationReview.problems(ofToolsIn: "profile.p", configuration)
        #expect(problems.map(\.message).filter { $0.contains("did you mean end_call?") }.count == 1)
        #expect(problems.count == 2)
    }

    @Test("A profile waits for each of its tools as long as that may take")
    func policy() {
        let configuration = Configuration(
            file: INIFile(
                parsing: """
                    [profile.p]
                    tools = end_call, tool.a
                    [tool.a]
                    timeout_ms = 700
                    result_bytes_max = 20000
                    """, path: "x.ini"))
        let policy = CallProfile(configuration["profile.p"]!, in: configuration).policy.tools
        #expect(policy.timeoutsMs == ["end_call": 1_000, "a": 700])
        #expect(policy.resultBytesMax == 20_000)
    }
}
