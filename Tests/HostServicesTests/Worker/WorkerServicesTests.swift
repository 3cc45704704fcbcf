import Glibc
import JSON
import PluginABI
import Providers
import Synchronization
import Testing

@testable import HostServices

/// A provider that uses every service from `start` on and tells in the log how it went; then it is READY.
private let source = """
    #include "vchost/vchost.h"
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    static const vc_host *host;
    static const vc_log *logs; static const vc_clock *clocks; static const vc_timer *timers; static const vc_config *configs;
    static const vc_secret *secrets; static const vc_metrics *metrics; static const vc_task *tasks; static const vc_http *http;
    static const vc_ws *ws;
    static vc_handle self_handle, posted, streamed, canceled, sock;
    static char web[200], socket_url[200];
    static uint64_t received, chunks;
    static void say(const char *text) {
        const vc_field f = { VC_STR("from"), VC_STR("worker") };
        logs->write(self_handle, VC_LOG_INFO, (vc_str){ text, strlen(text) }, &f, 1);
    }
    static void sayf(const char *format, uint64_t a, uint64_t b) {
        char text[200];
        snprintf(text, sizeof text, format, a, b);
        say(text);
    }
    static void ready(void) {
        const vc_event e = { .size = sizeof e, .type = VC_EVENT_READY };
        host->emit(self_handle, &e);
    }
    static void used(void *context, vc_str secret) {
        *(int *)context = secret.length == 21 && !memcmp(secret.data, "correct horse battery", 21);
    }
    // WebSocket: a message there and back, a close.
    static void opened(void *c, vc_handle s) { (void)c; sayf("ws sent %lld", (uint64_t)(int64_t)-ws->send(s, (vc_str)VC_STR("hello there"), 0), 0); }
    static void message(void *c, vc_handle s, vc_str bytes, uint32_t binary) {
        (void)c;
        sayf("ws got %llu bytes, binary %llu", bytes.length, binary);
        if (bytes.length == 11) {
            char *big = malloc(1 << 20);
            memset(big, 'x', 1 << 20);
            ws->send(s, (vc_str){ big, 1 << 20 }, 1);
            free(big);
        } else ws->close(s, 1000, (vc_str)VC_STR("done"));
    }
    static void writable(void *c, vc_handle s) { (void)c, (void)s; say("ws writable"); }
    static void closed(void *c, vc_handle s, uint32_t code, vc_str reason, const vc_error *e) {
        (void)c, (void)s, (void)reason;
        sayf("ws closed %llu, error %llu", code, e != NULL);
        ready();
    }
    static const vc_ws_events ws_events = { sizeof ws_events, 0, opened, message, writable, closed };
    // HTTP: a large body up, a large one down, one that is canceled.
    static void response(void *c, vc_handle r, uint32_t status, const vc_field *h, uint32_t n) {
        (void)c, (void)h;
        sayf("http status %llu, headers %llu", status, n > 0);
        if (r == canceled) http->cancel(r);
    }
    static void data(void *c, vc_handle r, vc_str bytes) {
        (void)c;
        if (r == canceled) say("data after cancel");
        received += bytes.length; chunks++;
    }
    static void done(void *c, vc_handle r, const vc_error *e);
    static const vc_http_events events = { sizeof events, 0, response, data, done };
    static vc_handle get(const char *path) {
        char url[300];
        snprintf(url, sizeof url, "%s%s", web, path);
        const vc_http_request q = { .size = sizeof q, .epoch = UINT64_MAX, .method = VC_STR("GET"), .url = { url, strlen(url) } };
        vc_handle r = 0;
        sayf("http start %lld", (uint64_t)(int64_t)-http->start(self_handle, &q, &events, NULL, &r), 0);
        return r;
    }
    static void done(void *c, vc_handle r, const vc_error *e) {
        (void)c;
        if (r == canceled) say("done after cancel");
        if (e) { char t[200]; snprintf(t, sizeof t, "http failed: %.*s", (int)e->message.length, e->message.data); say(t); }
        if (r == posted) {
            sayf("http echoed more than 3 MB: %llu", received > 3000000, 0);
            received = 0;
            streamed = get("/bytes?n=3000000");
        } else if (r == streamed) {
            sayf("http got %llu bytes, in parts: %llu", received, chunks > 3);
            canceled = get("/sse?count=50&ms=20");
            const vc_ws_connect q = { .size = sizeof q, .url = { socket_url, strlen(socket_url) } };
            sayf("ws connect %lld", (uint64_t)(int64_t)-ws->connect(self_handle, &q, &ws_events, NULL, &sock), 0);
        }
    }
    static void post(void) {
        const size_t count = 3 << 20;
        char *body = malloc(count), url[300];
        memset(body, 'a', count);
        snprintf(url, sizeof url, "%s/echo", web);
        const vc_field h = { VC_STR("authorization"), VC_STR("Bearer ${secret:API_KEY}") };
        const vc_http_request q = { .size = sizeof q, .epoch = UINT64_MAX, .method = VC_STR("POST"), .url = { url, strlen(url) },
            .headers = &h, .header_count = 1, .body = { body, count } };
        sayf("http start %lld", (uint64_t)(int64_t)-http->start(self_handle, &q, &events, NULL, &posted), 0);
        free(body);
    }
    static void worked(void *context) { (void)context; say("task ran"); post(); }
    static void fired(void *context, vc_handle timer) {
        (void)context, (void)timer;
        say("timer fired");
        tasks->run(self_handle, worked, NULL);
    }
    static vc_status start(vc_self self, vc_error *e) {
        (void)self, (void)e;
        int matches = 0;
        vc_str text; int64_t number; vc_handle metric, timer;
        sayf("config %lld, number %lld", (uint64_t)(int64_t)-configs->text(self_handle, "web", &text), 0);
        snprintf(web, sizeof web, "%.*s", (int)text.length, text.data);
        configs->text(self_handle, "socket", &text);
        snprintf(socket_url, sizeof socket_url, "%.*s", (int)text.length, text.data);
        configs->integer(self_handle, "number", &number);
        sayf("config number %llu", (uint64_t)number, 0);
        const vc_status known = secrets->with(self_handle, "API_KEY", used, &matches);
        sayf("secret %llu, matches %llu", (uint64_t)-known, (uint64_t)matches);
        sayf("secret unlisted %llu", (uint64_t)-secrets->with(self_handle, "OTHER", used, &matches), 0);
        sayf("metric %llu", (uint64_t)-metrics->define(self_handle, VC_METRIC_COUNTER, "worker_things_total", "Things.", &metric), 0);
        metrics->record(metric, 3);
        logs->write(self_handle, VC_LOG_DEBUG, (vc_str)VC_STR("a debug line"), NULL, 0);
        sayf("media there %llu, server there %llu", host->service(VC_SERVICE_MEDIA) != NULL, host->service(VC_SERVICE_SERVER) != NULL);
        timers->arm(self_handle, clocks->now_ns() + 5000000, fired, NULL, &timer);
        return VC_OK;
    }
    static vc_status create(const vc_create *r, vc_self *self, vc_error *e) {
        (void)e;
        self_handle = r->provider;
        logs = host->service(VC_SERVICE_LOG); clocks = host->service(VC_SERVICE_CLOCK); timers = host->service(VC_SERVICE_TIMER);
        configs = host->service(VC_SERVICE_CONFIG); secrets = host->service(VC_SERVICE_SECRET);
        metrics = host->service(VC_SERVICE_METRICS); tasks = host->service(VC_SERVICE_TASK);
        http = host->service(VC_SERVICE_HTTP); ws = host->service(VC_SERVICE_WS);
        *self = NULL;
        return VC_OK;
    }
    static void destroy(vc_self self) { (void)self; }
    static vc_status open_(vc_self p, const vc_open *r, vc_session *s, vc_error *e) {
        (void)p, (void)r, (void)s, (void)e;
        return VC_E_UNSUPPORTED;
    }
    static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR("vc.stt/1"), .id = VC_STR("org.test.services"),
        .create = create, .start = start, .destroy = destroy, .open = open_ };
    static const vc_provider *const providers[] = { &provider };
    static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
    VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
        host = the_host;
        *module = &module_;
        return VC_OK;
    }
    """

