// The child that the tests of Sources/CConformance run: it breaks one rule, as its arguments say, and dies of it or
// prints what it found.
//
//     CConformanceChild PAGE CASE [ARGUMENT…]      PAGE is the descriptor of the breadcrumb page
//
// In C, because each case is about one machine instruction or one call, and nothing else in the process shall move.

#define _GNU_SOURCE
#include <CConformance.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile uint8_t sink;
static char text[8192];

// MARK: Inputs and crashes

static vcc_input frame(vcc_placement placement) {
    uint8_t samples[320];
    memset(samples, 7, sizeof samples);
    vcc_input input = vcc_input_make(samples, sizeof samples, placement, "frame");
    if (input.data == NULL || !vcc_input_protect(input)) exit(99);
    // All of it can be read, or what follows proves nothing.
    for (size_t i = 0; i < input.bytes; i++) sink = ((uint8_t *)input.data)[i];
    vcc_where_number("push frame=", 17);
    return input;
}

static pthread_barrier_t turns;

static void *read_late(void *data) {
    pthread_setname_np(pthread_self(), "reader");
    vcc_crash_adopt_thread();
    vcc_where("the plugin's own thread");
    pthread_barrier_wait(&turns);
    pthread_barrier_wait(&turns);
    sink = *(volatile uint8_t *)data;
    return NULL;
}

__attribute__((noinline)) static int use_up(int depth) {
    volatile char room[4096];
    room[0] = (char)depth;
    return use_up(depth + 1) + room[0];
}

static void *use_up_on_thread(void *unused) {
    vcc_crash_adopt_thread();
    vcc_where("push on a small stack");
    return (void *)(intptr_t)use_up(unused != NULL);
}

static void on_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_create(&thread, &attributes, function, argument);
    pthread_join(thread, NULL);
}

static void ignore(int number) { (void)number; }

static int crash(const char *name) {
    volatile uint8_t *nothing = NULL;
    if (strcmp(name, "read-beyond") == 0) {
        vcc_input input = frame(VCC_ENDS_AT_GUARD);
        sink = ((volatile uint8_t *)input.data)[input.bytes];
    } else if (strcmp(name, "write-beyond") == 0) {
        vcc_input input = frame(VCC_ENDS_AT_GUARD);
        ((volatile uint8_t *)input.data)[input.bytes] = 1;
    } else if (strcmp(name, "read-before") == 0) {
        vcc_input input = frame(VCC_BEGINS_AFTER_GUARD);
        sink = ((volatile uint8_t *)input.data)[-1];
    } else if (strcmp(name, "write-input") == 0) {
        vcc_input input = frame(VCC_ENDS_AT_GUARD);
        ((volatile uint8_t *)input.data)[0] = 1;
    } else if (strcmp(name, "keep-input") == 0) {
        vcc_input input = frame(VCC_ENDS_AT_GUARD);
        vcc_input_retire(input);
        vcc_where_number("push frame=", 18);
        sink = *(volatile uint8_t *)input.data;
    } else if (strcmp(name, "keep-on-thread") == 0) {
        vcc_input input = frame(VCC_ENDS_AT_GUARD);
        vcc_input_retire(input);
        pthread_t thread;
        pthread_barrier_init(&turns, NULL, 2);
        pthread_create(&thread, NULL, read_late, input.data);
        pthread_barrier_wait(&turns);
        vcc_where("another place");
        pthread_barrier_wait(&turns);
        pthread_join(thread, NULL);
    } else if (strcmp(name, "read-empty") == 0) {
        vcc_input input = vcc_input_make(NULL, 0, VCC_ENDS_AT_GUARD, "text");
        vcc_where("speak");
        sink = *(volatile uint8_t *)input.data;
    } else if (strcmp(name, "null") == 0) {
        vcc_where("open");
        nothing[8] = 1;
    } else if (strcmp(name, "stack") == 0) {
        vcc_where("create");
        sink = (uint8_t)use_up(0);
    } else if (strcmp(name, "stack-on-thread") == 0) {
        on_thread(use_up_on_thread, NULL);
    } else if (strcmp(name, "abort") == 0) {
        vcc_where("close");
        abort();
    } else if (strcmp(name, "trap") == 0) {
        vcc_where("start");
        __builtin_trap();
    } else if (strcmp(name, "sent") == 0) {
        vcc_where("cancel");
        kill(getpid(), SIGSEGV);
        pause();
    } else if (strcmp(name, "exit") == 0) {
        vcc_where("create");
        exit(0);
    } else if (strcmp(name, "scribble") == 0) {
        vcc_where("push");
        // As a hostile plugin would: everything but the magic, so that the page still looks like one.
        memset((char *)mmap(NULL, VCC_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0) + 8, 0xc2, 4088);
        _exit(0);
    } else if (strcmp(name, "shrink") == 0) {
        return ftruncate(3, 0) == 0 ? 1 : 0;
    } else if (strcmp(name, "replace") == 0) {
        printf("%d\n", vcc_crash_replaced());
        signal(SIGBUS, ignore);
        printf("%d %d\n", vcc_crash_replaced(), SIGBUS);
        return 0;
    }
    return 98;
}

