"""Compiles the headers of the contract as an author might: each alone, twice, and all of them together.

C11, C17, C23 and C++11 to C++23, with gcc and with clang, -Wall -Wextra -Wpedantic -Werror. The Swift toolchain's clang
stands in where Debian's is not installed. `layout.c` is compiled too, by every C compiler and for x86-64 and arm64, and
must name every struct and every member with the numbers of the headers.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from headers import INCLUDE, ROOT

LAYOUT = ROOT / "Sources/PluginABI/layout.c"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
# The newest standard has two names; each compiler gets the first that it knows.
C = [["c11"], ["c17"], ["c23", "c2x"]]
CXX = [["c++11"], ["c++14"], ["c++17"], ["c++20"], ["c++23", "c++2b"]]


class Missing(Exception):
    """A compiler that is not installed."""


def compilers():
    """(program, language, standards) of what is installed."""
    swift = shutil.which("swift")
    beside_swift = pathlib.Path(swift).resolve().parent if swift else None
    found = []
    for names, language, standards in (
        (("gcc",), "c", C), (("g++",), "c++", CXX), (("clang",), "c", C), (("clang++",), "c++", CXX),
    ):
        for name in names:
            program = shutil.which(name)
            if not program and beside_swift and (beside_swift / name).exists():
                program = str(beside_swift / name)
            if not program:
                raise Missing(f"{name} is not installed; run: apt-get install gcc g++ clang")
            found.append((program, language, standards))
    return found


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else f"{' '.join(command)}\n{done.stderr.strip()}"


def known_standard(program, language, names):
    for name in names:
        if run([program, f"-std={name}", "-x", language, "-fsyntax-only", "/dev/null"]) is None:
            return name
    raise Missing(f"{program} knows none of {', '.join(names)}")


def compilations(folder):
    """All commands; one source that includes each header alone, twice, and one that includes all."""
    headers = sorted(path.relative_to(INCLUDE) for path in INCLUDE.rglob("*.h"))
    sources = []
    for header in headers:
        source = folder / (str(header).replace("/", "_") + ".inc")
        source.write_text(f'#include "{header}"\n#include "{header}"\n')
        sources.append(source)
    everything = folder / "everything.inc"
    everything.write_text("".join(f'#include "{header}"\n' for header in reversed(headers)))
    sources.append(everything)
    for program, language, standards in compilers():
        for names in standards:
            standard = known_standard(program, language, names)
            base = [program, f"-std={standard}", *WARNINGS, "-x", language, "-fsyntax-only", f"-I{INCLUDE}"]
            # An empty translation unit is no error here: every header declares something.
            yield from (base + [str(source)] for source in sources)
            if language == "c":
                yield base + [str(LAYOUT)]
                if "clang" in program:
                    for target in ("x86_64-linux-gnu", "aarch64-linux-gnu"):
                        yield base + [f"--target={target}", "-ffreestanding", str(LAYOUT)]


def layout(contract):
    """What layout.c does not assert."""
    text = LAYOUT.read_text()
    for name, struct in contract["struct"].items():
        for line in [f"SIZE({name}, {struct['size']});",
                     *(f"AT({name}, {member['name']}, {member['offset']});" for member in struct["members"])]:
            if line not in text:
                yield f"layout.c lacks the line: {line}"


def compile_all():
    """(number of compilations, what failed)."""
    with tempfile.TemporaryDirectory() as folder:
        commands = list(compilations(pathlib.Path(folder)))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return len(commands), [failure for failure in pool.map(run, commands) if failure]
