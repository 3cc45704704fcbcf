#include "vchost/vchost.h"

vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    (void)host, (void)module;
    return VC_E_UNSUPPORTED;
}
