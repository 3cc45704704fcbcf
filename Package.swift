// swift-tools-version: 6.2
//
// One package, three sorts of things:
//   - the modules under Sources/, whose arrows only point down (see `docs/architecture.md`),
//   - the plugins under Plugins/, each a dynamic library that knows nothing but `Sources/PluginABI`,
//   - the tests.
//
// `swift build` alone builds everything; `make build` also packs each plugin's manifest and puts it into plugins.d/.

import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// lld for everything: Debian's gold prints thousands of warnings under sanitizers, and lld is no slower.
let linkWithLLD: LinkerSetting = .unsafeFlags(["-use-ld=lld"])

/// A module of the host.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name, dependencies: dependencies, swiftSettings: swiftSettings, linkerSettings: [linkWithLLD])
}

/// `exclude`: what its tests read as files.
func tests(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies, exclude: exclude,
        swiftSettings: swiftSettings, linkerSettings: [linkWithLLD])
}

/// A C library of the system, seen by Swift through the module map in Sources/CLibraries/.
func cLibrary(_ name: String, pkgConfig: String? = nil, package: String) -> Target {
    .systemLibrary(
        name: name, path: "Sources/CLibraries/\(name)", pkgConfig: pkgConfig, providers: [.apt([package])])
}

/// Of the C++ that speaks gRPC: hidden, and with the generated messages.
let cxxSettings: [CXXSetting] = [
    .unsafeFlags([
        "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-Wall", "-Wextra",
        "-isystem", "\(Context.packageDirectory)/.build/messages",
    ])
]

enum Language { case swift, c, grpc }

/// A provider plugin: a dynamic library that exports `vc_plugin_entry_v1` and nothing else.
///
/// `now` because a plugin with an unresolved symbol must fail when it is loaded and not in a call; `nodelete`
/// because a Swift image that was ever mapped may not be unmapped
/// (`docs/decisions/0002-plugins-are-never-unmapped.md`). `hasScripts`: it has a folder `conform` with its vendor
/// (`docs/conform-scripts.md`).
///
/// One that speaks gRPC is C++: it has its .proto files beside it, whose messages `GrpcMessages` makes.
func plugin(
    _ name: String, _ language: Language, _ dependencies: [Target.Dependency] = [], logic: String? = nil,
    examples: [String] = [], protos: [String] = [], hasScripts: Bool = false, link: [LinkerSetting] = []
) -> (product: Product, target: Target) {
    let exports = "\(Context.packageDirectory)/Plugins/exports.map"
    let linker: LinkerSetting = .unsafeFlags([
        "-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "now", "-Xlinker", "-z", "-Xlinker", "nodelete",
        "-Xlinker", "--version-script=\(exports)",
    ])
    return (
        .library(name: name, type: .dynamic, targets: [name]),
        .target(
            name: name,
            dependencies: (language == .swift ? ["PluginKit", "JSON"] : ["PluginABI"])
                + (language == .grpc ? ["GrpcKit"] : []) + dependencies
                + (logic.map { [.byName(name: $0)] } ?? []),
            path: "Plugins/\(name)",
            exclude: ["manifest.json", "README.md"] + (logic.map { [$0] } ?? []) + examples + protos
                + (hasScripts ? ["conform"] : []),
            publicHeadersPath: language == .swift ? nil : ".",
            cSettings: [.unsafeFlags(["-fvisibility=hidden", "-Wall", "-Wextra"])],
            cxxSettings: language == .grpc ? cxxSettings : [],
            swiftSettings: language == .swift ? swiftSettings : [],
            linkerSettings: [linker] + link)
    )
}

/// The part of a plugin that decides and touches nothing: a module of its own, so that tests can import it.
func logic(_ name: String, of plugin: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name, dependencies: ["PluginKit", "JSON"] + dependencies, path: "Plugins/\(plugin)/\(name)",
        swiftSettings: swiftSettings)
}