// MARK: The pool

static int pool(void) {
    vcc_input first = vcc_input_make("first", 5, VCC_ENDS_AT_GUARD, "text");
    vcc_input_retire(first);
    for (int i = 0; i < VCC_INPUTS_MAX; i++) {
        vcc_input_retire(vcc_input_make("other", 5, VCC_ENDS_AT_GUARD, "text"));
    }
    vcc_inputs_census census = vcc_inputs_count();
    printf("live %u retired %u recycled %d refused %d\n", census.live, census.retired, (int)census.recycled,
           (int)census.refused);
    // The first one's slot is another's by now.
    printf("stale %d\n", vcc_input_refill(first, "again"));
    vcc_input large = vcc_input_make(NULL, VCC_INPUT_BYTES_MAX + 1, VCC_ENDS_AT_GUARD, "text");
    printf("too large %d\n", large.data == NULL);
    vcc_input structure = vcc_input_make(NULL, 72, VCC_ENDS_AT_GUARD, "options");
    printf("alignment %d\n", (int)((uintptr_t)structure.data % 8));
    vcc_input stream = vcc_input_make("abcd", 4, VCC_ENDS_AT_GUARD, "frame");
    void *place = stream.data;
    for (int i = 0; i < 3; i++) {
        vcc_input_protect(stream);
        vcc_input_retire(stream);
        if (!vcc_input_refill(stream, "efgh") || stream.data != place) return 1;
    }
    printf("equal %d %d\n", vcc_input_equals(stream, "efgh"), vcc_input_equals(stream, "abcd"));
    vcc_vitals_take();
    uint64_t resident = vcc_vitals_take().resident_kib;
    for (int i = 0; i < 32; i++) vcc_input_retire(vcc_input_make(NULL, 1 << 20, VCC_ENDS_AT_GUARD, "text"));
    printf("kept %d\n", vcc_vitals_take().resident_kib > resident + 4096);
    return 0;
}

// MARK: The watch

static int (*slot_of(void *plugin, const char *name))(int) {
    union { void *object; int (*function)(int); } either = {.object = dlsym(plugin, name)};
    if (either.object == NULL) exit(97);
    return either.function;
}

static void *call_on_thread(void *function) {
    (*(int (**)(int))function)(3);
    return NULL;
}

/// PLUGIN SLOT: calls it unarmed once, armed with 3, and on another thread, and says what was counted.
static int watch(const char *path, const char *name) {
    void *plugin = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (plugin == NULL) return puts(dlerror()), 96;
    int redirected = vcc_watch_install(plugin);
    printf("redirected %s, again %d\n", redirected > 0 ? "some" : "none", vcc_watch_install(plugin));
    int (*slot)(int) = slot_of(plugin, name);
    slot(1);
    vcc_watch_arm();
    free(malloc(100));  // the program's own: not the plugin's
    int result = slot(3);
    vcc_watch_suspend();
    slot(5);
    vcc_watch_resume();
    vcc_watch_disarm();
    on_thread(call_on_thread, &slot);
    printf("result %d\n", result);
    vcc_watch_report(VCC_ANY_CLASS, true, text, sizeof text);
    printf("armed: %s\n", text);
    vcc_watch_report(VCC_ANY_CLASS, false, text, sizeof text);
    printf("total: %s\n", text);
    return 0;
}

