// What needs _GNU_SOURCE, kept out of the sight of Swift: datagrams in batches, names and priorities of threads.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CPlatform.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(sizeof(struct sockaddr_in6) <= VCH_ADDRESS_BYTES, "an IPv6 address must fit");

vch_datagram_batch *vch_datagram_batch_create(uint32_t capacity, uint32_t datagram_bytes) {
    // One block: the struct, then each array, all of them small enough that their order keeps them aligned.
    size_t headers = capacity * sizeof(struct mmsghdr);
    size_t vectors = capacity * sizeof(struct iovec);
    size_t senders = (size_t)capacity * VCH_ADDRESS_BYTES;
    size_t counts = capacity * sizeof(uint32_t);
    size_t head = (sizeof(vch_datagram_batch) + 63) & ~(size_t)63;
    uint8_t *block = calloc(1, head + headers + vectors + senders + counts + (size_t)capacity * datagram_bytes);
    if (block == NULL) return NULL;

    vch_datagram_batch *batch = (vch_datagram_batch *)block;
    struct mmsghdr *header = (struct mmsghdr *)(block + head);
    struct iovec *vector = (struct iovec *)(block + head + headers);
    batch->capacity = capacity;
    batch->datagram_bytes = datagram_bytes;
    batch->headers = header;
    batch->senders = block + head + headers + vectors;
    batch->counts = (uint32_t *)(batch->senders + senders);
    batch->data = (uint8_t *)batch->counts + counts;
    for (uint32_t i = 0; i < capacity; i++) {
        vector[i].iov_base = batch->data + (size_t)i * datagram_bytes;
        vector[i].iov_len = datagram_bytes;
        header[i].msg_hdr.msg_iov = &vector[i];
        header[i].msg_hdr.msg_iovlen = 1;
        header[i].msg_hdr.msg_name = batch->senders + (size_t)i * VCH_ADDRESS_BYTES;
        header[i].msg_hdr.msg_namelen = VCH_ADDRESS_BYTES;
    }
    return batch;
}

void vch_datagram_batch_destroy(vch_datagram_batch *batch) { free(batch); }

int vch_datagram_batch_receive(vch_datagram_batch *batch, int socket) {
    struct mmsghdr *header = batch->headers;
    int received = recvmmsg(socket, header, batch->capacity, MSG_DONTWAIT, NULL);
    if (received <= 0) return 0;
    for (int i = 0; i < received; i++) {
        batch->counts[i] = header[i].msg_hdr.msg_flags & MSG_TRUNC ? UINT32_MAX : header[i].msg_len;
        // The kernel wrote the length of this sender's address over the room there is for the next one's.
        header[i].msg_hdr.msg_namelen = VCH_ADDRESS_BYTES;
    }
    return received;
}

void vch_name_this_thread(const char *name) {
    char bounded[16];
    strncpy(bounded, name, sizeof bounded - 1);
    bounded[sizeof bounded - 1] = 0;
    pthread_setname_np(pthread_self(), bounded);
}

int vch_make_this_thread_realtime(int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    return pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters);
}