private let manifest = """
    {"manifest":1,"id":"org.test.services","version":"1.0.0","title":"Services from afar","license":"Apache-2.0",
    "abi":{"major":1,"minor":0,"hostMinorMin":0},"runtime":{"language":"c"},"secrets":["API_KEY"],
    "providers":[{"kind":"vc.stt/1","id":"org.test.services","capabilities":{"rates":[8000]},"timing":{"readyTimeoutMs":20000},
    "config":{"type":"object","additionalProperties":false,"properties":{"web":{"type":"string"},"socket":{"type":"string"},
    "number":{"type":"integer","default":42}}}}]}
    """

@Suite("Services in a worker") struct WorkerServicesTests {
    static let http = Peer("http_peer.py")
    static let socket = Peer("ws_peer.py")

    @Test("Log, settings, secrets, metrics, timers, tasks, HTTP and WebSockets work in a worker as in process",
        .timeLimit(.minutes(2)))
    func everything() throws {
        _ = Stage.services
        let instance = try running(settings: [
            "web": "http://127.0.0.1:\(Self.http.port)", "socket": "ws://127.0.0.1:\(Self.socket.port)/echo",
        ])
        // The last of it may still be on its way.
        func lines() -> [String] {
            Stage.log.split(separator: "\n").map(String.init).filter { $0.contains("org.test.services") || $0.contains("stt.services") }
        }
        for _ in 0..<200 where !lines().contains(where: { $0.contains("ws closed") }) { usleep(10_000) }
        let said = lines()
        for expected in [
            "config 0, number 0", "config number 42", "secret 0, matches 1", "secret unlisted 10", "metric 0", "a debug line",
            "media there 1, server there 0", "timer fired", "task ran", "http start 0", "http status 200, headers 1",
            "http echoed more than 3 MB: 1", "http got 3000000 bytes, in parts: 1", "ws connect 0", "ws sent 0",
            "ws got 11 bytes, binary 0", "ws got 1048576 bytes, binary 1", "ws closed 0, error 0",
        ] {
            #expect(said.contains { $0.contains(expected) }, "no line says \(expected): \(said)")
        }
        #expect(!said.contains { $0.contains("after cancel") || $0.contains("http failed") })
        #expect(said.contains { $0.contains("from=worker") })
        #expect(!Stage.log.contains("correct horse"))
        let text = Stage.services.metrics.exposition
        #expect(text.contains("vchost_plugin_worker_things_total{plugin=\"org.test.services\",name=\"stt.services\"} 3"))
        #expect(instance.faults.total == 0)
        #expect(instance.destroy())
    }