/// PLUGIN SLOT: fails its allocations one after the other, until there is none left to fail.
static int failing(const char *path, const char *name) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL || vcc_watch_install(plugin) <= 0) return 96;
    int (*slot)(int) = slot_of(plugin, name);
    for (uint64_t n = 1; n < 20; n++) {
        vcc_watch_fail_allocations(n, 1);
        uint64_t before = vcc_watch_failures();
        vcc_watch_arm();
        int result = slot(3);
        vcc_watch_disarm();
        if (vcc_watch_failures() == before) return printf("whole %d\n", result), 0;
        printf("failed at %d: %d\n", (int)n, result);
    }
    return 1;
}

static int shifted(const char *path, const char *name) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL || vcc_watch_install(plugin) <= 0) return 96;
    int before = slot_of(plugin, name)(1);
    vcc_watch_shift_wall_clock(-3600ll * 1000000000);
    int back = before - slot_of(plugin, name)(1);
    // A second may have ended between the two.
    printf("back %d\n", back == 3599 ? 3600 : back);
    return 0;
}

/// PLUGIN SLOT: how many allocations are seen of the plugin alone, and with the libraries that it brought.
static int libraries(const char *path, const char *name) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL || vcc_watch_install(plugin) < 0) return 96;
    int (*slot)(int) = slot_of(plugin, name);
    for (int round = 0; round < 2; round++) {
        if (round == 1 && vcc_watch_install_libraries() <= 0) return 1;
        vcc_watch_reset();
        vcc_watch_arm();
        slot(1);
        vcc_watch_disarm();
        printf("%s\n", vcc_watch_armed_calls(VCC_ALLOCATES) > 0 ? "seen" : "unseen");
    }
    return 0;
}

static int contended(const char *path, const char *name) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL || vcc_watch_install(plugin) <= 0) return 96;
    vcc_watch_arm();
    slot_of(plugin, name)(1);
    vcc_watch_disarm();
    printf("%d of %d\n", (int)vcc_watch_contended_locks(), (int)vcc_watch_armed_count("pthread_mutex_lock"));
    return 0;
}

/// PLUGIN SLOT: calls it, and nothing else; it is the slot that ends the process.
static int call(const char *path, const char *name) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL || !vcc_crash_name_plugin(plugin)) return 96;
    int (*slot)(int) = slot_of(plugin, name);
    vcc_where("call");
    return slot(1);
}

// MARK: Snapshots

static void *linger(void *unused) {
    pthread_setname_np(pthread_self(), "lingerer");
    pause();
    return unused;
}

/// Ends, and is not given the processor again while anyone else wants it.
static void *end_slowly(void *unused) {
    sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    return unused;
}

static void change(const char *name) {
    if (strcmp(name, "descriptor") == 0) fcntl(open("/etc/hostname", O_RDONLY), F_DUPFD, 50);
    if (strcmp(name, "closed") == 0) close(0);
    if (strcmp(name, "exchanged") == 0) dup2(open("/etc/passwd", O_RDONLY), 0);
    if (strcmp(name, "flags") == 0) fcntl(2, F_SETFL, fcntl(2, F_GETFL) | O_NONBLOCK);
    if (strcmp(name, "handler") == 0) signal(SIGPIPE, ignore), signal(SIGUSR1, SIG_IGN);
    if (strcmp(name, "mask") == 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    }
    if (strcmp(name, "environment") == 0) setenv("ADDED", "secret", 1), setenv("HOME", "/", 1), unsetenv("PATH");
    if (strcmp(name, "directory") == 0 && chdir("/usr") != 0) exit(95);
    if (strcmp(name, "umask") == 0) umask(0);
    if (strcmp(name, "locale") == 0) setlocale(LC_ALL, "C.UTF-8");
    if (strcmp(name, "limit") == 0) setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64});
    if (strcmp(name, "denormals") == 0) vcc_flush_denormals(true);
    if (strcmp(name, "priority") == 0) setpriority(PRIO_PROCESS, 0, 3);
    if (strcmp(name, "timer") == 0) alarm(60);
    pthread_t thread;
    if (strcmp(name, "thread") == 0) {
        pthread_create(&thread, NULL, linger, NULL);
        usleep(20000);
    }
    if (strcmp(name, "child") == 0 && fork() == 0) {
        sleep(2);
        _exit(0);
    }
}

