// ELF, continued: what the library holds, and what it calls.
//
// Names of functions are judged for C and C++ only. A Swift or Rust runtime refers to `abort`, `dlopen` or `exit` in
// branches that are never taken, and nobody who writes in those languages can help it; what such a plugin really does
// to the process, the group ENVI sees.

import PluginABI
import Providers

let moreFileRules: [Rule] = [
    linking(
        "VC-ELF-18", .must, "It exports no symbol that is unique in the process.",
        because: "The first version that was loaded keeps it; every later one works on the data of the first.",
        passing: "g++ -shared -Wl,--version-script=exports.map acme.cpp",
        failing: "template <class T> struct Registry { static inline T all; };        // exported"
    ) { details in
        guard let symbol = details.exports.first(where: { $0.binding == .unique }) else { return }
        throw Violation("the exported symbols", expected: "none with STB_GNU_UNIQUE", got: symbol.name)
    },
    Rule(
        "VC-ELF-19", .basic, .should, "It has no constructors of its own.",
        because: "They run when the host looks at the plugin, before anybody has configured it.",
        passing: "do it in `create`",
        failing: "__attribute__((constructor)) static void start(void) {…}",
        needs: ["VC-ELF-01"], skip: { languageCount($0) == nil ? "the runtime of its language has constructors" : nil },
        check: .file { subject in
            guard let most = languageCount(subject) else { return }
            let count = try ELFDetails(subject.bytes).initializers
            guard count > most else { return }
            throw Violation("DT_INIT_ARRAY", expected: "\(most) at most, the runtime's", got: "\(count)")
        }),
    calling(
        "VC-ELF-20", .must, "A plugin in C or C++ ends no process and unmaps no library.",
        because: "The process is the host's, or a worker's that serves other sessions too.",
        passing: "return VC_E_INTERNAL;",
        failing: "if (!memory) exit(1);",
        [
            "exit", "_Exit", "quick_exit", "dlclose", "execl", "execlp", "execle", "execv", "execve", "execvp",
            "execvpe",
        ]),
    calling(
        "VC-ELF-21", .should, "A plugin in C or C++ calls nothing that changes the process.",
        because: "Environment, signals, locale and umask are one for all plugins.",
        passing: "host->service(VC_SERVICE_LOG)",
        failing: "setenv(\"HTTPS_PROXY\", proxy, 1);",
        [
            "fork", "vfork", "system", "popen", "setenv", "putenv", "unsetenv", "clearenv", "signal", "sigaction",
            "atexit", "setlocale", "chdir", "umask", "printf", "puts", "putchar",
        ]),
    linking(
        "VC-ELF-22", .should, "It needs no library for HTTP, WebSocket or TLS.",
        because: "The host offers both, with its connections, limits and certificates; two OpenSSLs clash.",
        passing: "host->service(VC_SERVICE_HTTP)",
        failing: "cc -shared acme.c -lcurl -o acme.so"
    ) { details in
        let services = ["libcurl", "libssl.", "libcrypto.", "libgnutls", "libwebsockets", "libuv."]
        let own = details.needed.first { name in services.contains(where: name.hasPrefix) }
        guard let name = own else { return }
        throw Violation("DT_NEEDED", expected: "what the host does not offer", got: name)
    },
    linking(
        "VC-ELF-23", .should, "It has a build-id.",
        because: "It tells which build a crash report is of.",
        passing: "cc -shared -Wl,--build-id acme.c -o acme.so",
        failing: "cc -shared -Wl,--build-id=none acme.c -o acme.so"
    ) { details in
        guard details.buildID == nil else { return }
        throw Violation("the notes", expected: "NT_GNU_BUILD_ID", got: "none")
    },
    Rule(
        "VC-ELF-26", .basic, .must, "A Swift plugin shares the runtime if its manifest says so, and not otherwise.",
        because: "A shared runtime must be the host's version: the host asks the manifest before it loads the plugin.",
        passing: "\"stdlib\": \"static\"        // and swiftc -static-stdlib",
        failing: "\"stdlib\": \"static\"        // and libswiftCore.so among the needed libraries",
        needs: ["VC-ELF-01", "VC-PKG-24"],
        skip: { $0.manifest?.runtime.language == "swift" ? nil : "it is not written in Swift" },
        check: .file { subject in
            let isShared = try ELFDetails(subject.bytes).needed.contains { $0.hasPrefix("libswiftCore.so") }
            let declared = subject.manifest?.runtime.standardLibrary
            guard isShared != (declared == .shared) else { return }
            throw Violation(
                "runtime.stdlib",
                expected: isShared ? "shared: it needs libswiftCore.so" : "static: it needs no libswiftCore.so",
                got: "\"\(declared?.rawValue ?? "")\"")
        }),
    linking(
        "VC-ELF-27", .must, "No resolver of its own runs while it is bound.",
        because: "It runs before the library is relocated, when hardly anything may be called.",
        passing: "encode = has_avx2() ? encode_avx2 : encode_plain;        // in `create`",
        failing: "static void encode(void) __attribute__((ifunc(\"choose\")));"
    ) { details in
        let count = details.resolvers + details.exports.count { $0.sort == .indirectFunction }
        guard count > 0 else { return }
        throw Violation("the relocations", expected: "no IRELATIVE", got: "\(count)")
    },
    linking(
        "VC-ELF-28", .must, "It puts no library in the way of others.",
        because: "An auditor or a filter sees the calls of the whole process.",
        passing: "cc -shared acme.c -lacme -o acme.so",
        failing: "cc -shared acme.c -Wl,--audit=acme-trace.so -o acme.so"
    ) { details in
        guard let name = details.interposers.first else { return }
        throw Violation("the dynamic section", expected: "no DT_AUDIT, DT_FILTER or DT_AUXILIARY", got: name)
    },
    linking(
        "VC-ELF-29", .must, "It exports nothing but the entry function.",
        because: "A name that two plugins export is one function for both, in whichever order they were loaded.",
        passing: "cc -shared -Wl,--version-script=exports.map acme.c        // global: vc_plugin_entry_v1; local: *;",
        failing: "void init(void) {…}        // visible to everybody",
        needs: ["VC-ELF-01", "VC-ELF-02"]
    ) { details in
        let surplus = details.exports.first { symbol in
            symbol.name != VC_PLUGIN_ENTRY && symbol.binding != .unique
                && !linkersNames.contains(symbol.name)
        }
        guard let surplus else { return }
        throw Violation("the exported symbols", expected: "\(VC_PLUGIN_ENTRY) alone", got: "\(surplus.name) too")
    },
    linking(
        "VC-ELF-31", .must, "It names no program interpreter.",
        because: "It could be run as a program, with everything that the dynamic linker does for one.",
        passing: "cc -shared acme.c -o acme.so",
        failing: "const char interpreter[] __attribute__((section(\".interp\"))) = \"/lib64/ld-linux-x86-64.so.2\";"
    ) { details in
        guard let interpreter = details.interpreter else { return }
        throw Violation("PT_INTERP", expected: "none", got: interpreter)
    },
    Rule(
        "VC-ELF-32", .basic, .must, "No part of it is writable and executable at once.",
        because: "Whatever overruns a buffer could then write code.",
        passing: "cc -shared acme.c -o acme.so",
        failing: "cc -shared -Wl,--omagic acme.c -o acme.so",
        needs: ["VC-ELF-01"],
        check: .file { subject in
            let both = try ELFFile(subject.bytes).segments.contains { $0.type == 1 && $0.flags & 3 == 3 }
            guard both else { return }
            throw Violation("PT_LOAD", expected: "writable or executable", got: "both")
        }),
    linking(
        "VC-ELF-33", .should, "A plugin in Swift gets by without the whole of Foundation.",
        because: "Each worker loads it again, with its tables of languages; its essentials have JSON, dates and files.",
        passing: "import FoundationEssentials",
        failing: "import Foundation",
        skip: { $0.manifest?.runtime.language == "swift" ? nil : "it is not written in Swift" }
    ) { details in
        let heavy = ["libFoundation.so", "libFoundationNetworking.so", "libFoundationXML.so"]
        guard let name = details.needed.first(where: heavy.contains) else { return }
        throw Violation("DT_NEEDED", expected: "libFoundationEssentials.so at most", got: name)
    },
]

/// What linkers define in every library: the ends of its parts.
private let linkersNames: Set<String> = [
    "_end", "_edata", "__bss_start", "_init", "_fini", "_DYNAMIC", "_GLOBAL_OFFSET_TABLE_",
]

/// Initialisers that the language itself brings; nil where nobody can count them.
private func languageCount(_ subject: Subject) -> Int? {
    switch subject.manifest?.runtime.language {
    case "c": 1
    case "rust": 2
    default: nil
    }
}

private func calling(
    _ id: String, _ weight: Rule.Weight, _ sentence: String, because reason: String, passing: String, failing: String,
    _ names: Set<String>
) -> Rule {
    linking(
        id, weight, sentence, because: reason, passing: passing, failing: failing,
        skip: { ["c", "c++"].contains($0.manifest?.runtime.language ?? "") ? nil : "it is not written in C or C++" },
        check: { details in
            guard let name = details.imports.map(\.name).filter(names.contains).min() else { return }
            throw Violation("the imported symbols", expected: "none that is forbidden", got: name)
        })
}
