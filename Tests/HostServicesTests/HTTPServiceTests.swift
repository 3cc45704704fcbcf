import Glibc
import JSON
import PluginABI
import Providers
import Synchronization
import Testing

@testable import HostServices

@Suite("HTTP, against a real server")
struct HTTPServiceTests {
    static let peer = Peer("http_peer.py")
    let origin = "http://127.0.0.1:\(peer.port)"

    @Test("A request arrives as it was made, and its answer as the server gave it")
    func echo() {
        let owner = Stage.object()
        let answer = exchange(
            owner, "\(origin)/echo?q=1", method: "POST", body: "hello", headers: [("X-Test", "yes"), ("X-Empty", "")])
        #expect(answer.failure == nil && answer.status == 200)
        #expect(answer.headers["content-type"] == "application/json")
        let received = answer.json
        #expect(received["method"] == "POST" && received["path"] == "/echo?q=1" && received["body"] == "hello")
        #expect(received["headers"]?["x-test"] == "yes" && received["headers"]?["x-empty"] == "")
        #expect(received["headers"]?["expect"] == nil && received["headers"]?["content-type"] == nil)
        Stage.destroy(owner)
    }

    @Test("Every method is sent as named", arguments: ["GET", "POST", "PUT", "PATCH", "DELETE"])
    func methods(_ method: String) {
        let owner = Stage.object(plugin: "methods-\(method)")
        #expect(exchange(owner, "\(origin)/echo", method: method).json["method"] == .string(method))
        Stage.destroy(owner)
    }

