"""What may change between two versions of the contract, and a sentence with the mend for whatever may not.

The rules of abi.h, "How this contract grows", as a function from two `abi.toml` values to sentences. abidiff cannot do
it: it calls an appended slot and an inserted one the same, and sees neither constants nor threads
(`scripts/abi/witness.py` runs it as a second pair of eyes).

What passes: members appended to structs whose readers learn the size, new structs, constants, ids, services and
functions, each marked with the version that brought it. Everything else is a breach.

Until 1.0 is released (`released = false`) there is nobody to break, but the others who work on the tree: a change is
still a breach, and passes only when `[abi] accepted` names it, so that nobody makes one without meaning to.
"""

import table


def breaches(old, new, is_released=None):
    """Sentences; empty when `new` is a version of the contract that everything built with `old` can live with.

    `is_released`: whether plugins with `old` are out there. Then what is new needs a higher minor version.
    """
    released = old["abi"].get("released", False) if is_released is None else is_released
    found = [*_versions(old, new), *_structs(old, new, released), *_others(old, new), *_marks(old, new, released)]
    accepted = () if released else new["abi"].get("accepted", ())
    return [sentence for subject, sentence in found if subject not in accepted]


def _versions(old, new):
    if new["abi"]["major"] != old["abi"]["major"]:
        yield "abi.major", (
            f"VC_ABI_MAJOR went from {old['abi']['major']} to {new['abi']['major']}: a break needs a new entry "
            "function and headers of its own beside these, which stay as they are")
    if new["abi"]["minor"] < old["abi"]["minor"]:
        yield "abi.minor", f"VC_ABI_MINOR went back from {old['abi']['minor']} to {new['abi']['minor']}: restore it"


def _structs(old, new, released):
    now = f"{new['abi']['major']}.{new['abi']['minor']}"
    for name, before in old["struct"].items():
        after = new["struct"].get(name)
        if after is None:
            yield name, f"{name} is gone: plugins have it in their code. Put it back; what nobody uses may stay"
            continue
        if after["header"] != before["header"]:
            yield name, (f"{name} moved from {before['header']} to {after['header']}: authors include the old one. "
                         "Move it back")
        if after["added"] != before["added"]:
            yield name, f"{name} was added in {before['added']}, not {after['added']}: restore what abi.toml said"
        sizes = [struct["sizes"][max(struct["sizes"], key=table.minor_of)] for struct in (before, after)]
        if sizes[1] < sizes[0]:
            yield name, (f"{name} has shrunk from {sizes[0]} to {sizes[1]} bytes: plugins read and write the rest. "
                         "Put back what is missing")
        for version, size in before["sizes"].items():
            if version == now and not released and after["sizes"].get(version, 0) > size:
                continue  # Still being written; that it was only appended to is checked below.
            if after["sizes"].get(version) != size:
                yield name, (f"{name} had {size} bytes in {version}, and abi.toml now says "
                             f"{after['sizes'].get(version)}: what a version had is history. Restore both")
        yield from _members(name, before, after)


def _members(struct, before, after):
    olds, news = before["members"], after["members"]
    by_name = {member["name"]: member for member in news}
    old_names = {member["name"] for member in olds}
    for index, member in enumerate(olds):
        name = f"{struct}.{member['name']}"
        now = by_name.get(member["name"])
        if now is None:
            there = news[index] if index < len(news) else None
            if member["name"].startswith("reserved"):
                yield name, (f"{name} is gone: a reserved word stays for ever, because old plugins write 0 there and "
                             "old hosts check it. Put it back and append a member instead")
            elif there and there["name"] not in old_names and there["offset"] == member["offset"]:
                yield name, (f"{name} is called {there['name']} now: the sources of plugins use the old name. "
                             "Rename it back")
            else:
                yield name, f"{name} is gone: plugins read or call it. Put it back at offset {member['offset']}"
            continue
        if now["offset"] != member["offset"]:
            first = next((other for other in news
                          if other["name"] not in old_names and other["offset"] < now["offset"]), None)
            why = f" ({first['name']} was put before it)" if first else ""
            yield name, (f"{name} moved from offset {member['offset']} to {now['offset']}{why}: plugins have the "
                         "old one in their code. New members go to the end")
        if now["type"] != member["type"] or now["bytes"] != member["bytes"]:
            yield name, (f"{name} was `{member['type']}` and is `{now['type']}`: plugins were compiled with the old "
                         "type. Restore it and append a member with the new one")
        if now.get("thread") != member.get("thread"):
            yield name, (f"{name} is called as {now.get('thread')} and was as {member.get('thread')}: plugins rely "
                         "on the old promise. Restore it, or append a slot with the new one")
        if now["added"] != member["added"]:
            yield name, f"{name} was added in {member['added']}, not {now['added']}: restore what abi.toml said"
    yield from _appended(struct, before, after, old_names)


