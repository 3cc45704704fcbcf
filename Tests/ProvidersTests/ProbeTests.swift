import Glibc
import Testing

@testable import Providers

/// Not a test but the child that the tests of foreign plugins run: this very program, with one argument more.
@Test("The probe's child opens the library that it is given", .enabled(if: getenv("VCHOST_TEST_PROBE") != nil))
func probeChild() {
    PluginProbe.child(path: CommandLine.arguments.last!)
}