    @Test("A HEAD request ends with its head")
    func head() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/echo", method: "HEAD")
        #expect(answer.failure == nil && answer.status == 200 && answer.body.isEmpty)
        Stage.destroy(owner)
    }

    @Test("A secret in a header is filled in, and one that the manifest does not list is refused")
    func secrets() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/echo", headers: [("Authorization", "Bearer ${secret:API_KEY}$")])
        #expect(answer.json["headers"]?["authorization"] == "Bearer correct horse battery$")
        let refused = startRequest(
            owner, "\(origin)/echo", into: AnswerRecorder(Answer()), headers: [("Authorization", "${secret:OTHER}")])
        #expect(refused.status == status(VC_E_ARGUMENT))
        #expect(Stage.log.contains("the secret OTHER is not in the manifest"))
        Stage.destroy(owner)
    }

    @Test("A line break in a header's value is refused, so that a value cannot become a header")
    func headerInjection() {
        let owner = Stage.object()
        for (name, value) in [("X-A", "a\r\nX-B: b"), ("X A", "a"), ("", "a"), ("X-A", "a\0b")] {
            let refused = startRequest(
                owner, "\(origin)/echo", into: AnswerRecorder(Answer()), headers: [(name, value)])
            #expect(refused.status == status(VC_E_ARGUMENT))
        }
        Stage.destroy(owner)
    }

    @Test(
        "URLs that are not absolute http are refused",
        arguments: ["", "/echo", "ftp://127.0.0.1/", "file:///etc/passwd", "http://a b/", "http://"])
    func badURLs(_ url: String) {
        let owner = Stage.object(plugin: "badURLs")
        #expect(startRequest(owner, url, into: AnswerRecorder(Answer())).status == status(VC_E_ARGUMENT))
        Stage.destroy(owner)
    }

    @Test(
        "A status of the vendor is an answer and no error, and Retry-After reaches the plugin",
        arguments: [429, 500, 503])
    func statuses(_ code: UInt32) {
        let owner = Stage.object(plugin: "statuses-\(code)")
        let answer = exchange(owner, "\(origin)/status/\(code)")
        #expect(answer.failure == nil && answer.status == code && answer.text.contains("as asked"))
        if code != 500 { #expect(answer.headers["retry-after"] == "7") }
        Stage.destroy(owner)
    }

    @Test("A redirect is not followed: the credential is for this origin only")
    func redirect() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/redirect")
        #expect(answer.status == 302 && answer.headers["location"] == "/echo" && answer.failure == nil)
        Stage.destroy(owner)
    }

    @Test("A server that stalls is given up at the deadline, with an error that names its origin and no query")
    func deadline() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/stall?token=hidden", deadlineMs: 150)
        #expect(answer.failure?.code == status(VC_E_TIMEOUT) && answer.failure?.isRetryable == true)
        #expect(answer.failure?.message.contains(origin) == true && answer.failure?.message.contains("hidden") == false)
        Stage.destroy(owner)
    }

    @Test("The limit for the first byte ends a request long before its deadline")
    func firstByte() {
        let owner = Stage.object()
        let begun = Monotonic.nowNs()
        let answer = exchange(owner, "\(origin)/stall", deadlineMs: 20_000, firstByteMs: 100)
        #expect(answer.failure?.code == status(VC_E_TIMEOUT))
        #expect(answer.failure?.message.contains("within 100 ms") == true)
        #expect(Monotonic.nowNs() - begun < 10_000_000_000)
        Stage.destroy(owner)
    }

    @Test("The limit for the first byte does not end an answer that began in time")
    func firstByteCame() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/sse?count=3&ms=100", firstByteMs: 150)
        #expect(answer.failure == nil && answer.latenciesNs.count == 3)
        Stage.destroy(owner)
    }

    @Test("An answer that breaks off is an error of the network, after its first part")
    func halfClose() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/half-close")
        #expect(answer.status == 200 && answer.text == "one piece.")
        #expect(answer.failure?.code == status(VC_E_NETWORK) && answer.failure?.protocolStatus == 200)
        Stage.destroy(owner)
    }

    @Test("An answer that stalls in its body is a timeout that keeps the status")
    func stallBody() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/stall-body", deadlineMs: 200)
        #expect(answer.text == "one piece." && answer.failure?.code == status(VC_E_TIMEOUT))
        #expect(answer.failure?.message.contains("was not complete") == true && answer.failure?.protocolStatus == 200)
        Stage.destroy(owner)
    }

    @Test("What is not HTTP is the vendor's error")
    func garbage() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/garbage")
        #expect(answer.failure?.code == status(VC_E_VENDOR))
        Stage.destroy(owner)
    }

    @Test("Too many headers end the request with the vendor's error")
    func hugeHeader() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/huge-header")
        #expect(answer.failure?.code == status(VC_E_VENDOR) && answer.failure?.message.contains("headers") == true)
        Stage.destroy(owner)
    }

    @Test("An answer beyond the bound ends with an error that says so")
    func tooLarge() {
        let owner = Stage.object()
        let answer = exchange(owner, "\(origin)/bytes?n=\(5 << 20)")
        #expect(answer.failure?.code == status(VC_E_VENDOR) && answer.failure?.message.contains("4194304") == true)
        #expect(answer.body.count <= 4 << 20)
        Stage.destroy(owner)
    }

    @Test("A port where nothing listens is an error that says what to do")
    func refused() {
        let owner = Stage.object()
        let answer = exchange(owner, "http://127.0.0.1:\(closedPort())/v1?key=hidden")
        #expect(answer.failure?.code == status(VC_E_NETWORK) && answer.failure?.isRetryable == true)
        #expect(answer.failure?.message.contains("start the server") == true)
        #expect(answer.failure?.message.contains("hidden") == false)
        Stage.destroy(owner)
    }

    @Test("A slow plugin gets all of a large answer, and no more than the bound waits for it")
    func backpressure() {
        let owner = Stage.object()
        let recorder = AnswerRecorder(Answer())
        startRequest(owner, "\(origin)/bytes?n=\(3 << 20)", into: recorder, onData: recordSlowly)
        #expect(recorder.wait { $0.isDone })
        #expect(recorder.state.failure == nil && recorder.state.body.count == 3 << 20)
        Stage.destroy(owner)
    }

    @Test("The 33rd request of an owner waits for one of the others")
    func limit() {
        let owner = Stage.object()
        let recorder = AnswerRecorder(Answer())
        var handles: [vc_handle] = []
        for _ in 0..<32 {
            let started = startRequest(owner, "\(origin)/stall", into: recorder)
            #expect(started.status == status(VC_OK))
            handles.append(started.handle)
        }
        #expect(startRequest(owner, "\(origin)/echo", into: recorder).status == status(VC_E_AGAIN))
        #expect(Stage.http.cancel(handles[0]) == status(VC_OK))
        #expect(Stage.http.cancel(handles[0]) == status(VC_E_STALE))
        #expect(exchange(owner, "\(origin)/echo").status == 200)
        Stage.destroy(owner)
    }

    @Test("200 requests after another share one connection")
    func keepAlive() {
        let owner = Stage.object()
        let peer = Peer("http_peer.py")
        let origin = "http://127.0.0.1:\(peer.port)"
        for _ in 0..<200 { #expect(exchange(owner, "\(origin)/echo").status == 200) }
        let counters = exchange(owner, "\(origin)/counters").json
        #expect(counters["connections"] == 1 && counters["requests"] == 201)
        Stage.destroy(owner)
    }

    @Test("A prewarmed connection is the one that the request uses")
    func prewarm() {
        let owner = Stage.object()
        let peer = Peer("http_peer.py")
        let origin = "http://127.0.0.1:\(peer.port)"
        lend("\(origin)/v1/chat") { Stage.http.prewarm(owner.handle, $0) }
        lend("\(origin)/v1/chat") { Stage.http.prewarm(owner.handle, $0) }
        sleep(milliseconds: 300)
        let counters = exchange(owner, "\(origin)/counters").json
        #expect(counters["connections"] == 1 && counters["requests"] == 2)
        Stage.destroy(owner)
    }

    @Test("https works where the certificate is trusted, and another name on it is refused")
    func secure() {
        let owner = Stage.object()
        let peer = Peer("http_peer.py", "--tls", Stage.certificate.path, Stage.certificate.keyPath)
        let answer = exchange(owner, "https://localhost:\(peer.port)/echo", method: "POST", body: "hidden")
        #expect(answer.failure == nil && answer.json["body"] == "hidden")
        let refused = exchange(owner, "https://127.0.0.1:\(peer.port)/echo")
        #expect(refused.failure?.code == status(VC_E_NETWORK) && refused.failure?.isRetryable == false)
        #expect(refused.failure?.message.contains("certificate") == true)
        Stage.destroy(owner)
    }

    @Test("The host's own machine is reached without the proxy of the environment")
    func loopbackWithoutProxy() throws {
        for url in [
            "http://127.0.0.1/", "http://127.8.9.10:80/", "http://localhost:8080/", "http://[::1]/",
            "http://a.localhost/",
        ] {
            #expect(try #require(Origin(of: url, schemes: ["http"])).isLoopback)
        }
        for url in ["http://127.0.0.1.example.com/", "http://128.0.0.1/", "http://localhost.example.com/"] {
            #expect(try #require(Origin(of: url, schemes: ["http"])).isLoopback == false)
        }
    }

    @Test("An error names the origin alone: no user, no password, no path")
    func originOfURL() throws {
        let origin = try #require(
            Origin(of: "https://user:password@API.example.com:443/v1?key=k#f", schemes: ["https"]))
        #expect("\(origin)" == "https://api.example.com")
    }
}

/// A port that was free a moment ago.
func closedPort() -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            _ = bind(descriptor, generic, length)
            _ = getsockname(descriptor, generic, &length)
        }
    }
    return UInt16(bigEndian: address.sin_port)
}

private func recordSlowly(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ bytes: vc_str) {
    if AnswerRecorder.of(context).state.chunks < 20 { sleep(milliseconds: 4) }
    recordData(context, request, bytes)
}
