import JSON
import Synchronization
import Testing

@testable import HostServices

@Suite("Requests that the host makes for itself", .serialized)
struct HostRequestsTests {
    static let peer = Peer("http_peer.py")
    private let origin = "http://127.0.0.1:\(peer.port)"

    private func send(
        _ path: String, _ method: String = "POST", headers: [String: String] = [:], plain: [String: String] = [:],
        body: String = "", deadlineMs: Int = 3_000, bytesMax: Int = 65_536, secrets: [String] = []
    ) async -> Result<HostRequests.Answer, HostRequests.Failure> {
        _ = Stage.services
        let requests = HostRequests(name: "tool.test", secrets: secrets)
        let result = await withCheckedContinuation { continuation in
            requests.send(
                HostRequests.Request(
                    method, path.hasPrefix("/") ? origin + path : path, headers: headers, plainHeaders: plain,
                    body: Array(body.utf8), deadlineMs: deadlineMs, answerBytesMax: bytesMax)
            ) { continuation.resume(returning: $0) }
        }
        return withExtendedLifetime(requests) { result }
    }

    @Test("An answer is complete, with its status")
    func answer() async throws {
        let answer = try await send("/echo", plain: ["VCHost-Caller": "${secret:KEY}"], body: "hello").get()
        #expect(answer.status == 200)
        let text = String(decoding: answer.body, as: UTF8.self)
        #expect(text.contains("hello"))
        // What a caller says is no reference to a secret.
        #expect(text.contains("${secret:KEY}"))
        #expect(try await send("/status/404", "GET").get().status == 404)
    }

    @Test("Each way to fail is told apart")
    func failures() async {
        #expect(await send("nonsense") == .failure(.refused("the address is no absolute URL of http or https")))
        #expect(name(await send("/stall", deadlineMs: 200)) == "timeout")
        #expect(name(await send("/bytes?n=100000", "GET", bytesMax: 1_000)) == "tooLarge")
        #expect(name(await send("http://127.0.0.1:9/")) == "unreachable")
        #expect(name(await send("/echo", headers: ["X": "${secret:NOT_LISTED}"])) == "refused")
        #expect(name(await send("/echo", headers: ["A B": "x"])) == "refused")
    }

    private func name(_ result: Result<HostRequests.Answer, HostRequests.Failure>) -> String {
        switch result {
        case .success: "success"
        case .failure(let failure): String("\(failure)".prefix { $0 != "(" })
        }
    }
}