    private func running(settings: [String: String]) throws -> ProviderInstance {
        var template = Array("/var/tmp/vchost-worker-XXXXXX".utf8CString)
        let root = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
        mkdir(root + "/plugins.d", 0o755)
        let repository = "\(#filePath)".split(separator: "/").dropLast(4).reduce("") { $0 + "/" + $1 }
        let quoted = JSONValue.string(manifest.split(separator: "\n").joined()).text
        let file = fopen(root + "/services.c", "w")
        fputs(source + "\nVC_MANIFEST(\(quoted));\n", file)
        fclose(file)
        run(
            "cc", "-std=gnu11", "-Wall", "-Werror", "-Wno-format", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-I",
            repository + "/Sources/PluginABI/include", root + "/services.c", "-o", root + "/plugins.d/services.so")
        chmod(root + "/plugins.d/services.so", 0o755)
        let program = try #require(Self.program)
        let log = Quiet()
        let loader = try PluginLoader(
            cacheDirectory: root + "/cache", probe: PluginProbe(command: [program, "__probe"], deadlineMs: 20_000), log: log)
        let plugin = try #require(
            PluginRegistry(directory: root + "/plugins.d", loader: loader, log: log).plugin(named: "services"))
        var options = WorkerOptions()
        options.command = [program, "__worker"]
        options.handshakeMs = 20_000
        options.createMs = 10_000
        let declaration = plugin.manifest.providers[0]
        let instance = ProviderInstance(
            plugin: plugin, declaration: declaration, name: "stt.services",
            configuration: try declaration.configuration.apply(to: settings), isolation: .worker, workerOptions: options,
            log: log)
        try instance.create()
        try instance.start()
        try instance.waitUntilReady()
        return instance
    }

    /// The built `vchost`, which lies beside the tests.
    private static var program: String? {
        var path = [CChar](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        let tests = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let beside = tests.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/vchost"
        return access(beside, X_OK) == 0 ? beside : nil
    }
}

private struct Quiet: ProviderLog {
    func write(_ line: ProviderLogLine) {}
}
