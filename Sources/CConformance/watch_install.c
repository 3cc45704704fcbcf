// Redirecting: walks the relocations of a loaded library and points those of watched functions at our stubs.
//
// The dynamic linker has put the address of each imported function into a word of the library (System V ABI, "Dynamic
// Linking"); exchanging that word is all it takes, and concerns this library alone. With full RELRO the words lie in
// pages that were made read-only after loading; they are made writable for as long as the exchange takes.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "watched.h"

#if defined(__x86_64__)
enum { JUMP_SLOT = R_X86_64_JUMP_SLOT, GLOBAL_DATA = R_X86_64_GLOB_DAT, ABSOLUTE = R_X86_64_64 };
#elif defined(__aarch64__)
enum { JUMP_SLOT = R_AARCH64_JUMP_SLOT, GLOBAL_DATA = R_AARCH64_GLOB_DAT, ABSOLUTE = R_AARCH64_ABS64 };
#else
#error "the relocations are known for x86-64 and arm64 only"
#endif

/// A loaded library, as its program headers and its dynamic section describe it.
struct image {
    const struct link_map *map;
    void *handle;
    uintptr_t base, end;
    uintptr_t relro_start, relro_end;  // whole pages, as the dynamic linker protects them
    uintptr_t writable[8][2];
    uint32_t writable_count;
    const ElfW(Sym) *symbols;
    const char *strings;
    size_t strings_bytes;
};

static int describe(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    struct image *image = context;
    const ElfW(Phdr) *dynamic = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) dynamic = &info->dlpi_phdr[i];
    }
    if (dynamic == NULL || info->dlpi_addr + dynamic->p_vaddr != (uintptr_t)image->map->l_ld) return 0;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    image->base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr, end = start + segment->p_memsz;
        if (segment->p_type == PT_LOAD) {
            if (end > image->end) image->end = end;
            if ((segment->p_flags & PF_W) && image->writable_count < 8) {
                image->writable[image->writable_count][0] = start;
                image->writable[image->writable_count++][1] = end;
            }
        } else if (segment->p_type == PT_GNU_RELRO) {
            image->relro_start = start & ~(page - 1);
            image->relro_end = end & ~(page - 1);
        }
    }
    return 1;
}

/// glibc writes absolute addresses over those of the file, unless the section is read-only.
static uintptr_t absolute(const struct image *image, uintptr_t address) {
    return address < image->base ? image->base + address : address;
}

static bool is_inside(const struct image *image, uintptr_t address) {
    return address >= image->base && address < image->end;
}

static bool is_writable_word(const struct image *image, uintptr_t address) {
    if (address % sizeof(uintptr_t) != 0) return false;
    for (uint32_t i = 0; i < image->writable_count; i++) {
        if (address >= image->writable[i][0] && address + sizeof(uintptr_t) <= image->writable[i][1]) return true;
    }
    return false;
}

/// Exchanges one word. 1 when it was, 0 when it is to be left alone.
static int redirect_word(const struct image *image, const ElfW(Rela) *entry) {
    uint64_t type = ELF64_R_TYPE(entry->r_info);
    if ((type != JUMP_SLOT && type != GLOBAL_DATA && type != ABSOLUTE) || entry->r_addend != 0) return 0;
    const ElfW(Sym) *symbol = &image->symbols[ELF64_R_SYM(entry->r_info)];
    if (symbol->st_name >= image->strings_bytes) return 0;
    const char *name = image->strings + symbol->st_name;
    int index = vcc_watched_index(name);
    uintptr_t place = image->base + entry->r_offset;
    if (index < 0 || !is_writable_word(image, place)) return 0;

    _Atomic uintptr_t *word = (_Atomic uintptr_t *)place;
    uintptr_t old = atomic_load(word);
    uintptr_t wrapper = vcc_wrapper_of((uint32_t)index);
    uintptr_t ours = wrapper != 0 ? wrapper : (uintptr_t)vcc_stubs + (uintptr_t)index * VCC_STUB_BYTES;
    if (old == 0 || old == ours) return 0;
    uintptr_t real = old;
    if (is_inside(image, old)) {
        // A function of its own by that name, or one that is not bound yet: then the word points at its own stub.
        if (symbol->st_shndx != SHN_UNDEF || image->handle == NULL) return 0;
        real = (uintptr_t)dlsym(image->handle, name);
        if (real == 0 || is_inside(image, real)) return 0;
    }
    // Two libraries that mean different functions by one name (an allocator of its own): the first keeps it.
    uintptr_t none = 0;
    if (!atomic_compare_exchange_strong(&vcc_real[index], &none, real) && none != real) return 0;
    atomic_store(word, ours);
    return 1;
}

