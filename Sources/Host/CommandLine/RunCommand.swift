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

        Answers calls until SIGTERM or SIGINT, then ends those that are up and stops.

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
        pthread_sigmask(SIG_BLOCK, &signals, nil)

        // A terminal that closes is no reason to end calls.
        signal(SIGHUP, SIG_IGN)

        let runtime = try HostRuntime(sources)
        var received: Int32 = 0
        sigwait(&signals, &received)
        // A second one ends the process at once, whatever is still open.
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        runtime.logger.info("stopping: \(received == SIGINT ? "SIGINT" : "SIGTERM")")
        runtime.stop()
        return 0
    }
}
