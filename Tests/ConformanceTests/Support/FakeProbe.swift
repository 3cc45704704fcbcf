// A probe that misbehaves: a real process with the real descriptors, which does what the last word of its rule's id says.

import Glibc
import JSON
import Testing

@testable import Conformance
@testable import Providers

enum FakeProbe {
    static let repository: String = {
        var path = #filePath[...]
        for _ in 0..<4 { path = path[..<path.lastIndex(of: "/")!] }
        return String(path)
    }()

    /// The program, compiled once for each run of the tests.
    static let program: String = {
        var template = Array("/var/tmp/vchost-fake-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil)
        let folder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        let source = folder + "/fake.c"
        let file = fopen(source, "w")!
        fputs(text, file)
        fclose(file)
        let ground = repository + "/Sources/CConformance"
        // clang: the shared headers say what may be NULL in its words.
        let status = execute([
            "/usr/bin/clang", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I", ground + "/include", source,
            ground + "/breadcrumb.c", "-o", folder + "/probe",
        ])
        precondition(status == 0, "the fake probe does not compile")
        return folder + "/probe"
    }()

    /// Runs rules, each with a fake probe of its own.
    static func run(
        _ rules: [Rule], jobs: Int = 2, peers: any PeerSource = NoPeers(), subjects: [Subject] = [.sample()],
        _ change: (inout RunSettings) -> Void = { _ in }
    ) throws -> [Report] {
        var settings = RunSettings()
        settings.probe = [program]
        settings.jobs = jobs
        settings.level = .resilient
        // Above what these probes need by a factor of fifty, below what a test wants to wait.
        settings.budget.cpuMs = 300
        settings.budget.wallMs = 5_000
        settings.budget.partingMs = 100
        change(&settings)
        return try Runner(settings, peers: peers).run(subjects, rules: rules)
    }

    /// The result of one.
    static func result(
        _ behaviour: String, peers: any PeerSource = NoPeers(), _ change: (inout RunSettings) -> Void = { _ in }
    ) throws -> RuleResult {
        try #require(run([.fake(behaviour)], peers: peers, change)[0].results.first)
    }

    private static let text = #"""
        #include <errno.h>
        #include <fcntl.h>
        #include <malloc.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/resource.h>
        #include <sys/wait.h>
        #include <unistd.h>
        #include "breadcrumb.h"

        static char job[65536], nonce[128], rule[128];

        static void member(const char *name, char *out) {
            char key[32];
            snprintf(key, sizeof key, "\"%s\":\"", name);
            const char *at = strstr(job, key);
            if (!at) _exit(90);
            at += strlen(key);
            size_t i = 0;
            while (at[i] != '"') { out[i] = at[i]; i++; }
            out[i] = 0;
        }
        static void line(const char *text, char *out, size_t capacity) {
            dprintf(5, "%s\n", text);
            size_t length = 0;
            while (length + 1 < capacity && read(5, out + length, 1) == 1 && out[length] != '\n') length++;
            out[length] = 0;
        }
        static void say(const char *text) { dprintf(3, "%s %s\n", nonce, text); }
        static void note(const char *name, const char *value) {
            dprintf(3, "%s note {\"name\":\"%s\",\"value\":\"%s\"}\n", nonce, name, value);
        }
        static int is(const char *behaviour) { return strcmp(rule + strlen("VC-FAKE-"), behaviour) == 0; }
        static void sleep_for_ever(void) { for (;;) pause(); }

        /// A grandchild in a session of its own that has closed everything and sleeps.
        static void stray(int forgets_environment, int forgets_limit) {
            int ready[2];
            if (pipe(ready)) _exit(91);
            if (fork() == 0) {
                setsid();
                if (fork() == 0) {
                    if (forgets_limit) {
                        struct rlimit limit;
                        getrlimit(RLIMIT_MSGQUEUE, &limit);
                        limit.rlim_cur = 12345;
                        setrlimit(RLIMIT_MSGQUEUE, &limit);
                    }
                    char *const arguments[] = {"sleep", "600", NULL}, *const none[] = {NULL};
                    fcntl(ready[1], F_SETFD, FD_CLOEXEC);
                    for (int i = 0; i < 64; i++) if (i != ready[1]) close(i);
                    if (forgets_environment) execve("/bin/sleep", arguments, none);
                    else execv("/bin/sleep", arguments);
                }
                _exit(0);
            }
            close(ready[1]);
            char byte;
            // Ends when the sleeper has become one.
            while (read(ready[0], &byte, 1) < 0 && errno == EINTR) {}
            close(ready[0]);
            wait(NULL);
        }

        int main(void) {
            if (getenv("FAKE_STILLBORN")) { fprintf(stderr, "no such library\n"); return 3; }
            size_t length = 0;
            while (length + 1 < sizeof job && read(5, job + length, 1) == 1 && job[length] != '\n') length++;
            job[length] = 0;
            member("nonce", nonce);
            member("rule", rule);
            vcc_page_attach(4);
            vcc_where("the start");

            if (strcmp(rule, "VC-PILOT-01") == 0) { say("skip {\"why\":\"connection refused\"}"); say("done"); }
            if (is("pass")) say("done");
            if (is("fail")) {
                say("fail {\"what\":\"finalize(request 42)\",\"expected\":\"FINALIZED carrying 42\",\"got\":\"43\",\"place\":\"finalize\"}");
                say("fail {\"what\":\"a second\",\"expected\":\"\",\"got\":\"\",\"place\":\"\"}");
                say("done");
            }
            if (is("skip")) { say("skip {\"why\":\"the provider has no marks\"}"); say("done"); }
            if (is("failAndDie")) { say("fail {\"what\":\"x\",\"expected\":\"y\",\"got\":\"z\"}"); raise(SIGKILL); }
            if (is("exit0")) exit(0);
            if (is("exit7")) exit(7);
            if (is("closeAll")) { close_range(0, ~0U, 0); exit(0); }
            if (is("closeAllAndSleep")) { close_range(0, ~0U, 0); sleep_for_ever(); }
            if (is("forge")) {
                dprintf(3, "done\n0123456789abcdef0123456789abcdef done\npass\n");
                dprintf(5, "done\n");
                dprintf(1, "%s done\n", nonce);
                exit(0);
            }
            if (is("stdout")) { dprintf(1, "ok 1 - everything\n"); dprintf(2, "a warning\n"); say("done"); }
            if (is("segv")) { vcc_where_number("push frame=", 17); raise(SIGSEGV); }
            if (is("abort")) { vcc_where("create"); abort(); }
            if (is("loop")) { vcc_where("close"); for (volatile int i = 0;; i++) {} }
            if (is("sleep")) { vcc_where("cancel"); sleep_for_ever(); }
            if (is("ignoreTerm")) { for (int i = 1; i < 32; i++) signal(i, SIG_IGN); sleep_for_ever(); }
            if (is("floodOutput")) {
                char block[4096];
                memset(block, 'x', sizeof block);
                for (int i = 0; i < 2048; i++) if (write(1, block, sizeof block) < 0) _exit(92);
                say("done");
            }
            if (is("floodVerdict")) for (;;) if (dprintf(3, "nonsense without a nonce, again and again\n") < 0) _exit(93);
            if (is("longVerdict")) { for (;;) if (write(3, "xxxxxxxxxxxxxxxx", 16) < 0) _exit(93); }
            if (is("floodPeer")) {
                static char block[65536];
                memset(block, 'x', sizeof block);
                signal(SIGPIPE, SIG_IGN);
                while (write(5, block, sizeof block) >= 0) {}
                say("done");
            }
            if (is("stray")) { stray(0, 0); say("done"); }
            if (is("strayWithoutEnvironment")) { stray(1, 0); say("done"); }
            if (is("strayWithoutLimit")) { stray(0, 1); say("done"); }
            if (is("forkAndHang")) { stray(1, 0); sleep_for_ever(); }
            if (is("child")) { if (fork() == 0) sleep_for_ever(); say("done"); }
            if (is("doneAndSleep")) { say("done"); sleep_for_ever(); }
            if (is("doneAndCrash")) { say("done"); raise(SIGSEGV); }
            if (is("ask")) {
                static char answer[1 << 20];
                line("{\"ask\":\"http\",\"id\":7}", answer, sizeof answer);
                char count[32];
                snprintf(count, sizeof count, "%zu", strlen(answer));
                note("bytes", count);
                answer[100] = 0;
                for (char *c = answer; *c; c++) if (*c == '"' || *c == '\\') *c = '\'';
                note("answer", answer);
                say("done");
            }
            if (is("surroundings")) {
                char text[4096] = "", here[1024];
                for (int i = 0; i < 1024; i++) if (fcntl(i, F_GETFD) >= 0) sprintf(text + strlen(text), "%d ", i);
                note("descriptors", text);
                note("session", getsid(0) == getpid() && getpgrp() == getpid() ? "own" : "shared");
                text[0] = 0;
                for (char **v = environ; *v; v++) { strncat(text, *v, strcspn(*v, "=")); strcat(text, " "); }
                note("environment", text);
                note("home", strcmp(getcwd(here, sizeof here), getenv("HOME")) == 0 ? "here" : "elsewhere");
                struct sigaction action;
                sigaction(SIGPIPE, NULL, &action);
                note("SIGPIPE", action.sa_handler == SIG_DFL ? "default" : "changed");
                char byte;
                note("input", read(0, &byte, 1) == 0 ? "empty" : "something");
                say("done");
            }
            if (is("heap")) {
                // As many as a thread's cache takes of one size, and one behind them that is never free.
                enum { COUNT = 7, BYTES = 400 };
                void *blocks[COUNT];
                for (int i = 0; i < COUNT; i++) blocks[i] = malloc(BYTES);
                void *volatile last = malloc(BYTES);
                size_t before = mallinfo2().uordblks;
                for (int i = 0; i < COUNT; i++) free(blocks[i]);
                note("freed", last && before - mallinfo2().uordblks >= COUNT * BYTES ? "all" : "not all");
                say("done");
            }
            if (is("link")) { note("file", access("Sources/Conformance/Rule.swift", R_OK) == 0 ? "there" : "not there"); say("done"); }
            return 0;
        }
        """#
}

extension Rule {
    /// A rule whose probe does `behaviour`.
    static func fake(
        _ behaviour: String, level: Level = .basic, _ weight: Weight = .must, clock: Clock = .virtual,
        needs: [String] = [], kinds: [PluginKind] = [], id: String? = nil, skip: @escaping @Sendable (Subject) -> String? = { _ in nil },
        check: Check = .probe { _ in }
    ) -> Rule {
        Rule(
            id ?? "VC-FAKE-\(behaviour)", level, weight, kinds: kinds, clock: clock, "A probe can do \(behaviour).",
            because: "Plugins do it.", needs: needs, skip: skip, check: check)
    }
}

extension Subject {
    /// A plugin that is never loaded, with one provider of each kind named.
    static func sample(id: String = "org.acme.tts", kinds: [String] = ["vc.tts/1"], files: [String] = [], network: [String] = []) -> Subject {
        let document: JSONValue = [
            "manifest": 1, "id": .string(id), "version": "2.4.0", "title": "Acme", "license": "Apache-2.0",
            "abi": ["major": 1, "minor": 0, "hostMinorMin": 0], "runtime": ["language": "c"],
            "files": .array(files.map { .string($0) }), "network": .array(network.map { .string($0) }),
            "providers": .array(
                kinds.enumerated().map { index, kind in
                    [
                        "kind": .string(kind), "id": .string(index == 0 ? id : "\(id)-\(index + 1)"),
                        "capabilities": kind == "vc.telephony/1" ? ["profile": "signalling"] : [:],
                    ]
                }),
        ]
        let manifest = try! Manifest(document)
        return Subject(
            path: "/plugins/acme.so", name: "acme.so", sha256: SHA256.hex(Array(id.utf8)), bytes: Array(id.utf8), manifest: manifest,
            manifestText: document.text)
    }
}

/// Runs a program to its end and gives its exit code.
@discardableResult
func execute(_ command: [String]) -> Int32 {
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    var child: pid_t = 0
    guard posix_spawn(&child, command[0], nil, nil, &arguments, environ) == 0 else { return -1 }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f)
}
