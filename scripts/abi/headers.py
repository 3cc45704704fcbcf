"""What the headers of the contract say, as one value: structs, members, slots and their threads, constants, ids.

The declarations are read from the text, because it is ours, its style is one, and its words (`VC_NULLABLE`, the role of
a thread) are what is asked about; clang's dump prints them differently in each version. Numbers are never computed
here: a program is compiled that prints every size, offset and value, so the compiler stays the judge. What the text has
and the parser did not understand is an error, never a gap.

The value has the shape of `Sources/PluginABI/abi.toml` (see `table.py`), without its history.
"""

import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "Sources/PluginABI/include"
ROLES = {"VC_INIT": "init", "VC_CONTROL": "control", "VC_DETECT": "detect", "VC_TASK": "task", "VC_ANY": "any"}
# Tables that a plugin hands to the host for one request. They are called as their owner's control calls, which stands
# once above each, and so do the function types of the services.
CALLBACK_TABLES = {"vc_http_events": "control", "vc_ws_events": "control"}
CALLBACK_TYPES = {"vc_timer_fn": "control", "vc_task_fn": "task", "vc_secret_fn": "control",
                  "vc_server_request_fn": "control", "vc_plugin_entry_fn": "init"}
# Structs without a `size` that stand in arrays with a stride: they can grow all the same.
STRIDES = {"vc_vad_row": "vc_vad_batch.row_stride"}
WORDS = {"const", "void", "unsigned", "struct", "VC_NULLABLE", "VC_NONNULL"}


class Unreadable(Exception):
    """A declaration that is not written as all others are."""


def read(include=INCLUDE):
    """All of the contract; `breaches` are sentences about what no release may have."""
    contract = {"abi": {}, "struct": {}, "function": {}, "type": {}, "constant": {}, "id": {}}
    breaches = []
    base = include / "vchost"
    for path in sorted(base.rglob("*.h")):
        _read_header(path, str(path.relative_to(base)), contract, breaches)
    _measure(include, contract)
    for name, struct in contract["struct"].items():
        struct["grows"] = _grows(name, struct, contract["struct"])
    return contract, breaches


def _read_header(path, header, contract, breaches):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    text = re.sub(r"//.*", "", text)
    structs = re.findall(r"typedef struct (\w+) \{(.*?)\n\} (\w+);", text, re.S)
    enums = re.findall(r"enum \{(.*?)\n\};", text, re.S)
    words = [len(re.findall(word, text)) for word in (r"\b(?:struct|union)\b", r"\benum\b")]
    if words != [len(structs), len(enums)]:
        raise Unreadable(f"{header} has a struct, union or enum that is not written as the others are: "
                         "`typedef struct vc_NAME {` ... `} vc_NAME;`, `enum {` ... `};`")
    for name, body, again in structs:
        if name != again:
            raise Unreadable(f"{header}: struct {name} is called {again} at its end")
        contract["struct"][name] = {"header": header, "members": _members(name, header, body, breaches)}
    for body in enums:
        names = re.findall(r"\b(VC_\w+)\s*=", body)
        if len(names) != len([entry for entry in body.split(",") if entry.strip()]):
            raise Unreadable(f"{header}: an enum has a constant without `= value`")
        for name in names:
            contract["constant"][name] = {"header": header, "group": names[0]}
    for name, value in re.findall(r"^#define (VC_[A-Z_0-9]+) (\S.*)$", text, re.M):
        if value.startswith('"'):
            contract["id"][name] = {"header": header, "value": value.strip('"')}
        elif re.fullmatch(r"\d+", value):
            contract["constant"][name] = {"header": header, "group": name}
    without_structs = re.sub(r"typedef struct .*?\n\} \w+;", "", text, flags=re.S)
    for declaration in re.findall(r"^typedef ([^;]*);", without_structs, re.S | re.M):
        if slot := _function(declaration):
            name, type_ = slot
            contract["function"][name] = {"header": header, "type": type_, "thread": CALLBACK_TYPES.get(name, "")}
            if name not in CALLBACK_TYPES:
                breaches.append(f"{header}: on which thread is a {name} called? Say so above it, and in "
                                "CALLBACK_TYPES of scripts/abi/headers.py")
        else:
            name = re.findall(r"\w+", declaration)[-1]
            contract["type"][name] = {"header": header, "type": _spelled(declaration[:declaration.rindex(name)])}
    for declaration in re.findall(r"^VC_EXPORT ([^;]*);", text, re.S | re.M):
        role = next((word for word in ROLES if declaration.endswith(word)), None)
        name = re.search(r"(\w+)\(", declaration).group(1)
        _, type_ = _function(_without_role(declaration).replace(name, f"(*{name})", 1))
        contract["function"][name] = {"header": header, "type": type_, "thread": ROLES.get(role, "")}


