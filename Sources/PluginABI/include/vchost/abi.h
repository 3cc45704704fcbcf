/// @file The words of the contract: status codes, strings, handles, threads, and how all of it may grow.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_ABI_H
#define VCHOST_ABI_H

#include <stdint.h>

/*  How this contract grows, and why a plugin built today runs on next year's host and the other way round:

    1. Every struct and every table of functions begins with `uint32_t size`, written by the side that fills it in.
    2. Members are only ever appended: never inserted, moved, retyped or given another meaning.
    3. A reader accepts a smaller struct (what is missing is zero) and a larger one (what it does not know, it ignores).
    4. A slot added later stays optional for ever. A `reserved` member is zero, and the host checks that it is.
    5. A new event, status or service is a new minor version. An unknown status is handled by its range.
    6. Anything larger is a service or a kind with an id of its own, "vc.NAME/REVISION", whose meaning never changes.
    7. What breaks these rules is a new entry function, and the host serves the old one beside it.

    Only these types cross the line: integers of fixed width, float, double, pointers, and the structs made of them. No
    bool, no C enum as a type, no long, no bit-field, no varargs, no array member: compilers and languages disagree on
    them, and some of them import into Swift with another value than they have in C.  */

#define VC_ABI_MAJOR 1
#define VC_ABI_MINOR 0

#if defined(__swift__)
#define VC_NULLABLE _Nullable
#define VC_NONNULL _Nonnull
#define VC_ASSUME_NONNULL_BEGIN _Pragma("clang assume_nonnull begin")
#define VC_ASSUME_NONNULL_END _Pragma("clang assume_nonnull end")
#else
#define VC_NULLABLE
#define VC_NONNULL
#define VC_ASSUME_NONNULL_BEGIN
#define VC_ASSUME_NONNULL_END
#endif

#if defined(__cplusplus)
#define VC_BEGIN_C extern "C" {
#define VC_END_C }
#else
#define VC_BEGIN_C
#define VC_END_C
#endif

#define VC_BEGIN_DECLS VC_BEGIN_C VC_ASSUME_NONNULL_BEGIN
#define VC_END_DECLS VC_ASSUME_NONNULL_END VC_END_C

/// What a plugin puts in front of its one exported function.
#define VC_EXPORT __attribute__((visibility("default")))

/*  Threads are roles, not ids. Each slot ends with the role in which it is called:

    VC_INIT     the thread that loads plugins: once, before anything else.
    VC_CONTROL  any thread, one call at a time for each object (a provider, a session). What the host calls back into an
                object, a timer or an HTTP response, counts as a call of that object. It may allocate and take short
                locks; it answers at once (the host logs what takes longer than 5 ms) and never waits for the network,
                a disk, a process or another thread's work. Whatever takes longer reports by an event.
    VC_DETECT   the detector's own thread, with a deadline.
    VC_TASK     a thread of the host's pool, on which a task may compute or wait.
    VC_ANY      any thread, also while another call on the same object runs. It takes no lock that a VC_CONTROL call may
                hold, and returns within 1 ms.

    No call overlaps `create`, `open` or `destroy` of the same object, but for what VC_ANY says of `emit`.

    The words are macros so that a program can read them: clang keeps them as annotations, from which the checks of
    `vchost conform` and the table in the documentation are made. A comment could say something else than the check.  */
#if defined(__clang__)
#define VC_THREAD_ROLE(role) __attribute__((annotate("vc:" role)))
#else
#define VC_THREAD_ROLE(role)
#endif
#define VC_INIT VC_THREAD_ROLE("init")
#define VC_CONTROL VC_THREAD_ROLE("control")
#define VC_DETECT VC_THREAD_ROLE("detect")
#define VC_TASK VC_THREAD_ROLE("task")
#define VC_ANY VC_THREAD_ROLE("any")

VC_BEGIN_DECLS

/// The outcome of a call. Zero is success; the range says whose affair a failure is, also for codes of later versions.
typedef int32_t vc_status;

enum {
    VC_OK = 0,

    // -1 ... -9: the flow of things. Nobody's fault.
    VC_E_AGAIN = -1,    ///< No room or no credit now; nothing was taken. Try again after `credit`.
    VC_E_CANCELED = -2, ///< The epoch is over: stop producing for it.
    VC_E_STALE = -3,    ///< The handle's object is gone. Forget the handle.
    VC_E_CLOSED = -4,   ///< The object is closing and takes nothing more.

    // -10 ... -19: the caller of the function is at fault.
    VC_E_ARGUMENT = -10,    ///< An argument is out of its range, or a pointer is NULL that must not be.
    VC_E_STATE = -11,       ///< Not allowed in this state of the object.
    VC_E_UNSUPPORTED = -12, ///< The object does not do this, and said so in its manifest.
    VC_E_NOT_FOUND = -13,   ///< No such key, name or object.

    // -20 ... -29: the world outside.
    VC_E_CONFIG = -20,  ///< A setting has a value that cannot work.
    VC_E_AUTH = -21,    ///< A credential is missing or was refused.
    VC_E_QUOTA = -22,   ///< The vendor's limit is reached.
    VC_E_NETWORK = -23, ///< The peer cannot be reached, or the connection broke.
    VC_E_TIMEOUT = -24, ///< No answer in time.
    VC_E_VENDOR = -25,  ///< The peer answered with an error of its own, or with nonsense.

    // -30 ... -39: inside.
    VC_E_MEMORY = -30,   ///< Out of memory.
    VC_E_CRASHED = -31,  ///< The process behind the object ended. Only a host says this.
    VC_E_INTERNAL = -32, ///< A bug of the side that reports it.
};

/// Text or bytes of a known length, UTF-8 where it is text; not terminated by a NUL. `data` may be NULL when `length`
/// is 0.
///
/// It belongs to whoever passes it, and lives until the call returns; who needs it longer copies it.
typedef struct vc_str {
    const char *VC_NULLABLE data;
    uint64_t length;
} vc_str;

/// A `vc_str` for a string literal, as an initialiser.
#define VC_STR(literal) { (literal), sizeof(literal) - 1 }

/// A name and a value: a log field, a header of HTTP or SIP.
typedef struct vc_field {
    vc_str name;
    vc_str value;
} vc_field;

/// What a plugin holds of the host: a number that can go stale, never a pointer. 0 is no object.
///
/// A call with a handle whose object is gone answers VC_E_STALE, is counted, and is logged once as the plugin's fault.
typedef uint64_t vc_handle;

/// What the host holds of a plugin: the plugin's own pointer. The host passes it back and never looks at it.
typedef void *VC_NULLABLE vc_self;

/// Why something failed, in words that the operator can act on.
///
/// The strings of an error that a call fills in belong to the callee, and live until the next VC_CONTROL call on the
/// same object; the caller copies them at once. On entry `size` is set and the rest is zero.
typedef struct vc_error {
    uint32_t size;
    vc_status code;
    uint32_t retryable;       ///< 1 when the same call can succeed later.
    uint32_t retry_after_ms;  ///< What the vendor asked for, or 0.
    uint32_t protocol_status; ///< The peer's HTTP or SIP status, or 0.
    uint32_t reserved;
    vc_str message;     ///< What happened, to what, and what to do about it. One sentence, no secrets.
    vc_str vendor;      ///< Who refused, "Deepgram" say, or empty.
    vc_str vendor_code; ///< The vendor's own code, unchanged: the first thing that its support will ask for.
} vc_error;

VC_END_DECLS

#endif
