import PluginABI
import Testing

@testable import Providers

/// As a service of 1.1 would be, of which 1.0 had the first slot only.
private struct Grown {
    var size = UInt32(MemoryLayout<Grown>.size)
    var reserved: UInt32 = 0
    var first: UInt64 = 0x1111
    var second: UInt64 = 0x2222
}

/// The contract of the headers, and two services that it will never have: so other tests, which run at the same time
/// in this process, see what they always see.
private let synthetic = ABIHistory(
    sizes: ABIHistory.headers.sizes.merging(["grown": [(0, 16), (1, 24)], "newer": [(1, 24)]]) { $1 },
    services: ABIHistory.headers.services.merging(["vc.grown/1": ("grown", 0), "vc.newer/1": ("newer", 1)]) { $1 })

@Suite("A host that plays an older minor version", .serialized) struct OlderMinorTests {
    private let table: UnsafeMutablePointer<Grown>

    init() {
        table = .allocate(capacity: 1)
        table.initialize(to: Grown())
    }

    @Test("A struct has the size of the newest version that is not younger than the one played")
    func sizes() {
        #expect(synthetic.bytes(of: "grown", in: 0) == 16)
        #expect(synthetic.bytes(of: "grown", in: 1) == 24)
        #expect(synthetic.bytes(of: "grown", in: 7) == 24)
        #expect(synthetic.bytes(of: "newer", in: 0) == nil)
        #expect(synthetic.bytes(of: "vc_frame", in: 0) == MemoryLayout<vc_frame>.size)
    }

    @Test("A table ends where it ended then, says so, and is empty behind it")
    func truncation() throws {
        let old = try #require(synthetic.service("vc.grown/1", table, in: 0)).load(as: Grown.self)
        #expect((old.size, old.first, old.second) == (16, 0x1111, 0))
        let present = synthetic.service("vc.grown/1", table, in: 1)
        #expect(present == UnsafeRawPointer(table), "the table itself, where nothing is hidden")
        #expect(table.pointee.second == 0x2222, "and the table is left as it was")
    }

    @Test("A service that came later is not there")
    func newerService() {
        #expect(synthetic.service("vc.newer/1", table, in: 0) == nil)
        #expect(synthetic.service("vc.newer/1", table, in: 1) != nil)
    }

    @Test("Plugins are given the older tables, the same ones each time, while the host plays")
    func wholeHost() throws {
        HostTable.register(service: "vc.grown/1", table: table)
        HostTable.register(service: "vc.newer/1", table: table)
        HostTable.play(minor: 0, of: synthetic)
        defer { HostTable.playItself() }
        let host = HostTable.pointer.pointee
        #expect((host.minor, host.size, HostTable.minor) == (0, 24, 0))
        let first = try #require(host.service("vc.grown/1"))
        #expect(first.load(as: UInt32.self) == 16)
        #expect(host.service("vc.grown/1") == first, "a table lives as long as the process")
        #expect(host.service("vc.newer/1") == nil)
        #expect(host.service("vc.nothing/1") == nil)
        #expect(sizeOnTheLine(vc_open.self) == 112)
    }

    @Test("What is handed to a slot has the size of the version that is played")
    func structs() {
        let shrunk = ABIHistory(
            sizes: ABIHistory.headers.sizes.merging(["Grown": [(0, 16), (1, 24)]]) { $1 },
            services: ABIHistory.headers.services)
        #expect(sizeOnTheLine(Grown.self) == 24)
        HostTable.play(minor: 0, of: shrunk)
        defer { HostTable.playItself() }
        #expect(sizeOnTheLine(Grown.self) == 16)
    }

    @Test("The history has every struct that the host hands over, as large as it is now")
    func headers() {
        for (name, bytes) in [
            ("vc_host", MemoryLayout<vc_host>.size), ("vc_create", MemoryLayout<vc_create>.size),
            ("vc_open", MemoryLayout<vc_open>.size), ("vc_session", MemoryLayout<vc_session>.size),
            ("vc_frame", MemoryLayout<vc_frame>.size), ("vc_error", MemoryLayout<vc_error>.size),
            ("vc_llm_request", MemoryLayout<vc_llm_request>.size), ("vc_vad_batch", MemoryLayout<vc_vad_batch>.size),
            ("vc_telephony_open", MemoryLayout<vc_telephony_open>.size), ("vc_log", MemoryLayout<vc_log>.size),
        ] {
            #expect(ABIHistory.headers.bytes(of: name, in: Int(VC_ABI_MINOR)) == bytes, "\(name)")
        }
        #expect(ABIHistory.headers.services.count == 12)
    }
}