let plugins = [
    plugin("TelephonySIP", .c, ["Csofia"], hasScripts: true),
    plugin("TelephonyOpenSIPS", .swift, logic: "BackToBack", hasScripts: true),
    plugin("TelephonyTwilio", .c, logic: "TwilioWire", hasScripts: true),
    plugin("VADEnergy", .c, link: [.linkedLibrary("m")]),
    plugin("VADSilero", .c),
    plugin("STTFasterWhisper", .swift, logic: "UtteranceAudio", hasScripts: true),
    plugin("STTDeepgram", .swift, logic: "DeepgramListen", hasScripts: true),
    plugin("STTVosk", .swift, logic: "VoskDialogue", hasScripts: true),
    plugin(
        "LLMRules", .swift, logic: "KnowledgeEngine", examples: ["example.knowledge", "example-tr.knowledge"],
        hasScripts: true),
    plugin("LLMOpenAI", .swift, logic: "ChatStream", hasScripts: true),
    plugin("LLMOllama", .swift, ["ChatStream"], logic: "OllamaChat", hasScripts: true),
    plugin("LLMLlama", .swift, ["ChatStream"], logic: "LlamaSocket", hasScripts: true),
    plugin("TTSPiper", .swift, logic: "PiperAudio", hasScripts: true),
    plugin("TTSCartesia", .swift, logic: "CartesiaLine", hasScripts: true),
    plugin(
        "TTSFlite", .c,
        link: ["flite_cmu_us_kal", "flite_usenglish", "flite_cmulex", "flite"].map { .linkedLibrary($0) }),
    plugin("STTGrpc", .grpc, protos: ["asr.proto"]),
    plugin("LLMGrpc", .grpc, protos: ["llm.proto"]),
    plugin("TTSGrpc", .grpc, protos: ["tts.proto"]),
    plugin("TTSGoogle", .grpc, protos: ["google_tts.proto"], link: [.linkedLibrary("crypto")]),
    plugin("InstantSTT", .swift),
    plugin("InstantLLM", .swift),
    plugin("InstantTTS", .swift),
    plugin("ExampleTTS", .c),
]

