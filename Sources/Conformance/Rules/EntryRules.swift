// ENT: the entry function, the first code of a plugin that a host calls.

import PluginABI

let entryRules: [Rule] = [
    Rule(
        "VC-ENT-01", smoke: true, "The entry function answers VC_OK and gives a module.",
        because: "Without a module there is nothing to create a provider from.",
        passing: "*module = &the_module;  return VC_OK;",
        failing: "return VC_OK;        // and *module stays NULL",
        needs: ["VC-LOAD-01"],
        check: .probe { bench in try bench.enter() })
]
