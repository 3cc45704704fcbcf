import CConformance
import Glibc
import Testing

/// What a plugin does to its input, and the words in which the parent hears of it.
@Test(
    "A touch of a guarded input ends the process, and the page says whose and how",
    arguments: [
        ("read-beyond", "SIGSEGV at push frame=17: reads beyond the frame"),
        ("write-beyond", "SIGSEGV at push frame=17: writes beyond the frame"),
        ("read-before", "SIGSEGV at push frame=17: reads before the frame"),
        ("write-input", "SIGSEGV at push frame=17: writes its input (frame)"),
        ("keep-input", "SIGSEGV at push frame=18: keeps its input (frame)"),
        ("read-empty", "SIGSEGV at speak: reads beyond the text"),
    ])
func guardedInput(name: String, sentence: String) throws {
    let child = try Child.run(name)
    #expect(child.signal == SIGSEGV)
    #expect(child.sentence == sentence)
    #expect(child.details.contains("address 0x"))
}

@Test("A late read on another thread is told by that thread, not by the one that spoke last")
func lateReadOnThread() throws {
    let child = try Child.run("keep-on-thread")
    #expect(child.signal == SIGSEGV)
    #expect(child.sentence == "SIGSEGV at the plugin's own thread: keeps its input (frame)")
    #expect(child.details.hasPrefix("thread reader, address 0x"))
}

@Test(
    "A crash without a guarded input says its signal and, where it can be known, its cause",
    arguments: [
        ("null", SIGSEGV, "SIGSEGV at open: writes through a NULL pointer"),
        ("stack", SIGSEGV, "SIGSEGV at create: uses up its stack"),
        ("stack-on-thread", SIGSEGV, "SIGSEGV at push on a small stack: uses up its stack"),
        ("abort", SIGABRT, "SIGABRT at close"),
        ("sent", SIGSEGV, "SIGSEGV at cancel"),
    ])
func crash(name: String, signal: Int32, sentence: String) throws {
    let child = try Child.run(name)
    #expect(child.signal == signal)
    #expect(child.sentence == sentence)
}

@Test("A trap is told by its signal, which differs between machines")
func trap() throws {
    let child = try Child.run("trap")
    #expect(child.signal == SIGILL || child.signal == SIGTRAP)
    #expect(child.crumb.has_crashed && child.crumb.signal == child.signal)
    #expect(child.sentence.hasSuffix(" at start"))
}

@Test("An end through exit() is told with its place, though its status is 0")
func exitIsTold() throws {
    let child = try Child.run("exit")
    #expect(child.status == 0)
    #expect(!child.crumb.has_crashed)
    #expect(child.sentence == "exit() at create")
}

@Test("A page full of garbage is read without harm")
func scribbledPage() throws {
    let child = try Child.run("scribble")
    #expect(child.status == 0)
    #expect(child.crumb.is_attached && !child.crumb.has_crashed)
    #expect(child.sentence == "at " + String(repeating: "?", count: 239))
}

@Test("The page can neither shrink nor grow")
func sealedPage() throws {
    #expect(try Child.run("shrink").exitCode == 0)
}

@Test("A crash handler that was replaced is found by its signal")
func replacedHandler() throws {
    #expect(try Child.run("replace").lines == ["0", "\(SIGBUS) \(SIGBUS)"])
}

@Test("The pool is bounded: the oldest retired input makes room, a stale one is refused, a struct keeps its alignment")
func inputPool() throws {
    let child = try Child.run("pool")
    #expect(child.exitCode == 0)
    #expect(
        child.lines == [
            "live 0 retired 1024 recycled 1 refused 0", "stale 0", "too large 1", "alignment 0", "equal 1 0", "kept 0",
        ])
}
