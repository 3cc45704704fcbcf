// Where the code that runs really lies: copies that are named by their content.
//
// A library must not be opened at the path where the operator keeps it. Writing over a mapped file ends the process
// with SIGBUS, and the dynamic linker answers the same path with the same old code whatever lies there now. So each
// file is copied to <cache>/<sha256>/NAME.so, and that is what is opened: replacing a plugin never touches code in use,
// a new file is a new path and so a new generation, and what runs is what was checked.
//
// Opening /proc/self/fd/N would save the copy, but $ORIGIN and every backtrace would then show nonsense.
//
// Several hosts may share the cache. A host holds a shared lock on a copy while it lives; copies beyond `copiesMax`
// that nobody holds are removed, the longest unused first.

import Glibc
import Synchronization

public final class PluginStore: Sendable {
    /// A dozen plugins in a few generations.
    public static let copiesMax = 48

    public let directory: String

    /// `${XDG_CACHE_HOME:-~/.cache}/vchost/plugins`; nil when the environment names no home.
    public static var defaultDirectory: String? {
        func variable(_ name: String) -> String? {
            guard let value = getenv(name), value.pointee == UInt8(ascii: "/") else { return nil }
            return String(cString: value)
        }
        if let cache = variable("XDG_CACHE_HOME") { return cache + "/vchost/plugins" }
        return variable("HOME").map { $0 + "/.cache/vchost/plugins" }
    }

