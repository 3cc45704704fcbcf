// Swift has no stable ABI on Linux: a plugin that shares the host's runtime must come from the same toolchain, or its
// first cast may end the process. A plugin of any other toolchain links its runtime statically, and then several live
// side by side, since nothing but C crosses the line.
//
// The compiler does not tell its version as a text, only as a condition; hence the ladder. A version that is not on it
// makes no claim, and then shared plugins are accepted and the log says that nothing was compared.

public enum SwiftRuntime {
    /// The version of the toolchain with which this host was built.
    public static var toolchain: String? {
        #if compiler(>=6.5)
            nil
        #elseif compiler(>=6.4)
            "6.4"
        #elseif compiler(>=6.3.3)
            "6.3.3"
        #elseif compiler(>=6.3.2)
            "6.3.2"
        #elseif compiler(>=6.3.1)
            "6.3.1"
        #elseif compiler(>=6.3)
            "6.3"
        #elseif compiler(>=6.2.4)
            "6.2.4"
        #elseif compiler(>=6.2.3)
            "6.2.3"
        #elseif compiler(>=6.2.2)
            "6.2.2"
        #elseif compiler(>=6.2.1)
            "6.2.1"
        #else
            "6.2"
        #endif
    }

    static func check(_ runtime: Manifest.Runtime, file: String) throws(PluginRefusal) {
        guard runtime.language == "swift", runtime.standardLibrary == .shared, let ours = toolchain,
            let theirs = runtime.toolchain, theirs != ours
        else { return }
        throw PluginRefusal(
            .toolchainDiffers,
            "\(file) shares the Swift runtime and was built with Swift \(theirs), and this host with \(ours)",
            mend: "Build it with Swift \(ours), or with -static-stdlib and \"stdlib\": \"static\" in its manifest")
    }
}
