// `vchost --plugins plugins.d`: the host, until it is told to stop.

import Control
import Glibc
import HostServices

enum RunCommand: Command {
    static let name = "run"
    static let summary = "run the host (what `vchost --plugins DIRECTORY` does)"

    private static let options = [
        Option("--plugins", "DIRECTORY", "where the plugins are; plugins.d, or those installed"),
        Option("--config", "FILE", "the configuration; vchost.ini when it is not given and exists"),
    ]

    static let help = """
        usage: vchost --plugins DIRECTORY [--config FILE]

        Answers calls until SIGTERM or SIGINT, then ends those that are up and stops. SIGHUP looks for new
        plugins, which are otherwise seen as they come.

        \(Arguments.help(options))
        """

    static func run(_ words: [String]) throws -> Int32 {
        let arguments = try Arguments(words, options: options)
        if let word = arguments.positional.first { throw UsageError(message: "\(word) is one word too many") }
        let sources = try ConfigurationSources(config: arguments["--config"], plugins: arguments["--plugins"])

        // Before any thread: all inherit the mask, and the signals wait for us.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        // A terminal that closes is no reason to end calls: it makes the host look at its plugins again.
        sigaddset(&signals, SIGHUP)
        pthread_sigmask(SIG_BLOCK, &signals, nil)

        let runtime = try HostRuntime(sources)
        var received = SIGHUP
        repeat {
            sigwait(&signals, &received)
            if received == SIGHUP { runtime.reload() }
        } while received == SIGHUP
        // A second one ends the process at once, whatever is still open.
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        runtime.logger.info("stopping: \(received == SIGINT ? "SIGINT" : "SIGTERM")")
        runtime.stop()
        return 0
    }
}