def _members(struct, header, body, breaches):
    members = []
    for declaration in (" ".join(part.split()) for part in body.split(";")):
        if not declaration:
            continue
        role = next((word for word in ROLES if declaration.endswith(" " + word)), None)
        declaration = _without_role(declaration)
        if slot := _function(declaration):
            name, type_ = slot
            member = {"name": name, "type": type_, "thread": ROLES.get(role) or CALLBACK_TABLES.get(struct, "")}
            if not member["thread"]:
                breaches.append(f"{header}: {struct}.{name} does not end with the role of its thread: "
                                f"write one of {', '.join(ROLES)} before its semicolon")
        else:
            name = re.findall(r"\w+", declaration)[-1]
            member = {"name": name, "type": _spelled(declaration[:declaration.rindex(name)])}
            if role:
                breaches.append(f"{header}: {struct}.{name} is no function and has the role of a thread")
        if re.search(r"\b(bool|long|size_t|enum|int|short)\b|\[|:|\.\.\.", declaration) or member["type"] == "char":
            breaches.append(f"{header}: {struct}.{name} has the type `{member['type']}`, which may not cross the line; "
                            "abi.h lists those that may")
        members.append(member)
    return members


def _without_role(declaration):
    for word in ROLES:
        declaration = declaration.removesuffix(" " + word)
    return declaration


def _function(declaration):
    """(name, type without the names of its parameters) of a pointer to a function."""
    found = re.search(r"\(\*(VC_\w+ )?(\w+)\)\((.*)\)$", declaration, re.S)
    if not found:
        return None
    kept, name, parameters = found.groups()
    spelled = []
    depth = 0
    for character in parameters:
        depth += (character == "(") - (character == ")")
        spelled.append("\n" if character == "," and depth == 0 else character)
    parameters = ", ".join(_parameter(parameter) for parameter in "".join(spelled).split("\n"))
    return name, f"{_spelled(declaration[:found.start()])} (*{(kept or '').strip()})({parameters})"


def _parameter(text):
    words = [word for word in re.findall(r"\w+", text) if word not in WORDS]
    if len(words) + text.count("void") > 1:
        text = text[:text.rindex(words[-1])]
    return _spelled(text)


def _spelled(text):
    """One spelling of one type: `const vc_frame *VC_NULLABLE`."""
    return re.sub(r"\s*\*\s*", " *", " ".join(text.split())).strip()


def _measure(include, contract):
    """Sizes, offsets and values, from a compiled program."""
    lines = []
    for name, struct in contract["struct"].items():
        lines.append(f'P("{name}", sizeof({name}));')
        for member in struct["members"]:
            full = f"{name}.{member['name']}"
            lines.append(f'P("{full}", offsetof({name}, {member["name"]}));')
            lines.append(f'P("{full}#", sizeof((({name} *)0)->{member["name"]}));')
    lines += [f'P("{name}", {name});' for name in contract["constant"]]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "probe.c")
        source.write_text('#include <stddef.h>\n#include <stdio.h>\n#include "vchost/vchost.h"\n'
                          '#define P(name, value) printf("%s %lld\\n", name, (long long)(value))\n'
                          "int main(void) {\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
        program = pathlib.Path(folder, "probe")
        built = subprocess.run(["cc", "-std=c11", f"-I{include}", source, "-o", program],
                               capture_output=True, text=True)
        if built.returncode != 0:
            raise Unreadable(f"the headers do not compile:\n{built.stderr}")
        said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    numbers = {name: int(value) for name, value in (line.split() for line in said.splitlines())}
    for name, struct in contract["struct"].items():
        struct["size"] = numbers[name]
        for member in struct["members"]:
            member["offset"] = numbers[f"{name}.{member['name']}"]
            member["bytes"] = numbers[f"{name}.{member['name']}#"]
    for name, constant in contract["constant"].items():
        constant["value"] = numbers[name]
    contract["abi"] = {"major": numbers["VC_ABI_MAJOR"], "minor": numbers["VC_ABI_MINOR"]}


def _grows(name, struct, structs):
    """How a reader learns how much of the struct is there; "" when nothing tells, and it can never grow."""
    if any(member["type"] == name for other in structs.values() for member in other["members"]):
        return ""  # Stands inside others: what is appended would move what follows it there.
    first = struct["members"][0]
    if first["name"] == "size" and first["type"] == "uint32_t":
        return "size"
    if first["name"] == "head" and first["type"] == "vc_event":
        return "head.size"
    return STRIDES.get(name, "")
