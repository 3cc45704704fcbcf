// swift-tools-version: 6.2
//
// PluginKit for plugins that are built outside of vchost's own tree. It is compiled with the plugin, by the plugin's
// own toolchain, and linked into it: so neither has to be the host's.

import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "PluginKit",
    products: [.library(name: "PluginKit", type: .static, targets: ["PluginKit", "JSON", "PluginABI"])],
    targets: [
        .target(name: "PluginABI"),
        .target(name: "JSON", swiftSettings: settings),
        .target(name: "PluginKit", dependencies: ["PluginABI", "JSON"], swiftSettings: settings),
    ],
    cLanguageStandard: .c11
)