def _appended(struct, before, after, old_names):
    end = max(member["offset"] + member["bytes"] for member in before["members"])
    size = before["sizes"][max(before["sizes"], key=table.minor_of)]
    slots = [member for member in before["members"] if "thread" in member]
    is_theirs = bool(slots) and all("VC_NULLABLE" in member["type"].split("(*")[1].split(")")[0] for member in slots)
    for member in after["members"]:
        name = f"{struct}.{member['name']}"
        if member["name"] in old_names or member["offset"] < end:
            continue  # What stands before the end has moved or replaced others, which was said.
        if not before["grows"]:
            yield name, (f"{name} was appended to a struct that cannot grow: it has no size of its own, or stands "
                         "inside others. Make a new struct, or a slot that takes one")
        elif member["offset"] < size:
            yield name, (f"{name} stands in what was padding: the size does not tell a reader whether it is there. "
                         "Give it a type that makes the struct larger")
        if "thread" in member and not member["thread"]:
            yield name, f"{name} has no thread: end its line with VC_CONTROL, VC_ANY or another role of abi.h"
        if "thread" in member and is_theirs and "(*VC_NULLABLE)" not in member["type"]:
            yield name, (f"{name} is not VC_NULLABLE: a slot that was added later is optional for ever, since older "
                         "plugins do not have it")


def _others(old, new):
    for section, what, same in (
        ("constant", "value", ("value", "group", "header")), ("id", "id", ("value", "header")),
        ("function", "type", ("type", "thread", "header")), ("type", "type", ("type", "header")),
    ):
        for name, before in old[section].items():
            after = new[section].get(name)
            if name == "VC_ABI_MINOR" and after is not None:
                continue
            if after is None:
                yield name, f"{name} is gone: the sources of plugins use it. Put it back; what nobody uses may stay"
                continue
            for key in (*same, "added"):
                if after[key] != before[key]:
                    yield name, (f"{name}: its {key} was {before[key]} and is {after[key]}. Plugins have the old one "
                                 f"in their code: restore it, and give the new {what} a new name")
    groups = {}
    for name, constant in new["constant"].items():
        other = groups.setdefault((constant["group"], constant["value"]), name)
        if other != name:
            yield name, (f"{name} has the value of {other}, {constant['value']}: who reads it cannot tell them apart. "
                         "Take a free one")
    taken = {}
    for name, entry in new["id"].items():
        other = taken.setdefault(entry["value"], name)
        if other != name:
            yield name, f"{name} has the text of {other}, \"{entry['value']}\": take another"


def _marks(old, new, released):
    """Everything new says which version brought it."""
    now = f"{new['abi']['major']}.{new['abi']['minor']}"
    news = []
    for section in ("struct", "function", "type", "constant", "id"):
        for name, thing in new[section].items():
            before = old[section].get(name)
            if before is None:
                news.append((name, thing["added"]))
            elif section == "struct":
                known = {member["name"] for member in before["members"]}
                news += [(f"{name}.{member['name']}", member["added"]) for member in thing["members"]
                         if member["name"] not in known]
    for name, added in news:
        if added != now:
            yield name, f"{name} is new and says that {added} brought it; this is {now}. Run: scripts/abi-gate write"
    if news and released and new["abi"]["minor"] <= old["abi"]["minor"]:
        yield "abi.minor", (f"{news[0][0]} is new, and {now} was released without it: raise VC_ABI_MINOR to "
                            f"{old['abi']['minor'] + 1} and run: scripts/abi-gate write")
