// swift-tools-version: 6.2
//
// The flags are the contract's: hidden symbols but for the entry, everything bound when it is loaded, never unmapped;
// and Swift's runtime linked in, so that the toolchain need not be the host's.

import PackageDescription

// The Makefile says where the installed PluginKit is.
let kit = Context.environment["VCHOST_PLUGINKIT"] ?? "/usr/local/share/vchost/PluginKit"
let linker = [
    "-static-stdlib", "-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "now", "-Xlinker", "-z", "-Xlinker", "nodelete",
    "-Xlinker", "-z", "-Xlinker", "defs", "-Xlinker", "--gc-sections",
    "-Xlinker", "--version-script=\(Context.packageDirectory)/exports.map",
]

let package = Package(
    name: "plugin-name",
    products: [.library(name: "PluginName", type: .dynamic, targets: ["PluginName"])],
    dependencies: [.package(path: kit)],
    targets: [
        .target(
            name: "PluginName", dependencies: [.product(name: "PluginKit", package: "PluginKit")],
            swiftSettings: [.swiftLanguageMode(.v6)], linkerSettings: [.unsafeFlags(linker)])
    ]
)
