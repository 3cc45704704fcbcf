/// @file The parts of Linux that Swift's Glibc module does not import: variadic calls, complex macros, newer system calls.
///
/// Nothing here defines _GNU_SOURCE: with it glibc names the fields of fd_set differently, and Swift then sees two
/// definitions of one type. What needs it is behind a function in platform.c.
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#endif
