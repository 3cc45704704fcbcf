// The C of the test plugins.

enum Sources {
    /// The least that loads: one provider that can be created and destroyed.
    static func least(id: String, kind: String, more: String = "", entry: String = "") -> String {
        """
        \(more)
        static vc_status create(const vc_create *r, vc_self *self, vc_error *e) { (void)r, (void)e; *self = 0; return VC_OK; }
        static void destroy(vc_self self) { (void)self; }
        static vc_status open_(vc_self p, const vc_open *r, vc_session *s, vc_error *e) {
            (void)p, (void)r, (void)s, (void)e;
            return VC_E_UNSUPPORTED;
        }
        static const vc_provider provider = { .size = sizeof(vc_provider), .kind = VC_STR("\(kind)"), .id = VC_STR("\(id)"),
            .create = create, .destroy = destroy, .open = open_ };
        static const vc_provider *const providers[] = { &provider };
        static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
        VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
            (void)host;
            \(entry)
            *module = &module_;
            return VC_OK;
        }
        """
    }
}
