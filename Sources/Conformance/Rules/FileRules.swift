// ELF: what the file says to the dynamic linker, before any of its code runs.
//
// Some of these a host would find out by loading it, but then it is too late for an answer: a missing symbol is one
// message in the journal, a constructor has run, an executable stack stays for the life of the process. The numbers of
// what an innocent plugin brings along (initialisers, names that the linker adds) were measured on gcc 12, rustc 1.63
// and Swift 6.3 on Debian 12.

import Glibc
import PluginABI
import Providers

let fileRules: [Rule] = [
    Rule(
        "VC-ELF-01", smoke: true, "The file is a whole shared library for this machine.",
        because: "The dynamic linker trusts what it maps: a damaged file ends the process that loads it.",
        passing: "cc -shared -fPIC acme.c -o acme.so",
        failing: "head -c 20000 acme.so >plugins.d/acme.so",
        needs: [],
        check: .file { subject in
            do throws(ELFError) {
                _ = try ELFDetails(subject.bytes)
            } catch {
                throw Violation("the file", expected: "an ELF shared library", got: Subject.words(error))
            }
        }),
    linking(
        "VC-ELF-02", .must, smoke: true, "The library exports the entry function.",
        because: "It is the only name that the host looks for.",
        passing: "VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module)",
        failing: "vc_status vc_plugin_entry_v1(…)        // compiled with -fvisibility=hidden"
    ) { details in
        let isThere = details.exports.contains {
            $0.name == VC_PLUGIN_ENTRY && ($0.sort == .function || $0.sort == .indirectFunction)
        }
        guard !isThere else { return }
        throw Violation("the exported symbols", expected: "the function \(VC_PLUGIN_ENTRY)", got: "none of that name")
    },
    linking(
        "VC-ELF-06", .must, smoke: true, "Every symbol is defined by the library itself or by one that it needs.",
        because: "The host exports nothing: what is missing in the file is missing in the call.",
        passing: "cc -shared -Wl,-z,defs acme.c -lacme -o acme.so",
        failing: "cc -shared acme.c -o acme.so        # acme.c calls a function of libacme"
    ) { details in
        guard let names = LibraryScope.undefined(details) else {
            throw NotApplicable("a library that it needs is not on this machine")
        }
        guard let first = names.first else { return }
        let others = names.count > 1 ? " and \(names.count - 1) others" : ""
        throw Violation("the undefined symbols", expected: "each in a needed library", got: first + others)
    },
    linking(
        "VC-ELF-07", .should, "Every symbol is bound when the library is loaded.",
        because: "vchost binds everything itself; another program that loads it would miss a symbol in mid-call.",
        passing: "cc -shared -Wl,-z,now acme.c -o acme.so",
        failing: "cc -shared -Wl,-z,lazy acme.c -o acme.so"
    ) { details in
        guard !details.bindsNow else { return }
        throw Violation("DT_FLAGS", expected: "BIND_NOW", got: "lazy binding")
    },
    linking(
        "VC-ELF-08", .should, "The library asks never to be unmapped.",
        because: "Threads, destructors of threads and exit handlers still point into it when the last session is gone.",
        passing: "cc -shared -Wl,-z,nodelete acme.c -o acme.so",
        failing: "cc -shared acme.c -o acme.so"
    ) { details in
        guard !details.isNeverUnmapped else { return }
        throw Violation("DT_FLAGS_1", expected: "NODELETE", got: "none")
    },
    linking(
        "VC-ELF-09", .must, "Its thread-local variables are not in the static block.",
        because: "The block has room for a few libraries; after the fourth version in one process nothing loads.",
        passing: "cc -fPIC acme.c        # the compiler's own choice",
        failing: "cc -fPIC -ftls-model=initial-exec acme.c"
    ) { details in
        guard details.needsStaticTLS else { return }
        throw Violation("DT_FLAGS", expected: "no STATIC_TLS", got: "STATIC_TLS")
    },
    linking(
        "VC-ELF-10", .must, "Its code needs no relocation.",
        because: "The linker would make the code writable, and each process would have a copy of it.",
        passing: "cc -shared -fPIC acme.c -o acme.so",
        failing: "cc -shared -Wl,-z,notext acme.s -o acme.so        # an absolute address in the code"
    ) { details in
        guard details.hasTextRelocations else { return }
        throw Violation("the dynamic section", expected: "no DT_TEXTREL", got: "relocations in the code")
    },
    linking(
        "VC-ELF-11", .must, "It needs no executable stack.",
        because: "Loading it makes the stacks of the whole process executable, for good.",
        passing: ".section .note.GNU-stack,\"\",@progbits        # at the end of each assembler source",
        failing: "cc -shared -Wl,-z,execstack acme.c -o acme.so"
    ) { details in
        guard details.wantsExecutableStack else { return }
        throw Violation("PT_GNU_STACK", expected: "readable and writable", got: "executable, or none")
    },
    linking(
        "VC-ELF-12", .should, "What was bound is made read-only.",
        because: "A stray write then ends in the worker that made it, and not in a call of somebody else's function.",
        passing: "cc -shared -Wl,-z,now,-z,relro acme.c -o acme.so",
        failing: "cc -shared -Wl,-z,norelro acme.c -o acme.so"
    ) { details in
        guard details.relro == .none else { return }
        throw Violation("PT_GNU_RELRO", expected: "full RELRO", got: "none")
    },
    linking(
        "VC-ELF-13", .must, "Libraries are looked for in fixed places only.",
        because: "An empty or relative place is whatever directory the host was started in.",
        passing: "cc -shared acme.c -Wl,-rpath,/opt/acme/lib -o acme.so",
        failing: "cc -shared acme.c -Wl,-rpath,lib: -o acme.so"
    ) { details in
        if let place = details.rpath.first {
            throw Violation("DT_RPATH", expected: "none: it also rules the libraries of others", got: "\"\(place)\"")
        }
        let doubtful = details.runpath.first { place in
            !(place.hasPrefix("/") || place.hasPrefix("$ORIGIN"))
                || ["/tmp", "/var/tmp", "/dev/shm"].contains(where: place.hasPrefix)
        }
        guard let doubtful else { return }
        throw Violation("DT_RUNPATH", expected: "absolute directories that only root can write", got: "\"\(doubtful)\"")
    },
    linking(
        "VC-ELF-15", .must, "It does not go by the name of an installed library.",
        because: "The linker finds libraries by that name: whoever needs the real one gets the plugin.",
        passing: "cc -shared acme.c -Wl,-soname,acme-tts.so -o acme-tts.so",
        failing: "cc -shared acme.c -Wl,-soname,libz.so.1 -o acme-tts.so"
    ) { details in
        guard let name = details.soname, LibraryScope.isInstalled(name) else { return }
        throw Violation("DT_SONAME", expected: "a name of its own", got: "\(name), which is installed here")
    },
    linking(
        "VC-ELF-16", .must, "It needs no newer C library than this machine's.",
        because: "Whoever builds on a newer system than he serves learns it from users.",
        passing: "build on the oldest system that is to be served",
        failing: "docker run debian:sid make acme.so"
    ) { details in
        let here = libraryVersion
        guard let needed = details.highestVersion(of: "GLIBC_"),
            ELFDetails.numbers(here).lexicographicallyPrecedes(ELFDetails.numbers(needed))
        else { return }
        throw Violation("the versions that it needs", expected: "GLIBC_\(here) at most", got: "GLIBC_\(needed)")
    },
] + moreFileRules

func linking(
    _ id: String, _ weight: Rule.Weight, smoke isSmoke: Bool = false, _ sentence: String, because reason: String,
    passing: String, failing: String, needs: [String] = ["VC-ELF-01"],
    skip: @escaping @Sendable (Subject) -> String? = { _ in nil },
    check: @escaping @Sendable (ELFDetails) throws -> Void
) -> Rule {
    Rule(
        id, .basic, weight, smoke: isSmoke, sentence, because: reason, passing: passing, failing: failing,
        needs: needs, skip: skip,
        check: .file { subject in try check(ELFDetails(subject.bytes)) })
}

/// "2.36", of the C library that this process runs with.
private let libraryVersion: String = {
    var text = [CChar](repeating: 0, count: 64)
    _ = confstr(Int32(_CS_GNU_LIBC_VERSION), &text, text.count)
    let words = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }.split(separator: UInt8(ascii: " "))
    return String(decoding: words.last ?? [], as: UTF8.self)
}()