    /// Makes the directory if need be. It must be absolute, ours alone, and on a file system that allows execution.
    public init(directory: String?) throws(PluginRefusal) {
        let mend = "Name another directory under [vchost] plugin_cache"
        guard let directory = directory ?? Self.defaultDirectory, directory.hasPrefix("/") else {
            throw PluginRefusal(
                .cacheUnusable, "there is no cache directory: neither XDG_CACHE_HOME nor HOME is an absolute path",
                mend: mend)
        }
        self.directory = directory
        var path = ""
        for part in directory.split(separator: "/") {
            path += "/" + part
            guard mkdir(path, 0o700) == 0 || errno == EEXIST || errno == EROFS || errno == EACCES else {
                throw PluginRefusal(
                    .cacheUnusable, "\(path) cannot be made: \(String(cString: strerror(errno)))", mend: mend)
            }
        }
        var status = stat()
        guard stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, access(directory, W_OK | X_OK) == 0
        else {
            throw PluginRefusal(.cacheUnusable, "\(directory) is no directory that can be written", mend: mend)
        }
        guard status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
            throw PluginRefusal(
                .cacheUnusable, "\(directory) belongs to another user, or can be written by others",
                mend: "Run: chmod go-w \(directory). Or name another directory under [vchost] plugin_cache")
        }
        var fileSystem = statvfs()
        if statvfs(directory, &fileSystem) == 0, fileSystem.f_flag & 8 != 0 {  // ST_NOEXEC
            throw PluginRefusal(
                .cacheUnusable, "\(directory) lies on a file system that forbids execution (noexec)", mend: mend)
        }
    }

    /// The path of a copy that equals `file` byte by byte, made if need be and kept while this process lives.
    func copy(of file: PluginFile) throws(PluginRefusal) -> String {
        let folder = directory + "/" + file.sha256
        let path = folder + "/" + file.name
        // Removed by another host between two of our steps: begin again. Each round needs a host that prunes.
        for _ in 0..<8 {
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw failure("make", folder) }
            guard try hold(folder) else { continue }
            if equals(path, file.bytes) {
                utimes(folder, nil)
                return path
            }
            try write(file.bytes, to: path)
            guard equals(path, file.bytes) else {
                throw PluginRefusal(
                    .cacheUnusable, "\(path) does not contain what was written to it", mend: "Check the disk")
            }
            prune()
            return path
        }
        throw PluginRefusal(
            .cacheUnusable, "\(folder) is removed again and again", mend: "Stop what cleans \(directory)")
    }

    deinit { held.withLock { held in held.values.forEach { close($0) } } }

    // MARK: Steps

    private let held = Mutex<[String: Int32]>([:])

    /// Takes the shared lock; false when the folder was removed meanwhile.
    private func hold(_ folder: String) throws(PluginRefusal) -> Bool {
        if held.withLock({ $0[folder] }) != nil, access(folder, F_OK) == 0 { return true }
        let lock = folder + "/lock"
        let descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            if errno == ENOENT { return false }
            throw failure("open", lock)
        }
        var ours = stat()
        var there = stat()
        guard flock(descriptor, LOCK_SH) == 0, fstat(descriptor, &ours) == 0, stat(lock, &there) == 0,
            ours.st_ino == there.st_ino
        else {
            close(descriptor)
            return false
        }
        held.withLock { held in
            if let other = held.updateValue(descriptor, forKey: folder) { close(other) }
        }
        return true
    }

    private func write(_ bytes: [UInt8], to path: String) throws(PluginRefusal) {
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
        guard writeWhole(bytes, to: temporary, mode: 0o500) == 0, rename(temporary, path) == 0 else {
            defer { unlink(temporary) }
            throw failure("write", path)
        }
    }

    private func equals(_ path: String, _ bytes: [UInt8]) -> Bool {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_size == bytes.count, status.st_uid == geteuid(),
            status.st_mode & 0o022 == 0
        else { return false }
        var offset = 0
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1 << 16) { buffer in
            while offset < bytes.count {
                let got = read(descriptor, buffer.baseAddress, min(buffer.count, bytes.count - offset))
                guard got > 0 else { return false }
                let same = bytes.withUnsafeBufferPointer {
                    memcmp($0.baseAddress! + offset, buffer.baseAddress!, got) == 0
                }
                guard same else { return false }
                offset += got
            }
            return true
        }
    }

    /// Removes the longest unused copies that no host holds.
    private func prune() {
        var folders: [(path: String, used: Int)] = []
        for name in directoryEntries(directory) ?? [] where name.utf8.count == 64 {
            var status = stat()
            guard stat(directory + "/" + name, &status) == 0 else { continue }
            folders.append((directory + "/" + name, status.st_mtim.tv_sec))
        }
        guard folders.count > Self.copiesMax else { return }
        for folder in folders.sorted(by: { $0.used < $1.used }).prefix(folders.count - Self.copiesMax) {
            let lock = open(folder.path + "/lock", O_RDWR | O_CLOEXEC)
            guard lock >= 0 else { continue }
            defer { close(lock) }
            guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { continue }
            for name in directoryEntries(folder.path) ?? [] { unlink(folder.path + "/" + name) }
            rmdir(folder.path)
        }
    }

    private func failure(_ verb: String, _ path: String) -> PluginRefusal {
        PluginRefusal(
            .cacheUnusable, "cannot \(verb) \(path): \(String(cString: strerror(errno)))",
            mend: "Free some room, or name another directory under [vchost] plugin_cache")
    }
}

/// The names in a directory, but for those that begin with a dot; sorted. Nil when it cannot be read.
func directoryEntries(_ path: String) -> [String]? {
    guard let handle = opendir(path) else { return nil }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            String(cString: UnsafeRawPointer(pointer).assumingMemoryBound(to: CChar.self))
        }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
}

/// Writes a file and forces it to the disk. Returns 0, or -1 with `errno` set.
func writeWhole(_ bytes: [UInt8], to path: String, mode: mode_t) -> Int32 {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else { return -1 }
    var offset = 0
    while offset < bytes.count {
        let wrote = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + offset, bytes.count - offset) }
        if wrote < 0, errno == EINTR { continue }
        guard wrote > 0 else { break }
        offset += wrote
    }
    let synced = offset == bytes.count && fchmod(descriptor, mode) == 0 && fsync(descriptor) == 0
    let code = errno
    close(descriptor)
    errno = code
    return synced ? 0 : -1
}
