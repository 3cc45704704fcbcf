// Guarded inputs: mappings of [guard][pages][guard], in a table of fixed size in static memory, so that the crash
// handler can search it whatever state the heap is in.
//
// Mappings are kept when their slot is released and used again for inputs of as many pages: a rule that plays ten
// minutes of frames then costs two mprotect calls a frame and no mapping.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "guarded.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page.h"

enum state { FREE, WRITABLE, READ_ONLY, RETIRED };

/// The handler reads the atomic fields; the rest belongs to whoever holds the lock or owns the slot.
struct slot {
    _Atomic uint32_t state;
    _Atomic uintptr_t start;   // of the first guard; 0 when nothing is mapped
    _Atomic uintptr_t usable;  // bytes between the guards
    uint32_t generation;
    uint64_t retired_at;
    uintptr_t data;
    size_t bytes;
    char label[VCC_LABEL_BYTES];
};

static struct slot slots[VCC_INPUTS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t retirements, made, recycled, refused;

static size_t page_bytes(void) {
    static size_t bytes;
    if (bytes == 0) bytes = (size_t)sysconf(_SC_PAGESIZE);
    return bytes;
}

static void *usable_pages(const struct slot *slot) { return (void *)(slot->start + VCC_GUARD_BYTES); }

static void unmap(struct slot *slot) {
    if (slot->start == 0) return;
    munmap((void *)slot->start, slot->usable + 2 * (size_t)VCC_GUARD_BYTES);
    slot->start = 0;
}

/// A slot for so many usable bytes, mapped; NULL when there is none. Called with the lock held.
static struct slot *find_slot(size_t usable) {
    struct slot *empty = NULL, *other = NULL, *oldest = NULL;
    for (struct slot *slot = slots; slot < slots + VCC_INPUTS_MAX; slot++) {
        if (slot->state == FREE) {
            if (slot->start != 0 && slot->usable == usable) return slot;
            if (slot->start == 0 && empty == NULL) empty = slot;
            if (slot->start != 0) other = slot;
        } else if (slot->state == RETIRED && (oldest == NULL || slot->retired_at < oldest->retired_at)) {
            oldest = slot;
        }
    }
    struct slot *chosen = empty != NULL ? empty : other != NULL ? other : oldest;
    if (chosen == NULL) return NULL;
    if (chosen->state == RETIRED) recycled++;
    if (chosen->start != 0 && chosen->usable == usable) return chosen;
    unmap(chosen);
    chosen->state = FREE;
    void *mapped = mmap(
        NULL, usable + 2 * (size_t)VCC_GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return NULL;
    chosen->usable = usable;
    chosen->start = (uintptr_t)mapped;
    return chosen;
}

vcc_input vcc_input_make(const void *contents, size_t bytes, vcc_placement placement, const char *label) {
    vcc_input none = {NULL, bytes, 0, 0};
    size_t page = page_bytes();
    // A page even for no bytes, so that there is something between the guards.
    size_t usable = bytes == 0 ? page : (bytes + page - 1) / page * page;
    pthread_mutex_lock(&lock);
    struct slot *slot = bytes <= VCC_INPUT_BYTES_MAX ? find_slot(usable) : NULL;
    if (slot == NULL || mprotect(usable_pages(slot), usable, PROT_READ | PROT_WRITE) != 0) {
        refused++;
        pthread_mutex_unlock(&lock);
        return none;
    }
    made++;
    slot->generation++;
    vcc_copy_text(slot->label, label, sizeof slot->label);
    slot->bytes = bytes;
    slot->data = (uintptr_t)usable_pages(slot) + (placement == VCC_ENDS_AT_GUARD ? usable - bytes : 0);
    if (bytes == 0 && placement == VCC_BEGINS_AFTER_GUARD) slot->data = slot->start + VCC_GUARD_BYTES - 1;
    slot->state = WRITABLE;
    vcc_input input = {(void *)slot->data, bytes, (uint32_t)(slot - slots), slot->generation};
    pthread_mutex_unlock(&lock);

    memset(usable_pages(slot), 0xa5, usable);
    if (contents != NULL) {
        memcpy(input.data, contents, bytes);
    } else if (bytes > 0) {
        memset(input.data, 0, bytes);
    }
    return input;
}

/// Its slot when the input is still the one that lives there.
static struct slot *slot_of(vcc_input input) {
    if (input.data == NULL || input.slot >= VCC_INPUTS_MAX) return NULL;
    struct slot *slot = &slots[input.slot];
    pthread_mutex_lock(&lock);
    bool is_live = slot->state != FREE && slot->generation == input.generation;
    pthread_mutex_unlock(&lock);
    return is_live ? slot : NULL;
}

bool vcc_input_protect(vcc_input input) {
    struct slot *slot = slot_of(input);
    if (slot == NULL || slot->state == RETIRED) return false;
    slot->state = READ_ONLY;
    return mprotect(usable_pages(slot), slot->usable, PROT_READ) == 0;
}

bool vcc_input_refill(vcc_input input, const void *contents) {
    struct slot *slot = slot_of(input);
    if (slot == NULL || mprotect(usable_pages(slot), slot->usable, PROT_READ | PROT_WRITE) != 0) return false;
    slot->state = WRITABLE;
    memcpy(input.data, contents, input.bytes);
    return true;
}

bool vcc_input_retire(vcc_input input) {
    struct slot *slot = slot_of(input);
    if (slot == NULL) return false;
    pthread_mutex_lock(&lock);
    slot->state = RETIRED;
    slot->retired_at = ++retirements;
    pthread_mutex_unlock(&lock);
    // Its addresses are kept and its memory is not, or a thousand long texts would be a thousand times their size.
    if (slot->usable > (64 << 10)) madvise(usable_pages(slot), slot->usable, MADV_DONTNEED);
    return mprotect(usable_pages(slot), slot->usable, PROT_NONE) == 0;
}

void vcc_input_release(vcc_input input) {
    struct slot *slot = slot_of(input);
    if (slot == NULL) return;
    mprotect(usable_pages(slot), slot->usable, PROT_NONE);
    pthread_mutex_lock(&lock);
    // A large mapping is not kept: a thousand of them would be 16 GiB.
    if (slot->usable > (64 << 10)) unmap(slot);
    slot->state = FREE;
    pthread_mutex_unlock(&lock);
}

bool vcc_input_equals(vcc_input input, const void *contents) {
    struct slot *slot = slot_of(input);
    return slot != NULL && slot->state != RETIRED && memcmp(input.data, contents, input.bytes) == 0;
}

vcc_inputs_census vcc_inputs_count(void) {
    vcc_inputs_census census = {0};
    pthread_mutex_lock(&lock);
    for (struct slot *slot = slots; slot < slots + VCC_INPUTS_MAX; slot++) {
        if (slot->state == RETIRED) census.retired++;
        if (slot->state == WRITABLE || slot->state == READ_ONLY) census.live++;
    }
    census.made = made;
    census.recycled = recycled;
    census.refused = refused;
    pthread_mutex_unlock(&lock);
    return census;
}

vcc_region vcc_region_at(uint64_t address, char *label) {
    label[0] = 0;
    for (const struct slot *slot = slots; slot < slots + VCC_INPUTS_MAX; slot++) {
        uintptr_t start = slot->start, usable = slot->usable;
        uint32_t state = slot->state;
        if (start == 0 || state == FREE) continue;
        if (address < start || address - start >= usable + 2 * (uintptr_t)VCC_GUARD_BYTES) continue;
        vcc_copy_text(label, slot->label, VCC_LABEL_BYTES);
        if (state == RETIRED) return VCC_REGION_RETIRED;
        if (address < start + VCC_GUARD_BYTES) return VCC_REGION_BEFORE;
        if (address >= start + VCC_GUARD_BYTES + usable) return VCC_REGION_BEYOND;
        return state == READ_ONLY ? VCC_REGION_READ_ONLY : VCC_REGION_NONE;
    }
    return VCC_REGION_NONE;
}
