import CConformance
import Testing

@Test(
    "A change of the process is named, alone, and by what was changed",
    arguments: [
        (
            "descriptor",
            ["descriptor 4 (/etc/hostname) left open", "descriptor 50 (/etc/hostname) left open"]
        ),
        ("closed", ["descriptor 0 (/dev/null) was closed"]),
        ("exchanged", ["descriptor 0 (/etc/passwd) was /dev/null", "descriptor 4 (/etc/passwd) left open"]),
        ("thread", ["thread lingerer left running"]),
        ("child", ["process CConformanceChi left behind"]),
        ("handler", ["SIGUSR1 is ignored and was default", "SIGPIPE is handled and was default"]),
        ("mask", ["SIGTERM is blocked and was not"]),
        (
            "environment",
            [
                "environment variable HOME was changed", "environment variable ADDED was set",
                "environment variable PATH was removed",
            ]
        ),
        ("umask", ["the umask is 0000 and was 0022"]),
        ("locale", ["the locale is C.UTF-8 and was C"]),
        ("limit", ["RLIMIT_NOFILE was changed"]),
        ("priority", ["the nice value is 3 and was 0"]),
        ("timer", ["ITIMER_REAL left running"]),
        ("nothing", []),
    ] as [(String, [String])])
func snapshotDifference(name: String, expected: [String]) throws {
    let child = try Child.run("snapshot", name)
    try #require(child.exitCode == 0, "\(child.output)")
    #expect(child.lines.first == "\(expected.count)")
    #expect(Array(child.lines.dropFirst()).sorted() == expected.sorted())
}

@Test("A change of directory names both")
func changedDirectory() throws {
    let child = try Child.run("snapshot", "directory")
    #expect(child.lines.count == 2 && child.lines.last?.hasPrefix("the directory is /usr and was /") == true)
}

@Test("Flush to zero that was left on is found")
func changedFloatingPoint() throws {
    let child = try Child.run("snapshot", "denormals")
    #expect(child.lines.count == 2 && child.lines.last?.hasPrefix("the floating-point mode is 0x") == true)
}

@Test("A thread that was joined is not left running, however soon the snapshot follows")
func joinedThread() throws {
    #expect(try Child.run("joined").lines == ["0"])
}

@Test("The vitals see memory, descriptors and CPU time, and do not see themselves")
func vitals() throws {
    let child = try Child.run("vitals")
    #expect(child.lines == ["heap 1 dirty 1 descriptors 1 cpu 1 mappings 1", "still 0 0"])
}

@Test("A text is cut at its room, and the differences are counted all the same")
func cutDifference() throws {
    let before = try #require(vcc_snapshot_take())
    let after = try #require(vcc_snapshot_take())
    defer {
        vcc_snapshot_free(before)
        vcc_snapshot_free(after)
    }
    var text = [CChar](repeating: 1, count: 4)
    _ = vcc_snapshot_difference(before, after, UInt32(VCC_EVERYTHING), &text, 4)
    #expect(text.contains(0))
}
