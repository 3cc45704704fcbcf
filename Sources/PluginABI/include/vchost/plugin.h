/// @file The entry of a plugin, and its providers.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_PLUGIN_H
#define VCHOST_PLUGIN_H

#include "session.h"

VC_BEGIN_DECLS

/*      module     one .so, one entry function                              the life of the process: never unmapped
         └─ provider    kind + id + configuration: pools, models, credentials     one for each section of the configuration
             └─ session     one for each call: what a barge-in cancels            open ... CLOSED ... destroy

    Three levels, because a model or a pool of connections belongs to no call, and must not become a global.  */

/// What a provider is created with. The strings live until `create` returns.
typedef struct vc_create {
    uint32_t size;
    uint32_t reserved;
    vc_handle provider;
    vc_str name;   ///< The section's name, "stt.local".
    vc_str config; ///< JSON, checked against the manifest's `config` schema, defaults filled in; "{}" at least.
} vc_create;

/// One thing that the plugin provides. Constant data.
typedef struct vc_provider {
    uint32_t size;
    uint32_t reserved;
    vc_str kind; ///< VC_KIND_..., as in the manifest.
    vc_str id;   ///< As in the manifest, "org.acme.stt".

    /// Makes a provider of the given configuration: checks it, and takes memory, but no port, thread or connection yet.
    /// It may read small files that the configuration names, and take 250 ms for it: no call is up that would wait.
    /// On failure `*self` is not used, and `error` says which setting is wrong and what would be right.
    vc_status (*VC_NULLABLE create)(const vc_create *request, vc_self *VC_NONNULL self, vc_error *error) VC_CONTROL;

    /// Begins to work: binds ports, loads models, warms connections. Answers at once and emits READY, or a fatal ERROR,
    /// when that is done. Optional: without it the provider is ready when `create` returned.
    vc_status (*VC_NULLABLE start)(vc_self self, vc_error *error) VC_CONTROL;

    /// Take nothing new, finish what there is: open sessions go on. Emit DRAINED when nothing is left and every port is
    /// free. Optional: without it the provider counts as drained when its last session is destroyed.
    void (*VC_NULLABLE drain)(vc_self self) VC_CONTROL;

    /// Free the provider. All its sessions were destroyed before.
    void (*VC_NULLABLE destroy)(vc_self self) VC_CONTROL;

    /// Opens a session and fills in `session`, whose `size` is set by the host. Answers at once.
    vc_status (*VC_NULLABLE open)(vc_self self, const vc_open *request, vc_session *session, vc_error *error) VC_CONTROL;

    /// What the kind asks of the provider itself: `vc_vad_provider_ops`, `vc_telephony_provider_ops`, else NULL.
    const void *VC_NULLABLE kind_ops;
} vc_provider;

/// What the entry function hands out. Constant data: the host reads it once, when the plugin is loaded.
typedef struct vc_module {
    uint32_t size;
    uint32_t minor;          ///< VC_ABI_MINOR of the headers with which the plugin was built.
    uint32_t host_minor_min; ///< The oldest host on which it runs.
    uint32_t provider_count;
    const vc_provider *const VC_NULLABLE *VC_NULLABLE providers; ///< Pointers, because `vc_provider` may grow.
} vc_module;

/// The one function that a plugin exports: called first, once, before any other of its functions.
///
/// It stores `host` and sets `*module` to constant data. It starts no thread, opens no file or socket, reads no
/// environment, and takes no longer than 50 ms: the host calls it for every plugin of its directory, used or not.
/// VC_E_UNSUPPORTED refuses this host; the plugin is then listed as refused. Its name carries the major version.
VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module *VC_NULLABLE *VC_NULLABLE module) VC_INIT;

/// The type of the entry function, and its name for dlsym.
typedef vc_status (*vc_plugin_entry_fn)(const vc_host *host, const vc_module *VC_NULLABLE *VC_NULLABLE module);
#define VC_PLUGIN_ENTRY "vc_plugin_entry_v1"

/// Puts the manifest, a JSON text, into the file where the host finds it without running any code.
///
/// For C and C++; `vchost plugins pack FILE.so manifest.json` writes the same section into a file of any language.
#define VC_MANIFEST(json)                                                                                              \
    __attribute__((section(".vchost.manifest"), used)) static const char vc_manifest_text[] = json
#define VC_MANIFEST_SECTION ".vchost.manifest"

VC_END_DECLS

#endif
