import Glibc
import JSON
import Testing

@testable import Providers

@Suite("The plugin directory") struct RegistryTests {
    let workshop = Workshop()

    private func state(_ registry: PluginRegistry, _ name: String) throws -> PluginRegistry.State {
        try #require(registry.entries.first { $0.name == name }).state
    }

    private func refusal(_ name: String) throws -> PluginRefusal {
        let state = try state(try workshop.registry(), name)
        guard case .refused(let refusal) = state else { throw Unexpected("\(name) is \(state)") }
        return refusal
    }

    private func good(_ name: String, id: String = "org.test.tts", changes: [String: JSONValue] = [:]) throws {
        try workshop.build(
            name, Sources.least(id: id, kind: "vc.tts/1"),
            manifest: Workshop.manifest(id: id, kind: "vc.tts/1", changes: changes))
    }

    @Test("A foreign plugin is tried out, loaded, and found by its id and by its file")
    func foreignPlugin() throws {
        try good("acme-tts.so")
        let registry = try workshop.registry()
        let plugin = try #require(registry.plugin(named: "org.test.tts"))
        #expect(plugin === registry.plugin(named: "acme-tts"))
        #expect(!plugin.isShipped)
        #expect(plugin.loadedPath == "\(workshop.cache)/\(plugin.sha256)/acme-tts.so")
        #expect(plugin.provider(.textToSpeech)?.id == "org.test.tts")
    }

    // MARK: Every broken file gets its own sentence

    private func edit(_ name: String, _ change: (inout [UInt8]) -> Void) throws {
        let path = workshop.plugins + "/" + name
        var bytes = try #require(readWholeFile(path))
        change(&bytes)
        workshop.write(bytes, to: path)
    }

    @Test("A library of another machine is refused with both machines named")
    func wrongArchitecture() throws {
        try good("a.so")
        try edit("a.so") { $0[18] = 243 }
        let refusal = try refusal("a.so")
        #expect(refusal.code == .wrongArchitecture)
        #expect(refusal.reason.hasPrefix("a.so was built for riscv64, and this host runs on "))
    }

    @Test("A truncated library is refused with the place where it ends, wherever it was cut")
    func truncated() throws {
        try good("a.so")
        let whole = try #require(readWholeFile(workshop.plugins + "/a.so"))
        for count in [whole.count - 1, whole.count / 2, 4_000, 100, 64, 20] {
            workshop.write(Array(whole[..<count]), to: workshop.plugins + "/a.so")
            #expect(try refusal("a.so").code == .truncated, "cut to \(count) bytes")
        }
    }

    @Test("What is no library at all is refused as that")
    func notELF() throws {
        workshop.write("#!/bin/sh\n", to: workshop.plugins + "/a.so")
        workshop.write("", to: workshop.plugins + "/empty.so")
        #expect(try refusal("a.so").code == .notELF)
        #expect(try refusal("empty.so").code == .notELF)
    }

    @Test("A program and an object file are no libraries")
    func notLibrary() throws {
        workshop.write("int main(void) { return 0; }", to: workshop.root + "/p.c")
        run(["/usr/bin/cc", workshop.root + "/p.c", "-o", workshop.plugins + "/pie.so"])
        run(["/usr/bin/cc", "-no-pie", workshop.root + "/p.c", "-o", workshop.plugins + "/program.so"])
        run(["/usr/bin/cc", "-c", workshop.root + "/p.c", "-o", workshop.plugins + "/object.so"])
        for name in ["pie.so", "program.so", "object.so"] {
            chmod(workshop.plugins + "/" + name, 0o755)
            #expect(try refusal(name).code == .notLibrary, "\(name)")
        }
    }

    @Test("A library without a manifest is never opened, and the mend is the command that gives it one")
    func noManifest() throws {
        let witness = workshop.root + "/opened"
        try workshop.build(
            "a.so",
            Sources.least(
                id: "org.test.a", kind: "vc.tts/1",
                more:
                    "#include <stdio.h>\n__attribute__((constructor)) static void born(void) { fclose(fopen(\"\(witness)\", \"w\")); }"
            ),
            manifest: nil)
        let refusal = try refusal("a.so")
        #expect(refusal.code == .noManifest)
        #expect(refusal.mend.contains("vchost plugins pack"))
        #expect(access(witness, F_OK) != 0)
    }

