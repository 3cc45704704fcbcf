"""A second pair of eyes: abidiff, over a library that exports one function for each type of the contract.

The functions are typed, because what an entry function hands out as `void *` is invisible to abidiff; and nothing is
suppressed, because its suppressions hide insertions too. Whether a change is allowed is `growth.py`'s to say; here any
change at all is reported, and the baseline is written anew (`scripts/abi-gate write`) together with `abi.toml`, so that
the report stands in the commit that made it.

The baseline is abidw's XML and not a library: text, and without paths, lines or hashes of the machine. It is made with
gcc, and abidiff finds no difference between it and what gcc 12, clang 14 or the Swift toolchain's clang make, although
clang numbers its types otherwise: so the two are compared as ABIs and never as texts.
"""

import pathlib
import shutil
import subprocess
import tempfile

from headers import INCLUDE, ROOT

BASELINE = ROOT / "Tests/ABIGates/witness.abi"
QUIET = ["--no-show-locs", "--no-corpus-path", "--no-comp-dir-path", "--no-elf-needed", "--drop-private-types"]


class Missing(Exception):
    """A program that is not installed."""


def build(contract, folder, include=INCLUDE, compiler="gcc"):
    """The library, with the DWARF that abidiff reads. Version 4: what every libabigail reads alike."""
    source = pathlib.Path(folder, "witness.c")
    library = pathlib.Path(folder, "witness.so")
    lines = ['#include "vchost/vchost.h"']
    lines += [f"void witness_{name}(const {name} *value) {{ (void)value; }}" for name in contract["struct"]]
    callbacks = [name for name in contract["function"] if name.endswith("_fn")]
    lines += [f"void witness_{name}({name} value) {{ (void)value; }}" for name in callbacks]
    source.write_text("\n".join(lines) + "\n")
    _run([compiler, "-std=c11", "-shared", "-fPIC", "-O0", "-g", "-gdwarf-4", f"-I{include}",
          f"-ffile-prefix-map={folder}=.", f"-ffile-prefix-map={include}=.", str(source), "-o", str(library)])
    return library


def text(contract):
    """What the baseline would be now."""
    with tempfile.TemporaryDirectory() as folder:
        library = build(contract, folder)
        return _run(["abidw", *QUIET, str(library)]).stdout


def report(contract, include=INCLUDE, baseline=BASELINE):
    """What abidiff says about the headers against the baseline; empty when it sees no difference."""
    with tempfile.TemporaryDirectory() as folder:
        library = build(contract, folder, include)
        done = _run(["abidiff", "--fail-no-debug-info", str(baseline), str(library)], may_differ=True)
        return done.stdout if done.returncode else ""


def _run(command, may_differ=False):
    if not shutil.which(command[0]):
        raise Missing(f"{command[0]} is not installed; run: apt-get install abigail-tools gcc")
    done = subprocess.run(command, capture_output=True, text=True)
    # abidiff: 1 is an error, 2 a wrong command line; 4 and 8 are what it found.
    if done.returncode & 3 or (done.returncode and not may_differ):
        raise Missing(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done
