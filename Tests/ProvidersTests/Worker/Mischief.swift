// A voice that does what it is told to say: the faults that a worker must survive.

import Glibc
import JSON
import Testing

@testable import Calls
@testable import Providers

enum Mischief {
    static let source = """
        #include <fcntl.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/resource.h>
        #include <unistd.h>
        static const vc_host *host;
        typedef struct session { vc_handle handle; } session;
        static void plain(session *s, uint32_t type) {
            const vc_event e = { .size = sizeof e, .type = type };
            host->emit(s->handle, &e);
        }
        // Writes over what the host and the worker share, as a wild pointer would.
        static void scribble(int offset, uint64_t value) {
            char line[512];
            FILE *maps = fopen("/proc/self/maps", "r");
            while (fgets(line, sizeof line, maps)) {
                if (!strstr(line, "vchost-worker")) continue;
                char *base = (char *)strtoull(line, NULL, 16);
                *(volatile uint64_t *)(base + offset) = value;
            }
            fclose(maps);
        }
        // A child that leaves the group, and another that it leaves behind.
        static void stray(void) {
            if (fork() != 0) return;
            setsid();
            if (fork() == 0) setsid();
            prctl_name();
            for (;;) pause();
        }
        static void overflow(volatile char *before) {
            volatile char here[4096];
            here[0] = before ? before[0] : 1;
            overflow(here);
            before = here;
        }
        static int is(vc_str text, const char *word) {
            return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
        }
        static vc_status speak(vc_self self, uint64_t request, uint64_t epoch, vc_str text, uint32_t flags) {
            session *s = self;
            (void)flags;
            if (is(text, "segv")) { printf("about to crash\\n"); fflush(stdout); *(volatile int *)8 = 1; }
            if (is(text, "abort")) abort();
            if (is(text, "exit")) exit(0);
            if (is(text, "loop")) for (;;) __asm__ volatile("");
            if (is(text, "overflow")) overflow(0);
            if (is(text, "stray")) { stray(); stray(); }
            if (is(text, "hog")) {
                for (;;) { char *more = malloc(16 << 20); memset(more, 1, 4096); }
            }
            if (is(text, "refuse")) return VC_E_QUOTA;
            if (is(text, "chatter")) for (int i = 0; i < 5000; i++) fprintf(stderr, "line %d\\n", i);
            if (is(text, "environment")) {
                const char *preload = getenv("LD_VCHOST_TEST"), *key = getenv("VCHOST_TEST_KEY"), *kept = getenv("HOME");
                struct rlimit core, files, memory;
                getrlimit(RLIMIT_CORE, &core); getrlimit(RLIMIT_NOFILE, &files); getrlimit(RLIMIT_AS, &memory);
                int open_files = 0;
                for (int i = 0; i < 1024; i++) if (fcntl(i, F_GETFD) >= 0) open_files++;
                printf("ld=%s key=%s home=%s core=%d files=%d memory=%d open=%d\\n", preload ? preload : "none",
                    key ? key : "none", kept ? "kept" : "none", (int)core.rlim_cur, (int)files.rlim_cur,
                    (int)(memory.rlim_cur >> 20), open_files);
                fflush(stdout);
            }
            // The counters of the ring of events, which the host reads.
            if (is(text, "scribble")) { scribble(3072, UINT64_MAX / 2); return VC_OK; }
            if (is(text, "flood")) {
                // More than any credit: the answer is AGAIN and nothing worse.
                const int16_t silence[800] = { 0 };
                int taken = 0;
                for (int i = 0; i < 1000; i++) {
                    const vc_frame f = { .size = sizeof f, .format = VC_FORMAT_S16, .rate_hz = 8000, .channels = 1,
                        .samples = 800, .position = 800 * (uint64_t)i, .data = silence, .bytes = sizeof silence };
                    const vc_event_audio e = { { sizeof e, VC_EVENT_AUDIO, 0, 0, epoch, request }, &f };
                    if (host->emit(s->handle, &e.head) == VC_OK) taken++;
                }
                printf("taken %d\\n", taken); fflush(stdout);
            }
            const vc_event_tts_done done = { { sizeof done, VC_EVENT_TTS_DONE, 0, 0, epoch, request }, VC_TTS_COMPLETE, 0, 0 };
            host->emit(s->handle, &done.head);
            return VC_OK;
        }
        static const vc_tts_ops tts = { .size = sizeof tts, .speak = speak };
        static void cancel(vc_self self, uint64_t epoch) { (void)self, (void)epoch; }
        static void close_(vc_self self) { plain(self, VC_EVENT_CLOSED); }
        static const vc_session_ops ops = { .size = sizeof ops, .cancel = cancel, .close = close_, .destroy = free };
        static vc_status open_(vc_self p, const vc_open *r, vc_session *out, vc_error *e) {
            (void)p, (void)e;
            if (r->language.length == 2 && !memcmp(r->language.data, "xx", 2)) abort();
            session *s = calloc(1, sizeof *s);
            s->handle = r->session;
            out->state = s, out->ops = &ops, out->kind_ops = &tts;
            plain(s, VC_EVENT_READY);
            return VC_OK;
        }
        static vc_status create(const vc_create *r, vc_self *self, vc_error *e) {
            if (strstr(r->config.data, "crash")) abort();
            if (strstr(r->config.data, "slow")) sleep(30);
            if (strstr(r->config.data, "refuse")) {
                e->message = (vc_str)VC_STR("the voice `refuse` does not exist; choose another");
                return VC_E_CONFIG;
            }
            *self = 0;
            return VC_OK;
        }
        static void destroy(vc_self self) { (void)self; }
        static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR("vc.tts/1"),
            .id = VC_STR("org.test.mischief"), .create = create, .destroy = destroy, .open = open_ };
        static const vc_provider *const providers[] = { &provider };
        static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
        VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
            host = the_host;
            *module = &module_;
            return VC_OK;
        }
        """

    /// Named by `prctl` so that a test finds them among all processes, and only them.
    static let strayName = "vc-test-stray"

    static func plugin(_ workshop: Workshop) throws -> LoadedPlugin {
        let naming =
            "#include <sys/prctl.h>\nstatic void prctl_name(void) { prctl(PR_SET_NAME, \"\(strayName)\"); }\n"
        let config: JSONValue = [
            "type": "object", "properties": ["mood": ["type": "string", "default": "calm"]],
            "additionalProperties": false,
        ]
        return try workshop.load(
            "mischief.so", naming + source,
            manifest: Workshop.manifest(
                id: "org.test.mischief", kind: "vc.tts/1", capabilities: ["rates": [8_000]], config: config),
            flags: ["-Wno-infinite-recursion", "-Wno-unused-result", "-O0"])
    }

    /// Strays that live in this worker's tree or have lost it.
    static func strays() -> [Int] {
        (directoryEntries("/proc") ?? []).compactMap { Int($0) }.filter { process in
            let name = readSmallFile("/proc/\(process)/comm").map { String(decoding: $0, as: UTF8.self) }
            return name == strayName + "\n" && isRunning(process)
        }
    }
}
