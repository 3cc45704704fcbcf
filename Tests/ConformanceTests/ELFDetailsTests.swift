import Glibc
import Providers
import Testing

@testable import Conformance

/// Libraries that this machine has anyway, and small ones that are linked in one way each.
@Suite("What a library tells the dynamic linker") struct ELFDetailsTests {
    /// Compiles with the system's compiler, as an author would.
    private func build(
        _ source: String, _ flags: [String] = [], compiler: String = "/usr/bin/cc", suffix: String = "c"
    ) throws -> [UInt8] {
        var template = Array("/var/tmp/vchost-elf-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let folder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        defer { system("rm -rf \(folder)") }
        let text = folder + "/source." + suffix
        let file = try #require(fopen(text, "w"))
        fputs(source, file)
        fclose(file)
        let all = ["-O1", "-shared", "-fPIC"] + flags
        try #require(system("\(compiler) \(all.joined(separator: " ")) \(text) -o \(folder)/out.so") == 0)
        return try #require(readFile(folder + "/out.so"))
    }

    private func readFile(_ path: String) -> [UInt8]? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&block, 1, block.count, file), count > 0 { bytes += block[..<count] }
        return bytes
    }

    private let plain = """
        #include <stdio.h>
        #include <stdlib.h>
        int shown(void) { return puts("text") + (getenv("HOME") != 0); }
        __attribute__((visibility("hidden"))) int hidden(void) { return 2; }
        __attribute__((constructor)) static void first(void) { abort(); }
        extern int absent(void) __attribute__((weak));
        int calls(void) { return absent ? absent() : hidden(); }
        """

    @Test("Exports and imports are those of readelf, with binding, sort and version")
    func symbols() throws {
        let details = try ELFDetails(build(plain, ["-Wl,-soname,libplain.so.1"]))
        #expect(details.soname == "libplain.so.1")
        #expect(details.exports.map(\.name).filter { !$0.hasPrefix("_") }.sorted() == ["calls", "shown"])
        let shown = try #require(details.exports.first { $0.name == "shown" })
        #expect(shown.binding == .global && shown.sort == .function && shown.size > 0 && shown.version == nil)
        let puts = try #require(details.imports.first { $0.name == "puts" })
        #expect(puts.binding == .global && puts.version?.hasPrefix("GLIBC_2.") == true)
        #expect(details.imports.first { $0.name == "absent" }?.binding == .weak)
        #expect(details.needed == ["libc.so.6"])
        #expect(details.versionNeeds.contains { $0.library == "libc.so.6" && $0.version.hasPrefix("GLIBC_2.") })
        #expect(details.highestVersion(of: "GLIBC_") != nil && details.highestVersion(of: "GLIBCXX_") == nil)
    }

    @Test("A constructor more is an initializer more")
    func initializers() throws {
        let one = try ELFDetails(build(plain)).initializers
        let two = try ELFDetails(build(plain + "\n__attribute__((constructor)) void second(void) {}")).initializers
        #expect(one >= 1 && two == one + 1)
    }

    @Test("Binding, protection and unloading are read from the flags")
    func flags() throws {
        let loose = try ELFDetails(build(plain, ["-Wl,-z,lazy,-z,norelro"]))
        #expect(loose.relro == .none && !loose.bindsNow && !loose.isNeverUnmapped)
        let partial = try ELFDetails(build(plain, ["-Wl,-z,lazy,-z,relro"]))
        #expect(partial.relro == .partial)
        let tight = try ELFDetails(build(plain, ["-Wl,-z,now,-z,relro,-z,nodelete,--build-id=0xabcd"]))
        #expect(tight.relro == .full && tight.bindsNow && tight.isNeverUnmapped && tight.buildID == "abcd")
        #expect(!tight.wantsExecutableStack && !tight.needsStaticTLS && !tight.hasTextRelocations)
        #expect(tight.resolvers == 0 && tight.interposers.isEmpty && tight.interpreter == nil)
        #expect(!tight.hasDebugInformation)
    }

    @Test("An executable stack, static thread storage, search paths, filters and debug information are seen")
    func faults() throws {
        #expect(try ELFDetails(build(plain, ["-Wl,-z,execstack"])).wantsExecutableStack)
        let storage = "__thread int counter __attribute__((tls_model(\"initial-exec\"))); int get(void) { return counter; }"
        #expect(try ELFDetails(build(storage)).needsStaticTLS)
        let old = try ELFDetails(build(plain, ["-Wl,--disable-new-dtags,-rpath,/opt/a:/opt/b"]))
        #expect(old.rpath == ["/opt/a", "/opt/b"] && old.runpath.isEmpty)
        let new = try ELFDetails(build(plain, ["'-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib'"]))
        #expect(new.rpath.isEmpty && new.runpath == ["$ORIGIN/lib"])
        #expect(try ELFDetails(build(plain, ["-Wl,-f,libother.so"])).interposers == ["libother.so"])
        #expect(try ELFDetails(build(plain, ["-g"])).hasDebugInformation)
        let resolver = """
            static int one(void) { return 1; }
            static void *choose(void) { return one; }
            static int chosen(void) __attribute__((ifunc("choose")));
            int shown(void) { return chosen(); }
            """
        #expect(try ELFDetails(build(resolver)).resolvers == 1)
    }

    @Test("A unique symbol, which a C++ compiler makes of an inline static, is told from a weak one")
    func uniqueSymbols() throws {
        let source = "inline int &counter() { static int value = 0; return value; } int shown() { return ++counter(); }"
        let details = try ELFDetails(build(source, ["-O0"], compiler: "/usr/bin/g++", suffix: "cpp"))
        #expect(details.exports.contains { $0.binding == .unique && $0.sort == .object })
        #expect(details.exports.contains { $0.binding == .weak && $0.sort == .function })
    }

    @Test("Both hash tables give the number of symbols", arguments: ["sysv", "gnu", "both"])
    func hashTables(style: String) throws {
        // Without section headers, as `sstrip` leaves a file: only the dynamic section is there to ask.
        var bytes = try build(plain, ["-Wl,--hash-style=\(style)"])
        let whole = try ELFDetails(bytes)
        for index in (40..<48) { bytes[index] = 0 }
        for index in (58..<64) { bytes[index] = 0 }
        let stripped = try ELFDetails(bytes)
        #expect(stripped.exports == whole.exports && stripped.imports == whole.imports)
        #expect(whole.exports.contains { $0.name == "calls" } && whole.imports.contains { $0.name == "getenv" })
    }

    @Test("Versions are compared as numbers, and names that are none do not count")
    func versions() throws {
        #expect(ELFDetails.numbers("2.34") == [2, 34] && ELFDetails.numbers("PRIVATE").isEmpty)
        let machine = Self.machine
        let standard = try ELFDetails(#require(readFile("/usr/lib/\(machine)/libstdc++.so.6")))
        let highest = try #require(standard.highestVersion(of: "GLIBC_"))
        #expect(ELFDetails.numbers(highest).first == 2 && ELFDetails.numbers(highest)[1] >= 17)
        #expect(standard.exports.contains { $0.name == "_Znwm" && $0.version == "GLIBCXX_3.4" })
        let library = try ELFDetails(#require(readFile("/lib/\(machine)/libc.so.6")))
        #expect(library.exports.contains { $0.name == "malloc" && $0.version == "GLIBC_2.2.5" } || machine.hasPrefix("aarch64"))
        #expect(library.exports.contains { $0.sort == .indirectFunction })
    }

    #if arch(x86_64)
        private static let machine = "x86_64-linux-gnu"
    #else
        private static let machine = "aarch64-linux-gnu"
    #endif

    @Test("A library that was cut anywhere is refused, and no reader is harmed")
    func truncated() throws {
        let bytes = try build(plain, ["-Wl,-z,now"])
        for length in stride(from: 0, to: bytes.count, by: 97) {
            #expect(throws: ELFError.self) { try ELFDetails(Array(bytes[..<length])) }
        }
    }

    @Test("Whatever bits are turned over, a library is read or refused")
    func flippedBits() throws {
        let bytes = try build(plain, ["-Wl,-z,now"])
        let file = try ELFFile(bytes)
        // The headers, and the tables that the dynamic section names: everything before the code, and the section itself.
        let tables = min(bytes.count, 0x1000)
        let dynamic = try #require(file.segments.first { $0.type == 2 })
        var places = Array(0..<tables)
        places += Int(dynamic.offset)..<Int(dynamic.offset + dynamic.fileSize)
        var refused = 0
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        for place in places {
            var damaged = bytes
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            damaged[place] ^= 1 << UInt8(state >> 61)
            do { _ = try ELFDetails(damaged) } catch { refused += 1 }
            // And the worst that one byte of a number can be.
            damaged[place] = 0xff
            do { _ = try ELFDetails(damaged) } catch { refused += 1 }
        }
        #expect(refused > 100)
    }
}
