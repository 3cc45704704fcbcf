// The folder of a run: copies of the plugins, and a home for each probe. It is gone when the run is.
//
// A plugin is loaded from a copy, as the host does it (`PluginStore`): what is tested is what was read, whatever
// happens to the file meanwhile. It lies in a folder named by its hash, and keeps its own name, which may appear in
// messages.

import Glibc

/// A temporary folder with everything that probes need on disk.
final class RunFolder: Sendable {
    let path: String

    init(in directory: String) throws(RunnerFailure) {
        let places = directory.isEmpty ? Self.places : [directory]
        for place in places {
            var template = Array("\(place)/vchost-conform-XXXXXX".utf8CString)
            guard Self.allowsExecution(place), mkdtemp(&template) != nil else { continue }
            path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
            return
        }
        throw RunnerFailure(
            "no temporary folder can be made in \(places.joined(separator: " or ")); name another in TMPDIR")
    }

    deinit { Self.remove(path) }

    /// Puts a plugin's bytes where a probe may load them. Once for each subject.
    func place(_ subject: Subject) throws(RunnerFailure) -> String {
        // By name too: a rule looks at what lies beside its plugin, and two names may have the same bytes.
        let folder = path + "/" + subject.sha256 + "-" + subject.name
        let copy = folder + "/" + subject.name
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw RunnerFailure("cannot make \(folder)", errno: errno)
        }
        if access(copy, F_OK) == 0 { return copy }
        let descriptor = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o500)
        guard descriptor >= 0 else { throw RunnerFailure("cannot write \(copy)", errno: errno) }
        defer { close(descriptor) }
        var written = 0
        while written < subject.bytes.count {
            let count = subject.bytes.withUnsafeBytes {
                write(descriptor, $0.baseAddress! + written, $0.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw RunnerFailure("cannot write \(copy)", errno: errno) }
            written += count
        }
        return copy
    }

    /// A home for one probe. Files that the manifest names relative to the installation are linked into it.
    func home(_ name: String, linking files: [String]) throws(RunnerFailure) -> String {
        let home = path + "/" + name
        guard mkdir(home, 0o700) == 0 else { throw RunnerFailure("cannot make \(home)", errno: errno) }
        for file in files where !file.hasPrefix("/") && !file.split(separator: "/").contains("..") {
            guard let target = realpath(file, nil) else { continue }
            defer { free(target) }
            var folder = home
            for part in file.split(separator: "/").dropLast() {
                folder += "/" + part
                mkdir(folder, 0o700)
            }
            symlink(target, home + "/" + file)
        }
        return home
    }

    // MARK: Steps

    private static var places: [String] {
        [getenv("TMPDIR").map { String(cString: $0) }, "/tmp", "/var/tmp"].compactMap(\.self)
            .filter { $0.hasPrefix("/") }
    }

    private static func allowsExecution(_ directory: String) -> Bool {
        var fileSystem = statvfs()
        return statvfs(directory, &fileSystem) == 0 && fileSystem.f_flag & 8 == 0  // ST_NOEXEC
    }

    /// Removes a folder and all in it; links are removed and not followed.
    static func remove(_ path: String) {
        if let directory = opendir(path) {
            while let entry = readdir(directory) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                    String(cString: UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
                }
                guard name != ".", name != ".." else { continue }
                let child = path + "/" + name
                var status = stat()
                guard lstat(child, &status) == 0 else { continue }
                if status.st_mode & S_IFMT == S_IFDIR {
                    chmod(child, 0o700)
                    remove(child)
                } else {
                    unlink(child)
                }
            }
            closedir(directory)
        }
        rmdir(path)
    }
}