static int redirect_table(const struct image *image, const ElfW(Rela) *entries, size_t bytes) {
    int count = 0;
    for (size_t i = 0; entries != NULL && i < bytes / sizeof *entries; i++) count += redirect_word(image, &entries[i]);
    return count;
}

static int redirect(const struct link_map *map, void *handle) {
    struct image image = {.map = map, .handle = handle};
    if (dl_iterate_phdr(describe, &image) != 1) return -1;
    const ElfW(Rela) *jumps = NULL, *others = NULL;
    size_t jumps_bytes = 0, others_bytes = 0;
    bool has_addends = true;
    for (const ElfW(Dyn) *row = map->l_ld; row->d_tag != DT_NULL; row++) {
        uintptr_t address = absolute(&image, row->d_un.d_ptr);
        switch (row->d_tag) {
        case DT_SYMTAB: image.symbols = (const ElfW(Sym) *)address; break;
        case DT_STRTAB: image.strings = (const char *)address; break;
        case DT_STRSZ: image.strings_bytes = row->d_un.d_val; break;
        case DT_JMPREL: jumps = (const ElfW(Rela) *)address; break;
        case DT_PLTRELSZ: jumps_bytes = row->d_un.d_val; break;
        case DT_PLTREL: has_addends = row->d_un.d_val == DT_RELA; break;
        case DT_RELA: others = (const ElfW(Rela) *)address; break;
        case DT_RELASZ: others_bytes = row->d_un.d_val; break;
        }
    }
    if (image.symbols == NULL || image.strings == NULL || !has_addends) return -1;
    if (image.handle != NULL && vcc_bad_alloc_thrower == 0) {
        vcc_bad_alloc_thrower = (uintptr_t)dlsym(image.handle, "_ZSt17__throw_bad_allocv");
    }

    size_t relro_bytes = image.relro_end > image.relro_start ? image.relro_end - image.relro_start : 0;
    void *relro = (void *)image.relro_start;
    if (relro_bytes > 0 && mprotect(relro, relro_bytes, PROT_READ | PROT_WRITE) != 0) return -1;
    int count = redirect_table(&image, jumps, jumps_bytes) + redirect_table(&image, others, others_bytes);
    if (relro_bytes > 0 && mprotect(relro, relro_bytes, PROT_READ) != 0) return -1;
    return count;
}

int vcc_watch_install(void *handle) {
    struct link_map *map = NULL;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == NULL) return -1;
    return redirect(map, handle);
}

/// The program, the C library, the dynamic linker and the kernel's own.
static bool is_ground(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    return name[0] == 0 || strncmp(name, "libc.so", 7) == 0 || strncmp(name, "ld-linux", 8) == 0
        || strncmp(name, "linux-vdso", 10) == 0 || strncmp(name, "linux-gate", 10) == 0;
}

int vcc_watch_install_libraries(void) {
    struct link_map *map = NULL;
    void *program = dlopen(NULL, RTLD_LAZY);
    if (program == NULL || dlinfo(program, RTLD_DI_LINKMAP, &map) != 0) return -1;
    int count = 0;
    for (; map != NULL; map = map->l_next) {
        if (is_ground(map->l_name)) continue;
        void *handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
        int redirected = redirect(map, handle);
        if (redirected > 0) count += redirected;
        if (handle != NULL) dlclose(handle);
    }
    return count;
}