let package = Package(
    name: "vchost",
    products: [.executable(name: "vchost", targets: ["Host"])] + plugins.map(\.product),
    targets: [
        // The contract, and the C that Swift cannot do without.
        .target(name: "PluginABI", exclude: ["abi.toml"]),
        .target(name: "CPlatform"),
        .target(name: "CConformance"),
        cLibrary("Cltdl", package: "libltdl-dev"),
        cLibrary("Ccurl", pkgConfig: "libcurl", package: "libcurl4-openssl-dev"),
        cLibrary("Clws", pkgConfig: "libwebsockets", package: "libwebsockets-dev"),
        cLibrary("Cmicrohttpd", pkgConfig: "libmicrohttpd", package: "libmicrohttpd-dev"),
        cLibrary("Cwslay", package: "libwslay-dev"),
        cLibrary("Copus", pkgConfig: "opus", package: "libopus-dev"),
        cLibrary("Csofia", pkgConfig: "sofia-sip-ua", package: "libsofia-sip-ua-dev"),
        cLibrary("Cspeexdsp", pkgConfig: "speexdsp", package: "libspeexdsp-dev"),

        // The host, from the wire upwards.
        module("JSON"),
        module("Media", ["CPlatform", "Copus", "Cspeexdsp"]),
        module("Calls", ["Media"]),
        module("Providers", ["PluginABI", "CPlatform", "Cltdl", "Calls", "JSON"]),
        module(
            "HostServices",
            ["Providers", "PluginABI", "CPlatform", "Ccurl", "Clws", "Cmicrohttpd", "Cwslay", "Media", "JSON"]),
        module("Conformance", ["Providers", "PluginABI", "CPlatform", "CConformance", "JSON"]),
        module("Control", ["Providers", "HostServices", "Calls", "Media", "JSON"]),
        .executableTarget(
            name: "Host",
            dependencies: [
                "Control", "Conformance", "Providers", "HostServices", "Calls", "Media", "CPlatform", "PluginABI",
                "JSON",
            ],
            swiftSettings: swiftSettings, linkerSettings: [linkWithLLD]),

        // Benchmarks of the modules above (each folder has a `run.py`).
        .executableTarget(
            name: "MediaBenchmark", dependencies: ["Media"], path: "Benchmarks/media-engine/Sources",
            swiftSettings: swiftSettings, linkerSettings: [linkWithLLD]),
        .executableTarget(
            name: "PluginLineBenchmark", dependencies: ["Providers", "PluginABI", "Calls", "JSON"],
            path: "Benchmarks/plugin-line/Sources",
            swiftSettings: swiftSettings, linkerSettings: [linkWithLLD]),
        .executableTarget(
            name: "DetectorFloor", dependencies: ["Providers"], path: "Benchmarks/detector-floor",
            swiftSettings: swiftSettings, linkerSettings: [linkWithLLD]),

        // For authors of plugins.
        module("PluginKit", ["PluginABI", "JSON"]),
        .plugin(name: "GrpcMessages", capability: .buildTool(), path: "Sources/GrpcMessages"),
        .target(
            name: "GrpcKit", dependencies: ["PluginABI"], cxxSettings: cxxSettings,
            linkerSettings: ["grpc++", "grpc", "gpr", "absl_synchronization", "protobuf"].map { .linkedLibrary($0) },
            plugins: ["GrpcMessages"]),

        logic("UtteranceAudio", of: "STTFasterWhisper"), logic("KnowledgeEngine", of: "LLMRules"),
        logic("ChatStream", of: "LLMOpenAI"), logic("PiperAudio", of: "TTSPiper"),
        logic("BackToBack", of: "TelephonyOpenSIPS"),
        logic("OllamaChat", of: "LLMOllama", ["ChatStream"]), logic("LlamaSocket", of: "LLMLlama"),
        logic("DeepgramListen", of: "STTDeepgram"), logic("VoskDialogue", of: "STTVosk"),
        logic("CartesiaLine", of: "TTSCartesia"),
        .target(
            name: "TwilioWire", path: "Plugins/TelephonyTwilio/TwilioWire",
            cSettings: [.unsafeFlags(["-fvisibility=hidden", "-Wall", "-Wextra"])],
            linkerSettings: [.linkedLibrary("crypto")]),

        tests("PluginABI"), tests("Media"), tests("Calls"), tests("Providers"), tests("HostServices"),
        tests("Control", exclude: ["Fixtures"]), tests("JSON"), tests("Host"), tests("TwilioWire", ["Media"]),
        tests("BackToBack", ["PluginKit", "JSON"], exclude: ["Golden"]),
        tests(
            "PluginKit",
            [
                "UtteranceAudio", "DeepgramListen", "VoskDialogue", "KnowledgeEngine", "ChatStream", "OllamaChat",
                "LlamaSocket", "PiperAudio", "CartesiaLine",
            ]),
        tests("Conformance", ["Host", "CConformance", "Providers", "PluginABI", "JSON"], exclude: ["Golden"]),
        // What breaks one rule and dies of it, for the tests of the ground that the conformance rules stand on.
        .executableTarget(
            name: "CConformanceChild", dependencies: ["CConformance"], path: "Tests/CConformanceChild",
            linkerSettings: [linkWithLLD]),
        .testTarget(
            name: "CConformanceTests", dependencies: ["CConformance", "CConformanceChild"],
            swiftSettings: swiftSettings, linkerSettings: [linkWithLLD]),
        .testTarget(
            name: "DetectionTests", dependencies: ["Providers", "PluginABI"],
            swiftSettings: swiftSettings, linkerSettings: [linkWithLLD]),
    ] + plugins.map(\.target),
    cLanguageStandard: .c11,
    cxxLanguageStandard: .cxx17
)
