"""The Rust side of the contract says what the C headers say: every size, offset and constant, as the two compilers see
them."""
import re
import subprocess
import sys
import unittest

from installation import ROOT, scratch

BINDINGS = ROOT / "Templates/rust/every/vchost.rs"
INCLUDE = ROOT / "Sources/PluginABI/include"


def structs(text):
    """(name, members) of each struct of the bindings; a member is called as in C."""
    for name, body in re.findall(r"pub struct (\w+) \{\n(.*?)\n\}", text, re.S):
        yield name, re.findall(r"^    pub (\w+):", body, re.M)


class Bindings(unittest.TestCase):
    def setUp(self):
        self.folder = scratch("bindings")
        self.text = BINDINGS.read_text()

    def built(self, name, source, *compiler):
        path = self.folder / name
        path.write_text(source)
        subprocess.run([*compiler, path, "-o", self.folder / "program"], check=True)
        return subprocess.run([self.folder / "program"], check=True, capture_output=True, text=True).stdout.splitlines()

    def seen_by_c(self):
        lines = []
        for name, members in structs(self.text):
            lines.append(f'printf("{name} %zu %zu\\n", sizeof({name}), _Alignof({name}));')
            for member in members:
                lines.append(f'printf("{name}.{member} %zu\\n", offsetof({name}, {member.rstrip("_")}));')
        for name, integer in re.findall(r"pub const (\w+): (u32|vc_status) =", self.text):
            lines.append(f'printf("{name} %lld\\n", (long long){name});')
        for name in re.findall(r"pub const (\w+): &str =", self.text):
            lines.append(f'printf("{name} %s\\n", {name});')
        body = "\n".join(lines)
        source = f"#include <stddef.h>\n#include <stdio.h>\n#include <vchost/vchost.h>\nint main(void) {{\n{body}\nreturn 0;\n}}\n"
        return self.built("layout.c", source, "cc", f"-I{INCLUDE}")

    def seen_by_rust(self):
        lines = []
        for name, members in structs(self.text):
            lines.append(f'println!("{name} {{}} {{}}", size_of::<{name}>(), align_of::<{name}>());')
            for member in members:
                lines.append(f'println!("{name}.{member} {{}}", unsafe {{ let it = MaybeUninit::<{name}>::uninit();'
                             f" let p = it.as_ptr(); (addr_of!((*p).{member}) as usize) - (p as usize) }});")
        for name in re.findall(r"pub const (\w+): (?:u32|vc_status|&str) =", self.text):
            lines.append(f'println!("{name} {{}}", {name});')
        (self.folder / "vchost.rs").write_text(self.text)
        body = "\n".join(lines)
        source = ("mod vchost;\nuse std::mem::{align_of, size_of, MaybeUninit};\nuse std::ptr::addr_of;\nuse vchost::*;\n"
                  f"fn main() {{\n{body}\n}}\n")
        return self.built("layout.rs", source, "/usr/bin/rustc", "--edition", "2021")

    def test_sizes_offsets_and_constants_are_those_of_the_headers(self):
        c, rust = self.seen_by_c(), self.seen_by_rust()
        self.assertEqual(sorted(c), sorted(rust))
        self.assertGreater(len(c), 350)

    def test_nothing_of_the_headers_is_missing(self):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", "".join(path.read_text() for path in INCLUDE.rglob("*.h")), flags=re.S)
        names = set(re.findall(r"typedef struct (\w+)", text)) | set(re.findall(r"\b(VC_(?:KIND|SERVICE)_\w+) \"", text))
        for body in re.findall(r"enum \{(.*?)\};", text, re.S):
            names |= {entry.split("=")[0].strip() for entry in body.split(",") if entry.strip()}
        missing = {name for name in names if not re.search(rf"\b{name}\b", self.text)}
        self.assertEqual(missing, set())
        self.assertGreater(len(names), 130)

    def test_the_file_is_what_the_script_writes(self):
        subprocess.run([sys.executable, ROOT / "scripts/rust-bindings", "--check"], check=True, capture_output=True)
