// ENT: the entry function, the first code of a plugin that a host calls.

import CConformance
import Glibc
import PluginABI
import Providers

let entryRules: [Rule] = [
    Rule(
        "VC-ENT-01", smoke: true, "The entry function answers VC_OK and gives a module.",
        because: "Without a module there is nothing to create a provider from.",
        passing: "*module = &the_module;  return VC_OK;",
        failing: "return VC_OK;        // and *module stays NULL",
        needs: ["VC-LOAD-01"],
        check: .probe { bench in try bench.enter() }),
    Rule(
        "VC-ENT-02", .basic, .must, "The entry function takes at most 50 ms of CPU time.",
        because: "It is called for every plugin of a directory, used or not.",
        passing: "*module = &the_module;",
        failing: "load_the_model();  *module = &the_module;",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            try bench.load()
            let began = vcc_process_cpu_ns()
            try bench.enter()
            let tookMs = (vcc_process_cpu_ns() - began) / 1_000_000
            guard tookMs <= 50 else { throw Violation("the entry", expected: "at most 50 ms", got: "\(tookMs) ms") }
        }),
    Rule(
        "VC-ENT-03", .basic, .must, "A second call of the entry function gives the same module.",
        because: "A conformance probe and a host may both be in the process.",
        passing: "static const vc_module module = {…};",
        failing: "vc_module *module = calloc(1, sizeof *module);",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            try bench.enter()
            let first = bench.module
            try bench.enter()
            guard first == bench.module else {
                throw Violation("the entry, twice", expected: "the same module", got: "another one")
            }
        }),
    Rule(
        "VC-ENT-04", .basic, .must, "The module and its providers are constant.",
        because: "The host read them once, when it loaded the plugin, and does not look again.",
        passing: "static const vc_provider provider = {…};",
        failing: "provider.open = fallback_open;        // when the vendor is down",
        needs: ["VC-LIFE-02"],
        check: .probe { bench in
            let table = try bench.table()
            let before = bytes(of: table, MemoryLayout<vc_provider>.size)
            let provider = try bench.provider()
            try provider.plainSession().exercise()
            try provider.end()
            guard before == bytes(of: table, MemoryLayout<vc_provider>.size) else {
                throw Violation("vc_provider after a whole life", expected: "as before", got: "other bytes")
            }
        }),
    Rule(
        "VC-ENT-05", .basic, .must, "The entry function starts no thread and opens nothing.",
        because: "It runs for a plugin that nobody has configured.",
        passing: "*module = &the_module;",
        failing: "pthread_create(&watcher, …);  *module = &the_module;",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            try bench.load()
            if let line = try changes(VCC_THREADS_LEFT | VCC_DESCRIPTORS, { try bench.enter() }).first {
                throw Violation("the entry", expected: "no thread and no descriptor", got: line)
            }
        }),
    Rule(
        "VC-ENT-07", .basic, .must, "A host of a later minor version is accepted.",
        because: "Minor versions only add; a plugin of today runs on next year's host.",
        passing: "if (host->minor < MINOR_THAT_I_NEED) return VC_E_UNSUPPORTED;",
        failing: "if (host->minor != VC_ABI_MINOR) return VC_E_UNSUPPORTED;",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            bench.host.pointee.minor = 999
            try bench.enter()
        }),
    Rule(
        "VC-ENT-08", .basic, .must, "A larger `vc_host` is accepted.",
        because: "A later host has more slots, and says so in `size`.",
        passing: "if (host->size < sizeof *host) return VC_E_UNSUPPORTED;",
        failing: "if (host->size != sizeof *host) return VC_E_UNSUPPORTED;",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            bench.growHost(by: 64)
            try bench.enter()
        }),
    Rule(
        "VC-ENT-09", .basic, .must, "The entry function gets by without any service.",
        because: "What a host offers is found out when a provider is created, and missed there, by name.",
        passing: "if (!host->service(VC_SERVICE_HTTP)) …        // in `create`",
        failing: "clock = host->service(VC_SERVICE_CLOCK);  started = clock->now_ns();",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            bench.world.hiddenServices = ["*"]
            try bench.enter()
        }),
    Rule(
        "VC-ENT-10", .basic, .must, smoke: true, "The module has the providers of the manifest, and no others.",
        because: "An operator configures what the manifest tells.",
        passing: ".kind = VC_STR(VC_KIND_TTS), .id = VC_STR(\"org.acme.tts\")        // as in the manifest",
        failing: ".provider_count = 2        // and one in the manifest",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            let module = try bench.enter()
            var found: Set<String> = []
            for index in 0..<Int(module.provider_count) {
                guard let provider = module.providers?[index]?.pointee else {
                    throw Violation("vc_module.providers[\(index)]", expected: "a provider", got: "NULL")
                }
                found.insert("\(benchString(provider.kind)) \(benchString(provider.id))")
            }
            let declared = Set((bench.subject.manifest?.providers ?? []).map { "\($0.kind) \($0.id)" })
            guard found == declared else {
                throw Violation(
                    "the module's providers", expected: declared.sorted().joined(separator: ", "),
                    got: found.sorted().joined(separator: ", "))
            }
        }),
    Rule(
        "VC-ENT-12", .basic, .must, "The entry function emits nothing.",
        because: "There is no provider yet from which an event could come.",
        passing: "emit(READY);        // from `start`",
        failing: "host->emit(0, &ready);  *module = &the_module;",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            try bench.enter()
            if let event = bench.world.events.first {
                throw Violation("the entry", expected: "no event", got: event.name)
            }
        }),
]

private func bytes(of pointer: UnsafePointer<vc_provider>, _ count: Int) -> [UInt8] {
    [UInt8](UnsafeRawBufferPointer(start: pointer, count: count))
}
