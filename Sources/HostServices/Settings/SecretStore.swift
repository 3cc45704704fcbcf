// Credentials. The configuration holds references only, `env:NAME` or `file:PATH`, so a configuration can be shown,
// logged and put under version control. The value is read when it is needed: a file that is replaced (Kubernetes,
// Vault's agent) takes effect at the next request, without a reload. What was read once is known to the log's redactor.

import Glibc
import Synchronization

/// Where a secret is, as the configuration says it.
public enum SecretReference: Sendable, Equatable {
    case environment(String)
    case file(String)
    /// The credential itself, of a configuration that was written for another system and holds it in plain text. Not to
    /// be written in ours.
    case value([UInt8])

    /// Reads `env:NAME` or `file:PATH`. Throws with what is wrong with it.
    public init(parsing text: String) throws(SecretFailure) {
        if text.hasPrefix("env:"), text.count > 4 {
            self = .environment(String(text.dropFirst(4)))
        } else if text.hasPrefix("file:"), text.count > 5 {
            self = .file(String(text.dropFirst(5)))
        } else {
            // The text is not repeated: somebody may have put the secret itself here.
            throw .unreadable("a secret is given as env:NAME or file:PATH, never as the value itself")
        }
    }
}

public enum SecretFailure: Error, Equatable, CustomStringConvertible {
    /// The plugin asks for what its manifest does not list.
    case notListed(String)
    /// The operator has not set it.
    case notSet(String)
    case unreadable(String)

    public var description: String {
        switch self {
        case .notListed(let name):
            "the secret \(name) is not in the manifest; list it under \"secrets\" and pack the manifest again"
        case .notSet(let name):
            "the secret \(name) is not set; give it a reference, env:NAME or file:PATH, in the configuration"
        case .unreadable(let reason): reason
        }
    }
}

public final class SecretStore: Sendable {
    /// A private key with its chain is some 10 KiB.
    static let bytesMax = 64 << 10

    private struct CachedFile {
        var modified: (Int, Int)
        var size: Int
        var value: [UInt8]
    }

    private let references: Mutex<[String: SecretReference]>
    private let files = Mutex<[String: CachedFile]>([:])
    private let redactor: Redactor

    /// - Parameter references: By name; `section/NAME` is for the provider of that section only, and goes first.
    public init(_ references: [String: SecretReference], redactor: Redactor) {
        self.references = Mutex(references)
        self.redactor = redactor
    }

    /// Replaces all references: the configuration was reloaded.
    public func replace(_ references: [String: SecretReference]) {
        self.references.withLock { $0 = references }
        files.withLock { $0 = [:] }
    }

    /// The value of `name` for a provider whose manifest lists `listed`. The trailing line break of a file is not part
    /// of it.
    func value(_ name: String, section: String, listed: [String]) throws(SecretFailure) -> [UInt8] {
        guard listed.contains(name) else { throw .notListed(name) }
        guard let reference = references.withLock({ $0["\(section)/\(name)"] ?? $0[name] }) else { throw .notSet(name) }
        let value: [UInt8]
        switch reference {
        case .environment(let variable):
            guard let text = getenv(variable), text.pointee != 0 else {
                throw .unreadable("the secret \(name) is empty: set the environment variable \(variable)")
            }
            value = Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
        case .value(let bytes): value = bytes
        case .file(let path):
            value = try read(path, for: name)
        }
        redactor.learn(name, value: value)
        return value
    }

    private func read(_ path: String, for name: String) throws(SecretFailure) -> [UInt8] {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw .unreadable("the secret \(name) cannot be read from \(path): \(String(cString: strerror(errno)))")
        }
        let modified = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
        let cached: [UInt8]? = files.withLock { files in
            guard let known = files[path], known.modified == modified, known.size == status.st_size else { return nil }
            return known.value
        }
        if let cached { return cached }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw .unreadable("the secret \(name) cannot be read from \(path): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var value = [UInt8](repeating: 0, count: Self.bytesMax + 1)
        var count = 0
        while count < value.count {
            let got = value.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + count, $0.count - count) }
            if got < 0 && errno == EINTR { continue }
            if got <= 0 { break }
            count += got
        }
        guard count <= Self.bytesMax else {
            throw .unreadable(
                "the secret \(name) in \(path) is larger than \(Self.bytesMax) bytes: is it the right file?")
        }
        while count > 0, value[count - 1] == UInt8(ascii: "\n") || value[count - 1] == UInt8(ascii: "\r") { count -= 1 }
        guard count > 0 else { throw .unreadable("the secret \(name) is empty: \(path) has nothing in it") }
        let result = Array(value[..<count])
        files.withLock { $0[path] = CachedFile(modified: modified, size: status.st_size, value: result) }
        return result
    }

    /// Replaces each `${secret:NAME}` of a header's value.
    func substitute(_ text: String, section: String, listed: [String]) throws(SecretFailure) -> String {
        let opening = "${secret:"
        guard text.contains("$") else { return text }
        var out = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            rest = rest[dollar...]
            guard rest.hasPrefix(opening), let end = rest.firstIndex(of: "}") else {
                out += "$"
                rest = rest.dropFirst()
                continue
            }
            let name = String(rest[rest.index(rest.startIndex, offsetBy: opening.count)..<end])
            out += String(decoding: try value(name, section: section, listed: listed), as: UTF8.self)
            rest = rest[rest.index(after: end)...]
        }
        return out + rest
    }
}
