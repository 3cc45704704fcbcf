"""What is made from `abi.toml` and checked for being up to date: the table of threads, the host's memory of sizes."""

import table

THREADS = """\
# Which slot is called on which thread

Made from the words at the ends of the slots (`VC_CONTROL`, `VC_ANY`, ...) by `scripts/abi-gate write`; a gate fails
when it is older than the headers.
What the roles promise stands in `abi.h`; in short:

| role | which thread | what it may do |
|------|--------------|----------------|
| init | the one that loads plugins, once | store the host's table; nothing else |
| control | any, one call at a time for each object | allocate, take short locks; answer at once |
| detect | the detector's own | compute until the deadline; no allocation after the first batch, no I/O |
| task | one of the host's pool | compute and wait |
| any | any, also while another call on the same object runs | wait-free, or a lock that no control call holds; 1 ms |

"""

SWIFT = """\
// The sizes that each minor version of the contract had: what a host that plays an older one writes into `size`.
//
// Made from `Sources/PluginABI/abi.toml` by `scripts/abi-gate write`, which is where a change begins; a gate of
// `scripts/test` fails when the two differ. A struct keeps its size until its next entry.

extension ABIHistory {
    /// Of the headers in this tree.
    public static let headers = ABIHistory(
        sizes: [
%s
        ],
        services: [
%s
        ])
}
"""


def threads(contract):
    lines = []
    for title, owner in (("The plugin's tables", True), ("The host's tables", False)):
        lines += [f"## {title}", "", "| slot | thread | since | |", "|------|--------|-------|-|"]
        for name, struct in contract["struct"].items():
            for member in struct["members"]:
                if "thread" in member and (("(*VC_NULLABLE)" in member["type"]) == owner):
                    note = "optional in a plugin that is older" if owner and member["added"] != struct["added"] else ""
                    lines.append(f"| `{name}.{member['name']}` | {member['thread']} | {member['added']} | {note} |")
        lines.append("")
    lines += ["## Functions that are passed along", "", "| type | thread | since |", "|------|--------|-------|"]
    for name, function in contract["function"].items():
        lines.append(f"| `{name}` | {function['thread']} | {function['added']} |")
    return THREADS + "\n".join(lines).replace(" |  |", " | |") + "\n"


def history(contract):
    sizes, services = [], []
    for name, struct in sorted(contract["struct"].items()):
        if struct["grows"] == "size":
            entries = ", ".join(f"({table.minor_of(version)}, {size})" for version, size in struct["sizes"].items())
            sizes.append(f'            "{name}": [{entries}],')
    for name, entry in sorted(contract["id"].items()):
        if name.startswith("VC_SERVICE_"):
            service_table = name.lower().replace("vc_service_", "vc_")
            services.append(f'            "{entry["value"]}": ("{service_table}", {table.minor_of(entry["added"])}),')
    return SWIFT % ("\n".join(sizes), "\n".join(services))
