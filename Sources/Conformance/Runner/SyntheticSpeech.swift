// A recording for those who have none: one sentence, spoken by flite into the run's folder.
//
// flite and not a file of ours: its voice is one of Debian's packages that a build needs anyway, it takes some
// hundredths of a second, and the same version says the same sentence to the last bit, so that two runs have the same
// report. Who wants another voice, or a person's, names a recording.

import CConformance
import Glibc
import Providers

enum SyntheticSpeech {
    /// Without a pause within: rules cut it anywhere, and repeat it.
    static let sentence = "I would like to know when my parcel will arrive because nobody has seen it since Monday"
    static let program = "flite"
    /// A hundred times what it needs.
    static let deadlineMs: Int32 = 5_000

    /// Kinds whose rules say something.
    static func isHeard(by kind: String) -> Bool {
        switch PluginKind(rawValue: kind) {
        case .voiceActivity, .speechToText, .turn: true
        default: false
        }
    }

    /// The recording's path; empty when there is no flite, or it fails.
    static func make(in folder: String) -> String {
        let path = folder + "/speech.wav"
        let arguments = [program, "-voice", "kal16", "-t", sentence, "-o", path]
        var words = arguments.map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
        }
        var child: pid_t = 0
        guard posix_spawnp(&child, program, &actions, nil, &words, environ) == 0 else { return "" }
        awaitEnd(of: child)
        // A file that is not there, not whole or not speech is no recording, whatever the program says of itself.
        return (try? SpeechRecording(path: path)) == nil ? "" : path
    }

    /// Until it ends, or until its time is over.
    private static func awaitEnd(of child: pid_t) {
        let descriptor = vcc_child_descriptor(child)
        if descriptor >= 0 {
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            while poll(&waiting, 1, deadlineMs) < 0, errno == EINTR {}
            close(descriptor)
        }
        kill(child, SIGKILL)
        while waitpid(child, nil, 0) < 0, errno == EINTR {}
    }
}
