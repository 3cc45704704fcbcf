// Where the program's own files are: templates, and the flags with which a plugin is built.
//
// Found from the executable and from nothing else, so that an installation can be moved, and several can live on one
// machine. Two layouts are known: PREFIX/bin/vchost, and .build/CONFIGURATION/vchost in the source tree.

import Glibc

public struct Installation: Sendable {
    /// The parts of new plugins.
    public let templates: String
    /// The directory with vchost-plugin.pc.
    public let pkgConfig: String
    /// Where plugins are when nobody says it: the installation's directory, or `plugins.d` of the current one for a
    /// host that is run where it was built.
    public let plugins: String

    /// Of the running executable.
    public static let own = Installation(executable: realpath("/proc/self/exe", nil).map { path in
        defer { free(path) }
        return String(cString: path)
    } ?? "/usr/local/bin/vchost")

    /// - Parameter executable: An absolute path without links.
    init(executable: String) {
        var folder = Self.parent(executable)
        let prefix = Self.parent(folder)
        let installed = "\(prefix)/share/vchost/templates"
        guard access(installed, R_OK) != 0 else {
            templates = installed
            pkgConfig = "\(prefix)/lib/pkgconfig"
            plugins = "\(prefix)/lib/vchost/plugins.d"
            return
        }
        plugins = "plugins.d"
        while folder != "/", access("\(folder)/Templates/vchost-plugin.pc", R_OK) != 0 { folder = Self.parent(folder) }
        guard folder != "/" else {
            templates = installed
            pkgConfig = "\(prefix)/lib/pkgconfig"
            return
        }
        templates = "\(folder)/Templates"
        pkgConfig = templates
    }

    private static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}
