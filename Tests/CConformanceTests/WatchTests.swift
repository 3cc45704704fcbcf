import CConformance
import Glibc
import Testing

/// Compiled as an author's plugin would be. What is allocated escapes through a volatile pointer: compilers remove a
/// malloc that is only freed.
private let source = """
    #include <fcntl.h>
    #include <math.h>
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>

    static void *volatile escape;
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    int allocates(int times) {
        for (int i = 0; i < times; i++) {
            escape = malloc(64);
            free(escape);
        }
        return times;
    }

    /* Three allocations of different sorts; frees what it got when one fails, and says which. */
    int careful(int unused) {
        (void)unused;
        void *first = malloc(10), *second = NULL;
        if (first == NULL) return -1;
        char *copy = strdup("text");
        if (copy == NULL) { free(first); return -2; }
        if (posix_memalign(&second, 64, 128) != 0) { free(first); free(copy); return -3; }
        escape = second;
        free(first); free(copy); free(second);
        return 0;
    }

    int quiet(int times) { return times * 2; }

    int locks(int times) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
        return times;
    }

    /* Arguments in every sort of register, through the stubs: nine values, two of them floating. */
    int prints(int times) {
        char line[128];
        FILE *file = fopen("/dev/null", "w");
        int count = fprintf(file, "%d %d %d %d %d %.3f %s %d %.2f", 1, 2, 3, 4, 5, 2.5 * times, "seven", 8, 0.25);
        fclose(file);
        snprintf(line, sizeof line, "%d", count);
        int opened = open("/dev/null", O_RDWR | O_CREAT, 0600);
        close(opened);
        return count * 10 + (opened > 0);
    }

    static void *hold(void *is_taken) {
        pthread_mutex_lock(&mutex);
        *(volatile int *)is_taken = 1;
        usleep(20000);
        pthread_mutex_unlock(&mutex);
        return NULL;
    }

    int waits(int times) {
        volatile int is_taken = 0;
        pthread_t thread;
        pthread_create(&thread, NULL, hold, (void *)&is_taken);
        while (!is_taken) usleep(100);
        locks(times);
        pthread_join(thread, NULL);
        return locks(times);
    }

    static const char constant[] = "constant";
    int scribbles(int times) { *(volatile char *)&constant[times] = 1; return 0; }

    int leaves(int times) { if (times == 3) exit(0); return 0; }
    int wall(int unused) { (void)unused; return (int)time(NULL); }
    """

private final class Plugin {
    let path: String

    init(_ name: String, _ source: String, compiler: String = "/usr/bin/cc", suffix: String = "c", link: [String]) throws {
        var template = Array("/var/tmp/vchost-watch-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let folder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        path = folder + "/" + name
        let text = folder + "/source." + suffix
        let file = try #require(fopen(text, "w"))
        fputs(source, file)
        fclose(file)
        let flags = (["-O2", "-Wall", "-Wno-unused-result", "-shared", "-fPIC"] + link).joined(separator: " ")
        let status = system("\(compiler) \(flags) \(text) -o \(path)")
        try #require(status == 0)
    }

    deinit { system("rm -rf \(path[..<path.lastIndex(of: "/")!])") }
}

/// Without the places in the file, which are the compiler's business.
private func withoutPlaces(_ line: String) -> String {
    var text = ""
    var rest = line[...]
    while let start = rest.firstRange(of: " (first from "), let end = rest[start.upperBound...].firstIndex(of: ")") {
        text += rest[..<start.lowerBound]
        rest = rest[rest.index(after: end)...]
    }
    return text + rest
}

@Test(
    "Allocations are counted in the armed call and nowhere else, however the library was linked",
    arguments: [
        ["-Wl,-z,now", "-Wl,-z,relro"], ["-Wl,-z,lazy", "-Wl,-z,norelro"], ["-Wl,-z,lazy", "-Wl,-z,relro"],
        ["-fno-plt", "-Wl,-z,now"], ["-fuse-ld=lld", "-Wl,-z,now", "-Wl,-z,rodynamic"],
    ])
func countsAllocations(link: [String]) throws {
    let plugin = try Plugin("plugin.so", source, link: link)
    let child = try Child.run("watch", plugin.path, "allocates")
    #expect(child.exitCode == 0)
    #expect(child.lines.first == "redirected some, again 0")
    #expect(
        child.lines.dropFirst().map(withoutPlaces) == [
            // 1 unarmed, 3 armed, 5 suspended, 3 on a thread that is not armed.
            "result 3", "armed: malloc 3 times, free 3 times", "total: malloc 7 times, free 7 times",
        ])
    #expect(child.lines.last?.contains("malloc 7 times (first from plugin.so+0x") == true)
}

