/// @file The crash handler of the probe: what a fatal signal hit, written into the breadcrumb page before the process
/// dies of that very signal.
///
/// The exit status stays the kernel's (the parent still sees SIGSEGV, a core is still of the fault), so the page only
/// adds to it. Swift plugins trap with SIGILL or SIGTRAP, Rust and C++ ones abort; all of them arrive here as long as
/// SWIFT_BACKTRACE=enable=no keeps Swift's own handler away.
#ifndef VCC_CRASH_H
#define VCC_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Handles SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP and SIGSYS, gives the calling thread its alternate stack,
/// and notes in the page when the process ends through exit(). Call it after vcc_page_attach and before the plugin is
/// loaded. False with errno.
bool vcc_crash_install(void);

/// Gives the calling thread an alternate stack, without which a stack overflow on it dies unexplained. It also
/// unblocks our signals, because a fault whose signal is blocked kills without a word. Once for each driver thread, at
/// its start; it is given back when the thread ends. False with errno.
bool vcc_crash_adopt_thread(void);

/// Tells the handler which addresses are the plugin's, from its dlopen handle, so that a crash inside it is reported
/// with its place in the file (for addr2line). False when the handle is none.
bool vcc_crash_name_plugin(void *_Nonnull handle);

/// The first of our signals whose disposition is no longer ours, 0 when all are in place. A plugin that takes a crash
/// signal over hides its faults from every rule.
int vcc_crash_replaced(void);

#endif
