"""An installation in a temporary directory, made once for all tests of a run."""
import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PREFIX = "/opt/vchost"


def scratch(name):
    """An empty directory that goes away with the run. Not below /tmp: plugins run from there, and /tmp may forbid it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"vchost-{name}-", dir="/var/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def make(*arguments):
    return subprocess.run(["make", "-s", "-C", ROOT, *arguments], check=True, capture_output=True, text=True).stdout


@functools.cache
def installed():
    """Where PREFIX lies below DESTDIR. Nothing in it was moved or mended by hand."""
    destination = scratch("installation")
    make("install", f"PREFIX={PREFIX}", f"DESTDIR={destination}")
    return destination / PREFIX.lstrip("/")


@functools.cache
def swift_build():
    """Where all plugins in Swift are built, so that PluginKit is compiled once: the slowest step of all."""
    return scratch("swift")


@functools.cache
def home():
    return scratch("home")


def environment():
    """A reader's: the installation is on the PATH, and Debian's own compilers come before any others."""
    prefix = installed()
    path = [str(prefix / "bin"), "/usr/bin", "/bin", *os.environ["PATH"].split(":")]
    return {
        "PATH": ":".join(path), "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"), "HOME": str(home()), "LANG": "C.UTF-8",
        "BUILD": str(swift_build()),
    }


def run(*command, folder, check=True, **options):
    """A command of the reader; what it said is in the failure."""
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environment(), capture_output=True, text=True,
                          **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done
