// What voices said when somebody wanted to hear them: WAV files in the state directory, so that a page on which people
// choose a voice costs the vendor's characters once.
//
// Files named by the hash of everything that decides how they sound, and no index beside them: two processes may write
// at once, and what is in the directory is what there is. Nothing here is worth keeping; the oldest go when there are
// too many, or too large ones.

import Glibc
import Media
import Providers

struct PreviewCache: Sendable {
    /// An operator's voices in a few languages and sentences.
    static let filesMaxUsual = 256
    /// Twenty minutes of 24 kHz.
    static let bytesMaxUsual = 64 << 20

    let directory: String
    var filesMax = Self.filesMaxUsual
    var bytesMax = Self.bytesMaxUsual

    func path(of request: PreviewRequest) -> String { "\(directory)/\(request.key).wav" }

    /// The preview that was kept, or nil. A file that is none is made anew.
    func find(_ request: PreviewRequest) -> WAVFile? {
        guard let file = try? WAVFile(path: path(of: request)), !file.samples.isEmpty else { return nil }
        return file
    }

    /// Keeps `file`. Nil, or why that did not work.
    func keep(_ file: WAVFile, of request: PreviewRequest) -> String? {
        var made = directory.hasPrefix("/") ? "" : "."
        for part in directory.split(separator: "/") {
            made += "/" + part
            // Where one exists, or may not be made, the next step says what is wrong.
            _ = mkdir(made, 0o700)
        }
        let target = path(of: request)
        // Whoever looks meanwhile finds the whole file or none.
        let temporary = "\(target).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        do throws(WAVError) { try file.write(to: temporary) } catch {
            unlink(temporary)
            return "\(error)"
        }
        guard rename(temporary, target) == 0 else {
            let reason = String(cString: strerror(errno))
            unlink(temporary)
            return "\(target) cannot be written: \(reason)"
        }
        makeRoom(keeping: target)
        return nil
    }

    /// The next one who asks is spoken to anew.
    func forget(_ request: PreviewRequest) { unlink(path(of: request)) }

    /// Removes the oldest until both bounds hold. What is new is kept, however large.
    private func makeRoom(keeping newest: String) {
        var files = all().sorted { ($0.madeNs, $0.path) < ($1.madeNs, $1.path) }
        var bytes = files.reduce(0) { $0 + $1.bytes }
        while let oldest = files.first(where: { $0.path != newest }), files.count > filesMax || bytes > bytesMax {
            unlink(oldest.path)
            bytes -= oldest.bytes
            files.removeAll { $0.path == oldest.path }
        }
    }

    private struct Kept {
        let path: String
        let bytes: Int
        let madeNs: Int64
    }

    /// All files of the directory, a temporary one of a process that died among them.
    private func all() -> [Kept] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var found: [Kept] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            let path = "\(directory)/\(name)"
            var status = stat()
            guard name.contains(".wav"), lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            let madeNs = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
            found.append(Kept(path: path, bytes: Int(status.st_size), madeNs: madeNs))
        }
        return found
    }
}
