// A plugin in C that obeys or breaks the contract as its test says: `BEHAVIOUR` is compiled in.

extension Sources {
    /// A language model. `request` runs `onRequest`; `open`, `close` and the rest can be replaced.
    static func languageModel(
        onRequest: String, onOpen: String = "tell(s, VC_EVENT_READY, 0, 0);",
        onClose: String = "tell(s, VC_EVENT_CLOSED, 0, 0);",
        onStart: String = "", onCreate: String = "", slots: String = ".request = request", more: String = ""
    ) -> String {
        """
        #include <stdlib.h>
        #include <string.h>
        static const vc_host *host;
        typedef struct session { vc_handle handle; uint64_t epoch; } session;
        static vc_handle provider_handle;
        static vc_status last = 1;
        static vc_status tell(session *s, uint32_t type, uint64_t request, uint64_t epoch) {
            const vc_event event = { .size = sizeof event, .type = type, .epoch = epoch, .request = request };
            return last = host->emit(s->handle, &event);
        }
        static vc_status delta(session *s, uint64_t request, uint64_t epoch, const char *text) {
            const vc_event_delta event = { .head = { .size = sizeof event, .type = VC_EVENT_DELTA, .epoch = epoch, .request = request },
                .text = { text, strlen(text) } };
            return last = host->emit(s->handle, &event.head);
        }
        static vc_status done(session *s, uint64_t request, uint64_t epoch, uint32_t reason) {
            const vc_event_llm_done event = { .head = { .size = sizeof event, .type = VC_EVENT_LLM_DONE, .epoch = epoch,
                .request = request }, .reason = reason };
            return last = host->emit(s->handle, &event.head);
        }
        /// Says the status of the last `emit` as an answer, so that the test reads it.
        static void answer_last(session *s, const vc_llm_request *r) {
            char text[16];
            int length = 0, value = (int)last, digits = value < 0 ? -value : value;
            if (value < 0) text[length++] = '-';
            if (digits > 9) text[length++] = (char)('0' + digits / 10);
            text[length++] = (char)('0' + digits % 10);
            text[length] = 0;
            delta(s, r->request, r->epoch, text);
            done(s, r->request, r->epoch, VC_LLM_STOP);
        }
        static void use(session *s) { (void)s, (void)tell, (void)delta, (void)done, (void)answer_last, (void)provider_handle; }
        \(more)
        static vc_status request(vc_self self, const vc_llm_request *r) {
            session *s = self;
            use(s);
            (void)r;
            { \(onRequest) }
            return VC_OK;
        }
        static void cancel(vc_self self, uint64_t epoch) { ((session *)self)->epoch = epoch; }
        static void close_(vc_self self) { session *s = self; use(s); \(onClose) }
        static void free_(vc_self self) { free(self); }
        static const vc_session_ops ops = { .size = sizeof ops, .cancel = cancel, .close = close_, .destroy = free_ };
        static const vc_llm_ops llm = { .size = sizeof llm, \(slots) };
        static vc_status open_(vc_self p, const vc_open *r, vc_session *out, vc_error *e) {
            (void)p, (void)e, (void)request;
            session *s = calloc(1, sizeof *s);
            s->handle = r->session;
            out->state = s;
            out->ops = &ops;
            out->kind_ops = &llm;
            \(onOpen)
            return VC_OK;
        }
        static vc_status create(const vc_create *r, vc_self *self, vc_error *e) {
            (void)e;
            provider_handle = r->provider;
            *self = 0;
            \(onCreate)
            return VC_OK;
        }
        static vc_status start(vc_self self, vc_error *e) {
            (void)self, (void)e;
            session provider = { .handle = provider_handle };
            session *s = &provider;
            \(onStart.isEmpty ? "tell(s, VC_EVENT_READY, 0, 0);" : onStart)
            use(s);
            return VC_OK;
        }
        static void destroy(vc_self self) { (void)self; }
        static const vc_provider provider = { .size = sizeof(vc_provider), .kind = VC_STR("vc.llm/1"), .id = VC_STR("org.test.llm"),
            .create = create, .start = start, .destroy = destroy, .open = open_ };
        static const vc_provider *const providers[] = { &provider };
        static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
        VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **module) {
            host = the_host;
            *module = &module_;
            return VC_OK;
        }
        """
    }
}
