// From what stands on the command line to plugins: read as bytes, never loaded.
//
// A file that cannot be read as a plugin is a subject too, with the reason in `manifestProblem`: rules about files say
// what is wrong with it, and the report says why nothing else ran.

import Glibc
import JSON
import Providers

extension Subject {
    /// Larger than any library, as the loader has it.
    static let fileBytesMax = 512 << 20

    /// All plugins of a path: the file, or every `.so` of a directory in the order of their names.
    ///
    /// Throws a sentence when the path cannot be read, or is a directory without plugins.
    public static func all(at path: String) throws(SubjectProblem) -> [Subject] {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw SubjectProblem("\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return [try Subject(file: path)] }
        guard let handle = opendir(path) else {
            throw SubjectProblem("\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                String(cString: UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
            }
            if name.hasSuffix(".so"), !name.hasPrefix(".") { names.append(name) }
        }
        guard !names.isEmpty else { throw SubjectProblem("\(path) holds no plugin: no file there ends in .so") }
        var subjects: [Subject] = []
        for name in names.sorted() { subjects.append(try Subject(file: path + "/" + name)) }
        return subjects
    }

    /// Reads one file.
    public init(file: String) throws(SubjectProblem) {
        let bytes = try Self.read(file)
        let name = String(file[(file.lastIndex(of: "/").map { file.index(after: $0) } ?? file.startIndex)...])
        var absolute = file
        if let resolved = realpath(file, nil) {
            absolute = String(cString: resolved)
            free(resolved)
        }
        var manifest: Manifest?
        var text = ""
        var problem = ""
        do throws(ELFError) {
            if let section = try ELFFile(bytes).manifestText() {
                text = String(decoding: section, as: UTF8.self)
                do throws(ManifestError) {
                    manifest = try Manifest(parsing: section)
                } catch {
                    problem = "its manifest is broken: \(error)"
                }
            } else {
                problem = "it has no manifest; run: vchost plugins pack \(file) manifest.json"
            }
        } catch {
            problem = "it is no plugin: \(Self.words(error))"
        }
        self.init(
            path: absolute, name: name, sha256: SHA256.hex(bytes), bytes: bytes, manifest: manifest, manifestText: text,
            manifestProblem: problem)
    }

    /// The same with one of its providers.
    func with(_ provider: ProviderDeclaration?) -> Subject {
        Subject(
            path: path, name: name, sha256: sha256, bytes: bytes, manifest: manifest, manifestText: manifestText,
            manifestProblem: manifestProblem, provider: provider)
    }

    static func words(_ error: ELFError) -> String {
        switch error {
        case .notELF: "it has no ELF header"
        case .truncated(let what, let needs, let has): "\(what) would end at byte \(needs), and the file has \(has)"
        case .damaged(let how): how
        case .wrongArchitecture(let machine): "it was built for \(machine)"
        case .notLibrary(let what): "it is \(what) and not a shared library"
        }
    }

    private static func read(_ path: String) throws(SubjectProblem) -> [UInt8] {
        func fail(_ code: Int32) -> SubjectProblem {
            SubjectProblem("\(path) cannot be read: \(String(cString: strerror(code)))")
        }
        // O_NONBLOCK so that a FIFO called x.so cannot hang the run.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw fail(errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw fail(errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SubjectProblem("\(path) is not a regular file") }
        guard status.st_size <= fileBytesMax else {
            throw SubjectProblem("\(path) has \(status.st_size) bytes, and at most \(fileBytesMax) are read")
        }
        var code: Int32 = 0
        let size = Int(status.st_size)
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            while filled < size {
                let count = Glibc.read(descriptor, buffer.baseAddress! + filled, size - filled)
                if count < 0, errno == EINTR { continue }
                if count < 0 { code = errno }
                guard count > 0 else { return }
                filled += count
            }
        }
        guard code == 0 else { throw fail(code) }
        return bytes
    }
}

/// A path on the command line that leads to no plugin.
public struct SubjectProblem: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
