// Which symbols a library would find, without loading it.
//
// `dlopen` says it too, but with code of the plugin in the process and with one name only, the first. So the libraries
// that are named are looked up where the dynamic linker would, and their tables are read. What cannot be found on this
// machine makes the answer unknown and never wrong: nothing is said then.
//
// The order of places is that of ld.so(8), without its cache: the cache is an index of the directories that are listed
// in /etc/ld.so.conf, and those are read instead.

import Glibc
import Providers
import Synchronization

/// The shared libraries of this machine, and what they define.
enum LibraryScope {
    /// More than any plugin's, and a bound for libraries that need each other in a damaged way.
    private static let librariesMax = 256

    /// Symbols of `details` that neither it nor any library that it needs defines; nil when a library is not here.
    static func undefined(_ details: ELFDetails) -> [String]? {
        var wanted = Set(details.imports.filter { $0.binding != .weak }.map(\.name))
        wanted.subtract(details.exports.map(\.name))
        var seen: Set<String> = []
        var queue = details.needed.map { (name: $0, places: details.runpath) }
        while let (name, places) = queue.popLast() {
            guard seen.count < librariesMax else { return nil }
            guard seen.insert(name).inserted else { continue }
            guard let path = path(of: name, places), let library = library(path) else { return nil }
            wanted.subtract(library.defined)
            queue += library.needed.map { ($0, library.runpath) }
        }
        return wanted.sorted()
    }

    /// Whether a library of this name is installed where every program finds it.
    static func isInstalled(_ name: String) -> Bool {
        !name.isEmpty && !name.contains("/") && directories.contains { access("\($0)/\(name)", F_OK) == 0 }
    }

    // MARK: Places

    private static func path(of name: String, _ places: [String]) -> String? {
        if name.contains("/") { return access(name, R_OK) == 0 ? name : nil }
        let fixed = places.filter { $0.hasPrefix("/") }
        return (fixed + directories).lazy.map { "\($0)/\(name)" }.first { access($0, R_OK) == 0 } ?? loaded[name]
    }

    private static let directories: [String] = {
        #if arch(x86_64)
            let machine = "x86_64-linux-gnu"
        #else
            let machine = "aarch64-linux-gnu"
        #endif
        var list = ["/lib/\(machine)", "/usr/lib/\(machine)", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
        for file in ["/etc/ld.so.conf"] + files(in: "/etc/ld.so.conf.d") {
            for line in String(decoding: readWholeFile(file) ?? [], as: UTF8.self).split(separator: "\n") {
                if line.hasPrefix("/") { list.append(String(line.prefix { $0 != " " && $0 != "#" })) }
            }
        }
        return list
    }()

    private static func files(in directory: String) -> [String] {
        guard let handle = opendir(directory) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { name in
                    String(cString: UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
                })
        }
        return names.filter { $0.hasSuffix(".conf") }.sorted().map { "\(directory)/\($0)" }
    }

    /// Libraries of this process by name: what the host has loaded, Swift's runtime say, a plugin finds there.
    private static let loaded: [String: String] = {
        var paths: [String: String] = [:]
        guard let maps = fopen("/proc/self/maps", "re") else { return [:] }
        defer { fclose(maps) }
        var line = [CChar](repeating: 0, count: 4_096 + 128)
        while fgets(&line, Int32(line.count), maps) != nil {
            let text = line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
            guard let slash = text.firstIndex(of: UInt8(ascii: "/")) else { continue }
            let path = text[slash...]
            let name = path.split(separator: UInt8(ascii: "/")).last ?? []
            paths[String(decoding: name, as: UTF8.self)] = String(decoding: path, as: UTF8.self)
        }
        return paths
    }()

    // MARK: Libraries

    private struct Library {
        let defined: Set<String>
        let needed: [String]
        let runpath: [String]
    }

    /// Read once for a run: the C library alone defines three thousand symbols.
    private static let libraries = Mutex<[String: Library]>([:])

    private static func library(_ path: String) -> Library? {
        libraries.withLock { known in
            if let library = known[path] { return library }
            guard let bytes = readWholeFile(path), let details = try? ELFDetails(bytes) else { return nil }
            let library = Library(
                defined: Set(details.exports.map(\.name)), needed: details.needed, runpath: details.runpath)
            known[path] = library
            return library
        }
    }
}
