/*  What events pointed to is overwritten as soon as `emit` returned.  */
// SPDX-License-Identifier: Apache-2.0
#ifndef HOSTCHECK_POISON_H
#define HOSTCHECK_POISON_H

/// Never a byte of UTF-8 four times in a row; as audio, a level and no tone.
#define POISON 0xf8

#endif