@Test("A slot that touches nothing counts nothing")
func countsNothing() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now"])
    let child = try Child.run("watch", plugin.path, "quiet")
    #expect(child.lines.dropFirst() == ["result 6", "armed: ", "total: "])
}

@Test("Variadic functions and floating-point arguments pass the stubs unchanged")
func variadicArguments() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now"])
    let child = try Child.run("watch", plugin.path, "prints")
    // "1 2 3 4 5 7.500 seven 8 0.25" has 28 characters.
    #expect(child.lines.dropFirst().first == "result 281")
    #expect(child.output.contains("open 1 time"))
}

@Test("A free lock is counted as a call and not as a wait")
func countsLocks() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now"])
    let child = try Child.run("watch", plugin.path, "locks")
    #expect(withoutPlaces(child.lines[2]) == "armed: pthread_mutex_lock 1 time")
}

@Test("A lock that is taken is counted as a wait")
func countsContention() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now", "-fvisibility=default"])
    #expect(try Child.run("contended", plugin.path, "waits").lines == ["1 of 2"])
}

@Test("A plugin that writes its own constants is told with the place in its file")
func scribblesOverConstants() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now"])
    let child = try Child.run("call", plugin.path, "scribbles")
    #expect(child.signal == SIGSEGV)
    #expect(child.sentence == "SIGSEGV at call: writes its own code or constants")
    #expect(child.details.contains("at the plugin's offset 0x"))
}

@Test("What a plugin allocates through the C++ library is seen when the libraries are watched too")
func watchesLibraries() throws {
    let source = """
        #include <sstream>
        extern "C" int streams(int times) {
            std::ostringstream text;
            text << "a text that is longer than what fits into a string itself, so that it is on the heap" << times;
            return text.tellp() > 0;
        }
        """
    let plugin = try Plugin("plugin.so", source, compiler: "/usr/bin/c++", suffix: "cpp", link: ["-Wl,-z,now"])
    #expect(try Child.run("libraries", plugin.path, "streams").lines == ["unseen", "seen"])
}

@Test("An exit inside the plugin is told by the page, with the call in which it happened")
func exitInPlugin() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now"])
    let child = try Child.run("watch", plugin.path, "leaves")
    #expect(child.status == 0)
    #expect(child.sentence == "exit() at the start")
}

@Test("Each allocation of a slot can be made to fail, one at a time")
func failsAllocations() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now"])
    let child = try Child.run("failing", plugin.path, "careful")
    #expect(child.lines == ["failed at 1: -1", "failed at 2: -2", "failed at 3: -3", "whole 0"])
}

@Test("A failed operator new throws bad_alloc, which the plugin may catch")
func failsOperatorNew() throws {
    let source = """
        #include <new>
        #include <vector>
        extern "C" int grows(int times) {
            try {
                std::vector<int> *values = new std::vector<int>;
                try {
                    for (int i = 0; i < times; i++) values->push_back(i);
                } catch (const std::bad_alloc &) {
                    delete values;
                    return -2;
                }
                int last = values->back();
                delete values;
                return last;
            } catch (const std::bad_alloc &) {
                return -1;
            }
        }
        """
    let plugin = try Plugin("plugin.so", source, compiler: "/usr/bin/c++", suffix: "cpp", link: ["-Wl,-z,now"])
    let child = try Child.run("failing", plugin.path, "grows")
    #expect(child.exitCode == 0)
    #expect(child.lines.first == "failed at 1: -1" && child.lines.last == "whole 2")
    #expect(child.lines.dropFirst().dropLast().allSatisfy { $0.hasSuffix(": -2") })
}

@Test("The wall clock that a plugin sees can jump back an hour")
func shiftsWallClock() throws {
    let plugin = try Plugin("plugin.so", source, link: ["-Wl,-z,now"])
    #expect(try Child.run("shifted", plugin.path, "wall").lines == ["back 3600"])
}

@Test("A name that is not watched counts nothing and is known to be unknown")
func unknownNames() {
    #expect(vcc_watch_knows("malloc") && !vcc_watch_knows("cosine"))
    #expect(vcc_watch_armed_count("cosine") == 0)
}
