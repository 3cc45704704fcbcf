/// @file What the probe of `vchost conform` needs and Swift cannot do: memory that answers for itself, a crash that
/// says what it hit, imports that are counted, and the state of a process as the kernel sees it.
///
/// Nothing here judges. The rules (Sources/Conformance) do; this is the ground that they stand on. Nothing in these
/// headers defines _GNU_SOURCE or is variadic, so that Swift can import all of it.
#ifndef CCONFORMANCE_H
#define CCONFORMANCE_H

#include "breadcrumb.h"
#include "crash.h"
#include "guarded.h"
#include "nursery.h"
#include "snapshot.h"
#include "supervise.h"
#include "watch.h"

#endif
