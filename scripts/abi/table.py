"""`Sources/PluginABI/abi.toml`: the contract with its history, a line for each thing, read by programs and reviewers.

    grows   how a reader learns the struct's real size: its `size`, its head's, a stride; "" when it can never grow
    sizes   bytes in each minor version in which it grew
    added   the version that brought a thing
"""

import tomllib

OPENING = """\
# The plugin contract, with its history: every struct, member, slot, constant and id, and the version that brought it.
# `scripts/abi-gate write` adds what the headers have gained; nothing here is ever taken away.
# By hand: `released`, true from 1.0 on, and until then `accepted`, the names of what was broken with intent.
# What may change, and what is refused: scripts/abi/growth.py.
"""


def parse(text):
    return tomllib.loads(text)


def load(path):
    return parse(path.read_text())


def with_history(contract, old):
    """`contract`, as read from the headers, with what `old` knows of when each thing came."""
    now = f"{contract['abi']['major']}.{contract['abi']['minor']}"
    result = {"abi": {**contract["abi"], "released": old.get("abi", {}).get("released", False)}}
    if accepted := old.get("abi", {}).get("accepted"):
        result["abi"]["accepted"] = accepted
    for section in ("struct", "function", "type", "constant", "id"):
        known = old.get(section, {})
        result[section] = {}
        for name, thing in contract[section].items():
            before = known.get(name, {})
            thing = {**thing, "added": before.get("added", now)}
            if section == "struct":
                sizes = dict(before.get("sizes", {}))
                size = thing.pop("size")
                if not sizes or sizes[max(sizes, key=minor_of)] != size:
                    sizes[now] = size
                thing["sizes"] = sizes
                added = {member["name"]: member["added"] for member in before.get("members", [])}
                thing["members"] = [{**member, "added": added.get(member["name"], now)} for member in thing["members"]]
            result[section][name] = thing
    return result


def minor_of(version):
    return int(version.split(".")[1])


def size_at(struct, minor):
    """Bytes of the struct in a minor version; 0 when it was not there yet."""
    known = [version for version in struct["sizes"] if minor_of(version) <= minor]
    return struct["sizes"][max(known, key=minor_of)] if known else 0


def text(contract):
    lines = [OPENING, "[abi]"]
    lines += [f"{key} = {_value(value)}" for key, value in contract["abi"].items()]
    for name, struct in contract["struct"].items():
        lines += ["", f"[struct.{name}]", f"header = {_value(struct['header'])}", f"added = {_value(struct['added'])}",
                  f"grows = {_value(struct['grows'])}", f"sizes = {_value(struct['sizes'])}", "members = ["]
        for member in struct["members"]:
            keys = ("name", "offset", "bytes", "type", "thread", "added")
            lines.append(f"    {_value({key: member[key] for key in keys if key in member})},")
        lines.append("]")
    for section in ("function", "type", "constant", "id"):
        lines += ["", f"[{section}]"]
        lines += [f"{name} = {_value(thing)}" for name, thing in contract[section].items()]
    return "\n".join(lines) + "\n"


def _value(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _key(key):
    return f'"{key}"' if "." in key else key
