/// @file The parts of Linux that Swift's Glibc module does not import: variadic calls, complex macros, newer system
/// calls.
///
/// Nothing here defines _GNU_SOURCE: with it glibc names the fields of fd_set differently, and Swift then sees two
/// definitions of one type. What needs it is behind a function in platform.c.
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "worker.h"

// MARK: Datagrams

enum {
    /// The size of an address as the kernel writes it: a sockaddr_in6, in which a sockaddr_in has room too.
    VCH_ADDRESS_BYTES = 32,
};

/// Room for the datagrams of one recvmmsg call. Made once for each thread, so that receiving allocates nothing.
typedef struct vch_datagram_batch {
    uint32_t capacity;
    uint32_t datagram_bytes;    ///< Room for each datagram; what is longer arrives truncated and marked so.
    uint8_t *_Nonnull data;     ///< Datagram i begins at `data + i * datagram_bytes`.
    uint32_t *_Nonnull counts;  ///< Bytes received of datagram i, UINT32_MAX when it was too long for its room.
    uint8_t *_Nonnull senders;  ///< Address of the sender of datagram i, at `senders + i * VCH_ADDRESS_BYTES`.
    void *_Nonnull headers;
} vch_datagram_batch;

/// Returns NULL without memory.
vch_datagram_batch *_Nullable vch_datagram_batch_create(uint32_t capacity, uint32_t datagram_bytes);
void vch_datagram_batch_destroy(vch_datagram_batch *_Nullable batch);

/// Receives what is waiting on a socket, up to the batch's capacity, without blocking. Returns the number of
/// datagrams, 0 when none is waiting or the socket reported an error of an earlier send (a closed port of the peer).
int vch_datagram_batch_receive(vch_datagram_batch *_Nonnull batch, int socket);

// MARK: Threads

/// Gives the calling thread a name for debuggers and `top`, at most 15 bytes.
void vch_name_this_thread(const char *_Nonnull name);

/// Asks for real-time scheduling (SCHED_FIFO) of the calling thread. Returns 0, or the errno that says why not.
int vch_make_this_thread_realtime(int priority);

// MARK: Opus

// libopus sets everything but rate and channels through one variadic call, which Swift cannot see. Declared here and
// not included, so that this module needs no codec's headers; whoever calls these links libopus.
struct OpusEncoder;
extern int opus_encoder_ctl(struct OpusEncoder *_Nonnull encoder, int request, ...);

/// Sets one integer option of an Opus encoder (`OPUS_SET_..._REQUEST`). Returns an Opus error code, 0 when it was
/// taken.
static inline int vch_opus_encoder_set(struct OpusEncoder *_Nonnull encoder, int request, int32_t value) {
    return opus_encoder_ctl(encoder, request, value);
}

#endif
