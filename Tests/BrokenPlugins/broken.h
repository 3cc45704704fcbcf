// The corpus of broken plugins: one source for each way of working, which keeps every rule as it stands, and breaks
// exactly one of them when it is compiled for that.
// SPDX-License-Identifier: Apache-2.0
//
//     cc -DBREAK_VC_LIFE_03 tts.c        a voice that emits CLOSED twice, and is a good one otherwise
//
// `BREAKS(VC_LIFE_03)` is 1 in that one and 0 in all others, so every fault stands at the place where it is committed,
// and a search for a rule's id finds the rule, its fault, and nothing else. `Tests/BrokenPlugins/build` finds them the
// same way: a fault needs no entry in any list.
#ifndef BROKEN_H
#define BROKEN_H

#include "vchost/vchost.h"

// -DBREAK_X defines it as 1, which becomes BROKEN_1, which is "0," and moves a 1 to the second place.
#define BROKEN_1 0,
#define BROKEN_SECOND(first, second, ...) second
#define BROKEN_IS(value) BROKEN_IS_(value)
#define BROKEN_IS_(value) BROKEN_IS__(BROKEN_##value)
#define BROKEN_IS__(junk) BROKEN_SECOND(junk 1, 0, 0)
#define BREAKS(rule) BROKEN_IS(BREAK_##rule)

#define JSON(...) #__VA_ARGS__
// A call that the compiler may not remove, however useless it looks.
#define KEEP(pointer) __asm__ volatile("" : : "g"(pointer) : "memory")

#endif
