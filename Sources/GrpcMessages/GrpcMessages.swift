// `swift build` makes the messages of the gRPC plugins out of their .proto files, and nothing generated is committed.
//
// A prebuild command, because the package manager of Swift 6.3 takes generated sources of Swift alone from a build
// command ("C source file generation not enabled"). It runs before each build, and does nothing when nothing changed.
// What it makes lies in `.build/messages`, where each plugin's `messages.cpp` includes it.

import Foundation
import PackagePlugin

@main
struct GrpcMessages: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        let package = context.package.directoryURL
        return [
            .prebuildCommand(
                displayName: "Messages of the gRPC plugins", executable: URL(fileURLWithPath: "/bin/sh"),
                arguments: [package.appending(path: "Sources/GrpcMessages/generate").path()],
                outputFilesDirectory: context.pluginWorkDirectoryURL)
        ]
    }
}
