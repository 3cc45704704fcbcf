/// @file A nursery: a process that is what a probe is before it has its job, and makes probes by forking itself.
///
/// To start the program costs more than most rules: fifty libraries are found, mapped and linked, and all of it
/// for code that no rule touches. A fork of a process that did it once is the same process, byte for byte, as long as
/// there is one thread in it and no plugin was ever loaded; so each rule still begins from the same state, which no
/// rule before it could reach.
///
/// The probe is not the nursery's child but the runner's: it is forked twice, the one between ends at once, and the
/// runner adopts orphans (`vcc_adopt_orphans`). So whoever waits for it, limits it and kills it needs not know.
#ifndef VCC_NURSERY_H
#define VCC_NURSERY_H

#include <sys/types.h>

/// Serves the runner at the other end of `socket` (SOCK_SEQPACKET) until it closes it, and then ends the process.
///
/// Returns in each probe, which has a session of its own, its descriptors 0 to 5 and no others, its directory, HOME,
/// TMPDIR and the tag in its environment: as `vcc_probe_spawn` would have started it.
void vcc_nursery_serve(int socket);

/// For the runner: has a probe made with those five descriptors (as 1 to 5) in `directory`, which is its HOME too, and
/// `tag` ("NAME=VALUE") in its environment. Returns 0 or an errno; EPIPE when the nursery is gone.
int vcc_nursery_probe(
    int socket, const int descriptors[_Nonnull 5], const char *_Nonnull directory, const char *_Nonnull tag,
    pid_t *_Nonnull probe);

#endif
