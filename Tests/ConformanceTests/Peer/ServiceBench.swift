// What the tests of the services stand on: a clock that is turned by hand, a vendor in the same process, owners that can be
// ended, and a plugin that consists of callbacks.

import JSON
import PluginABI

@testable import Conformance

final class HandClock: BenchClock {
    private var entries: [(id: Int, atNs: UInt64, body: () -> Void)] = []
    private var latest = 0
    private(set) var nowNs: UInt64 = 1_000_000_000

    func schedule(atNs: UInt64, owner: vc_handle, _ body: @escaping () -> Void) -> Int {
        latest += 1
        entries.append((latest, atNs, body))
        return latest
    }

    func cancel(_ id: Int) { entries.removeAll { $0.id == id } }

    var pendingCount: Int { entries.count }

    func advance(ms: Int) {
        let end = nowNs + UInt64(ms) * 1_000_000
        while let next = entries.filter({ $0.atNs <= end }).min(by: { ($0.atNs, $0.id) < ($1.atNs, $1.id) }) {
            entries.removeAll { $0.id == next.id }
            nowNs = max(nowNs, next.atNs)
            next.body()
        }
        nowNs = end
    }
}

final class LocalLine: PeerLine {
    var peer: VendorPeer
    init(_ peer: VendorPeer) { self.peer = peer }
    func ask(_ line: String) -> String { peer.answer(line) }
}

final class HandOwners: ServiceOwners {
    var owners: [vc_handle: ServiceOwner] = [7: ServiceOwner(epoch: 1, isGone: false), 8: ServiceOwner(epoch: 1, isGone: false)]
    var listedSecrets: Set<String> = ["KEY", "UNSET"]
    var secrets = ["KEY": "s3cret"]
    func owner(_ handle: vc_handle) -> ServiceOwner? { owners[handle] }
    func call(_ place: String, _ body: () -> Void) { body() }
}

/// The services with a vendor, and everything that the plugin's callbacks heard.
final class ServiceBench {
    let clock = HandClock()
    let owners = HandOwners()
    let line: LocalLine
    let services: VendorServices
    let http = VendorServices.table(VC_SERVICE_HTTP)!.assumingMemoryBound(to: vc_http.self).pointee
    let ws = VendorServices.table(VC_SERVICE_WS)!.assumingMemoryBound(to: vc_ws.self).pointee
    /// "200", "data hello", "done", "failed -23 ...", "opened", "message ...", "writable", "closed 1000 ...".
    var heard: [String] = []
    /// Run within the callback that is named so.
    var onHeard: [String: () -> Void] = [:]

    init(_ script: String) throws {
        line = LocalLine(VendorPeer(try VendorScript(script)))
        services = VendorServices(clock: clock, line: line, owners: owners)
        VendorServices.current = services
    }

    var seen: [VendorSighting] { line.peer.seen }
    var breaches: [String] { services.serviceBreaches }
    var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    fileprivate func hear(_ what: String) {
        heard.append(what)
        let word = what.prefix { $0 != " " }
        onHeard[String(word)]?()
    }

    struct Request {
        var owner: vc_handle = 7
        var method = "POST"
        var url = "https://v/json"
        var headers: [(name: String, value: String)] = []
        var body = ""
        var epoch: UInt64 = 1
        var deadlineMs: UInt32 = 0
        var firstByteMs: UInt32 = 0
        var size = UInt32(MemoryLayout<vc_http_request>.size)
    }

    func start(_ change: (inout Request) -> Void = { _ in }) -> (status: vc_status, handle: vc_handle) {
        var wish = Request()
        change(&wish)
        var handle: vc_handle = 99
        var status: vc_status = 0
        var events = vc_http_events(
            size: UInt32(MemoryLayout<vc_http_events>.size), reserved: 0, response: hearResponse, data: hearData, done: hearDone)
        lendFields(wish.headers) { fields, count in
            lendBytes(Array(wish.method.utf8)) { method in
                lendBytes(Array(wish.url.utf8)) { url in
                    lendBytes(Array(wish.body.utf8)) { body in
                        var request = vc_http_request(
                            size: wish.size, deadline_ms: wish.deadlineMs, epoch: wish.epoch, method: method, url: url, headers: fields,
                            header_count: count, first_byte_ms: wish.firstByteMs, body: body)
                        status = http.start(wish.owner, &request, &events, context, &handle)
                    }
                }
            }
        }
        return (status, handle)
    }

    func connect(
        _ url: String = "wss://v/", owner: vc_handle = 7, protocols: String = "", headers: [(name: String, value: String)] = [],
        connectMs: UInt32 = 0, pingMs: UInt32 = 0
    ) -> (status: vc_status, handle: vc_handle) {
        var handle: vc_handle = 99
        var status: vc_status = 0
        var events = vc_ws_events(
            size: UInt32(MemoryLayout<vc_ws_events>.size), reserved: 0, opened: hearOpened, message: hearMessage, writable: hearWritable,
            closed: hearClosed)
        lendFields(headers) { fields, count in
            lendBytes(Array(url.utf8)) { url in
                lendBytes(Array(protocols.utf8)) { protocols in
                    var request = vc_ws_connect(
                        size: UInt32(MemoryLayout<vc_ws_connect>.size), connect_ms: connectMs, url: url, protocols: protocols,
                        headers: fields, header_count: count, ping_ms: pingMs)
                    status = ws.connect(owner, &request, &events, context, &handle)
                }
            }
        }
        return (status, handle)
    }

    func send(_ socket: vc_handle, _ bytes: [UInt8], isBinary: UInt32 = 1) -> vc_status {
        var status: vc_status = 0
        lendBytes(bytes) { status = ws.send(socket, $0, isBinary) }
        return status
    }

    func close(_ socket: vc_handle, _ code: UInt32 = 1000, _ reason: String = "") -> vc_status {
        var status: vc_status = 0
        lendBytes(Array(reason.utf8)) { status = ws.close(socket, code, $0) }
        return status
    }
}

private func bench(_ context: UnsafeMutableRawPointer?) -> ServiceBench {
    Unmanaged<ServiceBench>.fromOpaque(context!).takeUnretainedValue()
}

private func hearResponse(
    _ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ status: UInt32, _ headers: UnsafePointer<vc_field>?, _ count: UInt32
) {
    let fields = (0..<Int(count)).map { "\(benchString(headers![$0].name))=\(benchString(headers![$0].value))" }
    bench(context).hear("\(status) \(fields.joined(separator: ","))")
}

private func hearData(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ bytes: vc_str) {
    bench(context).hear("data \(benchString(bytes))")
}

private func hearDone(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ error: UnsafePointer<vc_error>?) {
    bench(context).hear(error.map { "failed \($0.pointee.code) \(benchString($0.pointee.message))" } ?? "done")
}

private func hearOpened(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) { bench(context).hear("opened") }

private func hearMessage(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ bytes: vc_str, _ isBinary: UInt32) {
    bench(context).hear(isBinary == 1 ? "message \(bytes.length) bytes" : "message \(benchString(bytes))")
}

private func hearWritable(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) { bench(context).hear("writable") }

private func hearClosed(
    _ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ code: UInt32, _ reason: vc_str, _ error: UnsafePointer<vc_error>?
) {
    let failure = error.map { " failed \($0.pointee.code) \(benchString($0.pointee.message))" } ?? ""
    bench(context).hear("closed \(code) \(benchString(reason))\(failure)")
}
