"""Faults of the file itself: what its manifest says, how it was linked, what became of its bytes.

Each is a good plugin of the corpus, built or changed in one respect. Faults of the code stand in the code.
"""

import dataclasses
import re
import struct
import typing


@dataclasses.dataclass
class FileFault:
    """How one rule is broken: by the manifest, by more code, by other flags, by changed bytes, by rights."""
    rule: str
    name: str = ""                                      # tells two faults of one rule apart
    source: str = "tts.c"
    manifest: typing.Optional[typing.Callable] = None   # changes the manifest, a dictionary
    has_manifest: bool = True
    code: str = ""                                      # appended to the source
    without: tuple = ()                                 # linker flags that are left out
    flags: tuple = ()                                   # flags that are added at the end
    data: typing.Optional[typing.Callable] = None       # from the bytes of the library to those of the fault
    mode: int = 0o755


def provider(manifest):
    return manifest["providers"][0]


def setting(manifest, name, **schema):
    provider(manifest)["config"]["properties"][name] = schema


def truncated(data):
    return data[:len(data) * 6 // 10]


def segments(data):
    """Offsets of the program headers, by type."""
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    return [(struct.unpack_from("<I", data, start + 56 * row)[0], start + 56 * row) for row in range(count)]


def with_flipped_bit(data):
    """The address of the dynamic section, a bit of which was lost on the way."""
    row = next(row for kind, row in segments(data) if kind == 2)
    data[row + 8 + 5] ^= 0x10
    return data


def with_writable_code(data):
    for kind, row in segments(data):
        if kind == 1 and data[row + 4] & 2:
            data[row + 4] |= 1
    return data


def of_a_newer_system(data):
    """As built where the C library is newer: the highest version that it needs becomes one that is not there yet."""
    newest = max(set(re.findall(rb"GLIBC_2\.\d\d(?=\0)", data)))
    return data.replace(newest, b"GLIBC_2.99")


def used(text):
    return f"__attribute__((used)) static {text}\n"


FILE_FAULTS = [
    FileFault("VC-PKG-01", manifest=lambda it: it.update({"licence": it.pop("license")})),
    FileFault("VC-PKG-01", "missing", has_manifest=False),
    FileFault("VC-PKG-06", manifest=lambda it: it.update(version="v2 (final)")),
    FileFault("VC-PKG-09", manifest=lambda it: it["abi"].update(major=2)),
    FileFault("VC-PKG-14", manifest=lambda it: provider(it)["config"].pop("additionalProperties")),
    FileFault("VC-PKG-16", manifest=lambda it: setting(
        it, "api_key", type="string", default="sk-4f8a0c1d9b7e", description="The key.")),
    FileFault("VC-PKG-18", manifest=lambda it: it.update(network=["https://*"])),
    FileFault("VC-PKG-19", manifest=lambda it: provider(it)["capabilities"].update(languages=["English"])),
    FileFault("VC-PKG-20", manifest=lambda it: it.update(license="see the web site")),
    FileFault("VC-PKG-22", mode=0o777),
    FileFault("VC-PKG-24", manifest=lambda it: it["runtime"].update(language="swift", stdlib="static")),
    FileFault("VC-PKG-25", manifest=lambda it: it.update(title=it["id"])),
    FileFault("VC-PKG-26", manifest=lambda it: setting(it, "pitch", type="integer", default=100)),
    FileFault("VC-PKG-27", manifest=lambda it: setting(
        it, "pitchHz", type="integer", default=100, description="Height of the tone.")),
    FileFault("VC-PKG-28", manifest=lambda it: it["abi"].update(minor=3)),

    FileFault("VC-ELF-01", "truncated", data=truncated),
    FileFault("VC-ELF-01", "flipped", data=with_flipped_bit),
    FileFault("VC-ELF-02", code='__asm__(".hidden vc_plugin_entry_v1");\n'),
    FileFault("VC-ELF-06", without=("-z,defs",), code="extern void acme_start(void);\n"
              + used("void (*const volatile start)(void) = acme_start;")),
    FileFault("VC-ELF-07", without=("-z,now",), flags=("-Wl,-z,lazy",)),
    FileFault("VC-ELF-08", without=("-z,nodelete",)),
    FileFault("VC-ELF-09", code='static __thread int calls __attribute__((tls_model("initial-exec")));\n'
              + used("int counted(void) { return calls++; }")),
    FileFault("VC-ELF-10", flags=("-Wl,-z,notext",), code='__asm__(".text\\n.quad malloc\\n");\n'),
    FileFault("VC-ELF-11", flags=("-Wl,-z,execstack",)),
    FileFault("VC-ELF-12", without=("-z,relro",), flags=("-Wl,-z,norelro",)),
    FileFault("VC-ELF-13", "rpath", flags=("-Wl,--disable-new-dtags,-rpath,/opt/acme/lib",)),
    FileFault("VC-ELF-13", "relative", flags=("-Wl,--enable-new-dtags,-rpath,lib:",)),
    FileFault("VC-ELF-15", flags=("-Wl,-soname,libz.so.1",)),
    FileFault("VC-ELF-16", data=of_a_newer_system),
    FileFault("VC-ELF-18", code='__asm__(".data\\n.globl acme_all\\n.type acme_all, @gnu_unique_object\\n'
              '.size acme_all, 8\\nacme_all: .quad 0\\n.text\\n");\n'),
    FileFault("VC-ELF-19", code="__attribute__((constructor)) static void begin(void) { KEEP(0); }\n"),
    FileFault("VC-ELF-20", code=used("void give_up(void) { exit(1); }")),
    FileFault("VC-ELF-21", code=used('void set_proxy(void) { setenv("HTTPS_PROXY", "", 1); }')),
    FileFault("VC-ELF-22", flags=("-Wl,--no-as-needed", "-l:libcurl.so.4")),
    FileFault("VC-ELF-23", flags=("-Wl,--build-id=none",)),
    FileFault("VC-ELF-27", code="static int plain(int x) { return x + 1; }\nstatic int (*choose(void))(int) { return plain; }\n"
              'static int fast(int x) __attribute__((ifunc("choose")));\n' + used("int use(int x) { return fast(x); }")),
    FileFault("VC-ELF-28", flags=("-Wl,--audit=acme-trace.so",)),
    FileFault("VC-ELF-29", code='void acme_init(void);\n__attribute__((visibility("default"))) void acme_init(void) {}\n'),
    FileFault("VC-ELF-31", code='__attribute__((used, section(".interp"))) static const char interpreter[] = "/lib/acme-ld.so";\n'),
    FileFault("VC-ELF-32", data=with_writable_code),
    FileFault("VC-ELF-26", source="good.swift", manifest=lambda it: it["runtime"].update(stdlib="static")),
    FileFault("VC-LOAD-01", flags=("-Wl,--no-as-needed", "{folder}/libacme.so")),
]