    @Test("A broken manifest is refused with the key and what is expected there")
    func manifestBroken() throws {
        try good("a.so", changes: ["licence": "MIT"])
        #expect(
            try refusal("a.so").reason.hasPrefix(
                "the manifest of a.so is broken: licence: is not known here; known are abi,"))
    }

    @Test("A plugin for a newer ABI is refused before it is opened, with both numbers")
    func newerABI() throws {
        try good("a.so", changes: ["abi": ["major": 1, "minor": 7, "hostMinorMin": 4]])
        let refusal = try refusal("a.so")
        #expect(refusal.code == .newerABI)
        #expect(refusal.reason == "a.so needs vchost ABI 1.4 or newer, and this host speaks 1.0")
        try good("b.so", changes: ["abi": ["major": 2, "minor": 0, "hostMinorMin": 0]])
        #expect(try self.refusal("b.so").code == .otherABI)
    }

    @Test("A Swift plugin of another toolchain is refused when it shares the runtime")
    func toolchain() throws {
        try good("a.so", changes: ["runtime": ["language": "swift", "toolchain": "5.9.2", "stdlib": "shared"]])
        #expect(try refusal("a.so").code == .toolchainDiffers)
        try good(
            "b.so", id: "org.test.b",
            changes: ["runtime": ["language": "swift", "toolchain": "5.9.2", "stdlib": "static"]])
        #expect(try workshop.registry().plugin(named: "b") != nil)
    }

    @Test("An undefined symbol is named")
    func undefinedSymbol() throws {
        try workshop.build(
            "a.so",
            Sources.least(
                id: "org.test.tts", kind: "vc.tts/1", more: "extern int acme_missing(void);", entry: "acme_missing();"),
            manifest: Workshop.manifest(id: "org.test.tts", kind: "vc.tts/1"))
        #expect(try refusal("a.so").reason == "a.so needs the symbol acme_missing, which nothing provides")
    }

    @Test("A missing library is named")
    func missingLibrary() throws {
        workshop.write("int acme(void) { return 1; }", to: workshop.root + "/acme.c")
        run([
            "/usr/bin/cc", "-shared", "-fPIC", workshop.root + "/acme.c", "-Wl,-soname,libacme.so.9", "-o",
            workshop.root + "/libacme.so",
        ])
        try workshop.build(
            "a.so",
            Sources.least(id: "org.test.tts", kind: "vc.tts/1", more: "extern int acme(void);", entry: "acme();"),
            manifest: Workshop.manifest(id: "org.test.tts", kind: "vc.tts/1"), link: ["-L\(workshop.root)", "-lacme"])
        #expect(try refusal("a.so").reason == "a.so needs the library libacme.so.9, which is not installed")
        #expect(try ELFFile(#require(readWholeFile(workshop.plugins + "/a.so"))).needed.first == "libacme.so.9")
    }

    @Test("A directory or a file that others can write is refused with the command that mends it")
    func writable() throws {
        try good("a.so")
        chmod(workshop.plugins + "/a.so", 0o777)
        #expect(try refusal("a.so").code == .fileWritable)
        chmod(workshop.plugins + "/a.so", 0o755)
        chmod(workshop.plugins, 0o777)
        let refusal = try refusal("a.so")
        #expect(refusal.code == .directoryWritable)
        #expect(refusal.mend == "Run: chmod go-w \(workshop.plugins)")
        chmod(workshop.plugins, 0o775)
        #expect(try self.refusal("a.so").code == .directoryWritable)
        chmod(workshop.plugins, 0o755)
    }

    @Test("Of two plugins with one id the first by name is loaded, and the second says which that is")
    func duplicate() throws {
        try good("b.so")
        try good("a.so")
        #expect(try refusal("b.so").reason == "b.so has the id org.test.tts, which a.so has already")
        #expect(try workshop.registry().plugin(named: "org.test.tts")?.path.hasSuffix("/a.so") == true)
    }

    @Test("A plugin of an unknown kind is listed and ignored, and its code is not run")
    func unknownKind() throws {
        try workshop.build(
            "a.so", Sources.least(id: "org.test.a", kind: "vc.dream/1", entry: "__builtin_trap();"),
            manifest: Workshop.manifest(id: "org.test.a", kind: "vc.dream/1"))
        guard case .ignored(let why) = try state(try workshop.registry(), "a.so") else {
            throw Unexpected("not ignored")
        }
        #expect(why.contains("vc.dream/1"))
    }

    @Test("A library without the entry is refused before it is opened")
    func entryMissing() throws {
        try workshop.build("a.so", "int x;", manifest: Workshop.manifest(id: "org.test.a", kind: "vc.tts/1"))
        #expect(try refusal("a.so").code == .entryMissing)
    }

    @Test("A plugin that refuses the host, or gives it nonsense, is refused with what it did")
    func entryRefused() throws {
        func build(_ name: String, _ id: String, _ entry: String, more: String = "") throws {
            try workshop.build(
                name, Sources.least(id: id, kind: "vc.tts/1", more: more, entry: entry),
                manifest: Workshop.manifest(id: id, kind: "vc.tts/1"))
        }
        try build("a.so", "org.test.a", "if (host->minor < 100) return VC_E_UNSUPPORTED;")
        try build("b.so", "org.test.b", "if (host->minor < 100) return VC_OK;")
        try build(
            "c.so", "org.test.c", "if (host->minor < 100) { *module = &wrong; return VC_OK; }",
            more: "static const vc_module wrong = { 3, 0, 0, 0, 0 };")
        #expect(try refusal("a.so").code == .entryRefused)
        #expect(try refusal("b.so").reason == "b.so breaks the contract in its entry: vc_module is NULL")
        #expect(
            try refusal("c.so").reason
                == "c.so breaks the contract in its entry: vc_module.size is 3; set it to sizeof(vc_module)")
    }

    @Test("A manifest that promises another provider than the code has is refused")
    func otherProvider() throws {
        try workshop.build(
            "a.so", Sources.least(id: "org.test.code", kind: "vc.tts/1"),
            manifest: Workshop.manifest(id: "org.test.paper", kind: "vc.tts/1"))
        #expect(try refusal("a.so").reason.contains("lists the provider org.test.paper"))
    }

    @Test(
        "A foreign library that crashes or hangs when it is opened costs a child and not the host",
        arguments: [
            ("__builtin_trap();", "", PluginRefusal.Code.crashed, "in vc_plugin_entry_v1"),
            (
                "", "__attribute__((constructor)) static void born(void) { volatile int *volatile p = 0; *p = 1; }",
                .crashed, "while it was opened"
            ),
            (
                "", "#include <stdlib.h>\n__attribute__((constructor)) static void born(void) { _Exit(0); }", .crashed,
                "ended its process"
            ),
            (
                "", "__attribute__((constructor)) static void born(void) { for (;;) __asm__(\"\"); }", .hung,
                "did not return within 3000 ms"
            ),
        ])
    func crashes(entry: String, more: String, code: PluginRefusal.Code, words: String) throws {
        try workshop.build(
            "a.so", Sources.least(id: "org.test.a", kind: "vc.tts/1", more: more, entry: entry),
            manifest: Workshop.manifest(id: "org.test.a", kind: "vc.tts/1"))
        try good("b.so", id: "org.test.b")
        let probe = PluginProbe(
            command: PluginProbe.forTests.command, environment: PluginProbe.forTests.environment,
            deadlineMs: code == .hung ? 3_000 : 20_000)
        let registry = try workshop.registry(probe: probe)
        guard case .refused(let refusal) = try state(registry, "a.so") else {
            throw Unexpected("not refused but \(try state(registry, "a.so"))")
        }
        #expect(refusal.code == code)
        #expect(refusal.reason.contains(words))
        if code != .hung { #expect(registry.plugin(named: "b") != nil) }
    }

    @Test("Other files are ignored, and the settings beside a plugin are checked")
    func otherFiles() throws {
        try good("a.so")
        workshop.write("x", to: workshop.plugins + "/README")
        workshop.write("x", to: workshop.plugins + "/.hidden.so")
        mkdir(workshop.plugins + "/folder.so", 0o755)
        workshop.write("{}", to: workshop.plugins + "/a.json")
        let registry = try workshop.registry()
        #expect(registry.entries.map(\.name) == ["README", "a.json", "a.so", "folder.so"])
        guard case .ignored("the settings of a.so") = try state(registry, "a.json") else { throw Unexpected("a.json") }
        #expect(try refusal("folder.so").code == .notRegularFile)
        workshop.write(#"{"kind": "vc.stt/1"}"#, to: workshop.plugins + "/a.json")
        #expect(try refusal("a.so").reason.contains("kind: cannot be changed beside a plugin"))
        rmdir(workshop.plugins + "/folder.so")
    }

    @Test("A link that leads nowhere, and one that leads into a directory that others can write, are refused")
    func links() throws {
        try good("a.so")
        symlink("/nowhere/x.so", workshop.plugins + "/b.so")
        #expect(try refusal("b.so").reason == "b.so is a link that leads nowhere")
        let open = workshop.root + "/open"
        mkdir(open, 0o755)
        rename(workshop.plugins + "/a.so", open + "/a.so")
        symlink(open + "/a.so", workshop.plugins + "/a.so")
        #expect(try workshop.registry().plugin(named: "a") != nil)
        chmod(open, 0o777)
        #expect(try refusal("a.so").code == .directoryWritable)
    }

    // MARK: Many, and again

    @Test("Twelve plugins load side by side")
    func dozen() throws {
        for index in 0..<12 { try good("p\(index).so", id: "org.test.p\(index)") }
        let log = LogList()
        let registry = try workshop.registry(log: log)
        #expect(registry.plugins.count == 12)
        #expect(Set(registry.plugins.map(\.loadedPath)).count == 12)
        #expect(log.lines.count { $0.level == .info } == 12)
    }

    @Test("A file that is replaced loads as a second generation, and the first stays as it was")
    func generations() throws {
        try good("a.so")
        let first = try #require(try workshop.registry().plugin(named: "a"))
        #expect(try workshop.registry().plugin(named: "a")?.loadedPath == first.loadedPath)
        try good("a.so", changes: ["version": "2.0.0"])
        let second = try #require(try workshop.registry().plugin(named: "a"))
        #expect(second.manifest.version == "2.0.0")
        #expect(second.loadedPath != first.loadedPath)
        #expect(access(first.loadedPath, R_OK) == 0)
        _ = try first.running("tts.old").destroy()
        _ = try second.running("tts.new").destroy()
    }

    @Test("Two hosts share a cache, and a damaged copy is written anew")
    func sharedCache() throws {
        try good("a.so")
        let copy = try #require(try workshop.registry().plugin(named: "a")).loadedPath
        let other = try PluginStore(directory: workshop.cache)
        let file = try PluginFile(directory: workshop.plugins, name: "a.so")
        #expect(try other.copy(of: file) == copy)
        let twin = try PluginStore(directory: workshop.root + "/second")
        let path = try twin.copy(of: file)
        chmod(path, 0o700)
        truncate(path, 100)
        #expect(try twin.copy(of: file) == path)
        #expect(readWholeFile(path) == file.bytes)
    }

    @Test("Old copies are removed, but not those that a host holds")
    func pruning() throws {
        let held = try PluginStore(directory: workshop.root + "/prune")
        func store(_ number: Int) throws -> (PluginStore, String) {
            workshop.write("not a library \(number)", to: workshop.plugins + "/n.so")
            let file = try PluginFile(directory: workshop.plugins, name: "n.so")
            let store = number == 0 ? held : try PluginStore(directory: held.directory)
            return (store, try store.copy(of: file))
        }
        let first = try store(0).1
        for number in 1...PluginStore.copiesMax + 10 { _ = try store(number) }
        #expect(try #require(directoryEntries(held.directory)).count <= PluginStore.copiesMax + 1)
        #expect(access(first, R_OK) == 0)
    }

    @Test("A plugin of the build's own list counts as shipped only with the very bytes that were listed")
    func shipped() throws {
        try good("a.so")
        let file = try PluginFile(directory: workshop.plugins, name: "a.so")
        workshop.write(#"{"a.so": "\#(file.sha256)"}"#, to: workshop.plugins + "/.shipped.json")
        // A probe that cannot even start proves that none is asked for.
        let none = PluginProbe(command: ["/nonexistent"])
        #expect(try workshop.registry(probe: none).plugin(named: "a")?.isShipped == true)
        workshop.write(#"{"a.so": "0000"}"#, to: workshop.plugins + "/.shipped.json")
        #expect(try workshop.registry(probe: none).plugin(named: "a")?.isShipped != true)
    }
}