static int snapshot(const char *name) {
    umask(022);
    vcc_snapshot *before = vcc_snapshot_take();
    uint64_t heap = vcc_heap_bytes_in_use();
    vcc_snapshot *untouched = vcc_snapshot_take();
    uint32_t count = vcc_snapshot_difference(before, untouched, VCC_EVERYTHING, text, sizeof text);
    if (count != 0) return printf("by itself: %s\n", text), 1;
    if (vcc_heap_bytes_in_use() != heap) return puts("a snapshot allocates"), 1;
    change(name);
    vcc_snapshot *after = vcc_snapshot_take();
    count = vcc_snapshot_difference(before, after, VCC_EVERYTHING, text, sizeof text);
    printf("%u\n%s\n", count, text);
    return 0;
}

/// A thread that was joined may be in /proc a moment longer.
static int joined(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    vcc_snapshot *before = vcc_snapshot_take();
    uint32_t found = 0;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, end_slowly, NULL);
        pthread_join(thread, NULL);
        vcc_snapshot *after = vcc_snapshot_take();
        found += vcc_snapshot_difference(before, after, VCC_THREADS_LEFT, text, sizeof text);
        vcc_snapshot_free(after);
    }
    printf("%u\n", found);
    return 0;
}

static int vitals(void) {
    vcc_vitals_take();
    vcc_vitals before = vcc_vitals_take();
    void *volatile block = malloc(1 << 20);
    memset(block, 1, 1 << 20);
    int file = dup(0);
    vcc_vitals after = vcc_vitals_take();
    printf("heap %d dirty %d descriptors %d cpu %d mappings %d\n", after.heap_bytes - before.heap_bytes >= 1 << 20,
           after.private_dirty_kib - before.private_dirty_kib >= 1000, (int)(after.descriptors - before.descriptors),
           after.thread_cpu_ns > before.thread_cpu_ns, before.mappings > 10);
    close(file);
    vcc_vitals again[2] = {vcc_vitals_take(), vcc_vitals_take()};
    printf("still %d %d\n", (int)(again[1].heap_bytes - again[0].heap_bytes),
           (int)(again[1].mappings - again[0].mappings));
    return 0;
}

int main(int count, char **arguments) {
    if (count < 3 || !vcc_page_attach(atoi(arguments[1])) || !vcc_crash_install()) return 99;
    const char *name = arguments[2];
    if (strcmp(name, "pool") == 0) return pool();
    if (strcmp(name, "vitals") == 0) return vitals();
    if (strcmp(name, "joined") == 0) return joined();
    if (strcmp(name, "snapshot") == 0 && count == 4) return snapshot(arguments[3]);
    if (strcmp(name, "watch") == 0 && count == 5) return watch(arguments[3], arguments[4]);
    if (strcmp(name, "failing") == 0 && count == 5) return failing(arguments[3], arguments[4]);
    if (strcmp(name, "shifted") == 0 && count == 5) return shifted(arguments[3], arguments[4]);
    if (strcmp(name, "libraries") == 0 && count == 5) return libraries(arguments[3], arguments[4]);
    if (strcmp(name, "contended") == 0 && count == 5) return contended(arguments[3], arguments[4]);
    if (strcmp(name, "call") == 0 && count == 5) return call(arguments[3], arguments[4]);
    return crash(name);
}
