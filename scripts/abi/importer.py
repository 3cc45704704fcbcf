"""Whether Tests/PluginABITests asks Swift about everything: the value of every constant, the optionality of every slot.

Swift cannot be asked for "all members of a struct", so the tests list them by hand; this is what notices a line that is
missing or wrong. The values themselves are checked where they matter, by the compiled test.
"""

import re


def breaches(contract, layout_test, constant_test):
    for name, struct in contract["struct"].items():
        size = struct["sizes"][list(struct["sizes"])[-1]]
        if f"MemoryLayout<{name}>.size == {size})" not in layout_test:
            yield (f"LayoutTests.swift does not ask for the size of {name}: "
                   f"add `#expect(MemoryLayout<{name}>.size == {size})`")
        for member in struct["members"]:
            if "thread" not in member:
                continue
            sign = "" if "(*VC_NULLABLE)" in member["type"] else "!"
            if f"#expect({sign}isOptional(\\{name}.{member['name']}))" not in layout_test:
                yield (f"LayoutTests.swift does not ask whether {name}.{member['name']} is optional: "
                       f"add `#expect({sign}isOptional(\\{name}.{member['name']}))`")
    numbers = dict(re.findall(r'\("(\w+)", Int\(\1\), (-?\d+)\)', constant_test))
    texts = dict(re.findall(r'\("(\w+)", \1, "([^"]*)"\)', constant_test))
    for name, constant in contract["constant"].items():
        if numbers.get(name) != str(constant["value"]):
            said = numbers.get(name, "nothing")
            yield f"ConstantTests.swift does not say that {name} is {constant['value']}, but {said}"
    for name, entry in contract["id"].items():
        if texts.get(name) != entry["value"]:
            said = texts.get(name, "nothing")
            yield f"ConstantTests.swift does not say that {name} is \"{entry['value']}\", but {said}"
