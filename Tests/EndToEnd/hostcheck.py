"""The plugin HostCheck in a host: built, packed, put beside the telephony plugin, and asked afterwards what it saw."""

import hashlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

from host import BUILT, PLUGINS, ROOT, Host

# A credential that must not show up anywhere, and one that the manifest does not list.
CANARY = "canary-5f0c3b1e9a"
UNLISTED = "unlisted-77e1d20c44"

CHECKED = """
[vchost]
events_socket = {folder}/events.sock
plugin_cache = {folder}/cache
calls_max = {calls_max}
recordings = {recordings}

[media]
bind_address = 127.0.0.1
port_min = {rtp}
port_max = {rtp_end}

[profile.default]
match = *
greeting = {greeting}
vad = vad.check
stt = stt.check
llm = llm.check
tts = tts.check
turn = turn.check
{profile}

[vad.check]
plugin = HostCheck
report = {folder}/report.json

[stt.check]
plugin = HostCheck
report = {folder}/report.json
ready_ms = 120

[llm.check]
plugin = HostCheck
report = {folder}/report.json
reply = {reply}
token = ${{secret:HOSTCHECK_CANARY}}

[tts.check]
plugin = HostCheck
report = {folder}/report.json
tone_hz = 330
is_loud = yes

[turn.check]
plugin = HostCheck
report = {folder}/report.json
ready_ms = 0

[telephony.sip]
plugin = TelephonySIP
host = 127.0.0.1
port = {sip}
trusted_peers = 127.0.0.1
{telephony}
"""


def plugins():
    """A directory with the telephony plugin and HostCheck."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hostcheck-"))
    folder.chmod(0o755)
    shutil.copy(PLUGINS / "TelephonySIP.so", folder)
    built = folder / "HostCheck.built"
    subprocess.run([ROOT / "Plugins/HostCheck/build", built], check=True)
    subprocess.run([BUILT / "vchost", "plugins", "pack", built, ROOT / "Plugins/HostCheck/manifest.json",
                    "-o", folder / "HostCheck.so"], check=True, stdout=subprocess.DEVNULL)
    built.unlink()
    # The host in whose process it runs is judged, and it breaks rules on purpose: it counts as one that came with vchost.
    shipped = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.so")}
    (folder / ".shipped.json").write_text(json.dumps(shipped))
    return folder


class CheckedHost(Host):
    """A host whose recogniser, model, voice, detector and judge of turns are HostCheck."""

    def __init__(self, folder, **values):
        environment = {"HOSTCHECK_CANARY": CANARY, "HOSTCHECK_UNLISTED": UNLISTED}
        super().__init__(template=CHECKED, plugins=folder, environment=environment,
                         **{"reply": "We are open from nine to five.", **values})

    def finish(self):
        """Ends the host as an operator does, and reads the report."""
        # Sessions close a moment after their call.
        time.sleep(0.5)
        self.process.terminate()
        self.process.wait(10)
        return json.loads((self.folder / "report.json").read_text())

    def whole_log(self):
        return (self.folder / "host.log").read_text()
