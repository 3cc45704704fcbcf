"""Files of the systems that vchost replaces, given to the program as they are: judged, shown, and started."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from host import BUILT, PLUGINS, ROOT, Host
from phones import Baresip

FIXTURES = ROOT / "Tests/ControlTests/Fixtures"

# The file of a deployment with WebSocket services, whose services are all down.
OLD = """
[opensips]
mi_transport = datagram
port = 8087

[engine]
event_ip = 127.0.0.1
event_port = 8090
sip_ip = 127.0.0.1
sip_port = {sip}

[rtp]
min_port = {rtp}
max_port = {rtp_end}   # open in the firewall
bind_ip = 127.0.0.1

[stt]
url = ws://127.0.0.1:9

[llm]
url = ws://127.0.0.1:9
timeout = 4.0

[tts]
url = ws://127.0.0.1:9/tts
"""


class Moving(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="moving-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def directory(self, *names):
        """The plugins of these names alone: each costs a debug build a second."""
        absent = [name for name in names if not (PLUGINS / f"{name}.so").exists()]
        if absent:
            self.skipTest(f"{', '.join(absent)} is not in {PLUGINS}")
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        for name in names:
            shutil.copy(PLUGINS / f"{name}.so", folder)
        shutil.copy(PLUGINS / ".shipped.json", folder)
        return folder

    def vchost(self, plugins, *words, **environment):
        # Nothing of ours: a key of the machine that runs the tests would enable a flavour.
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return subprocess.run([BUILT / "vchost", *words, "--plugins", plugins], capture_output=True, text=True, timeout=20,
                              cwd=self.folder, env=dict(clean, XDG_CACHE_HOME=str(self.folder / "cache"), **environment))

    def test_files_and_environments_pass_the_check_unchanged(self):
        """One of each family that needs other plugins; the rest is judged by ControlTests."""
        for name in ("connector", "websocket", "grpc-environment"):
            golden = (FIXTURES / f"{name}.golden").read_text()
            with self.subTest(file=name):
                plugins = self.directory(*set(re.findall(r"^plugin = (\w+)", golden, re.M)))
                variables = FIXTURES / f"{name}.env"
                environment = dict(line.split("=", 1) for line in variables.read_text().splitlines())
                file = FIXTURES / f"{name}.ini"
                check = self.vchost(plugins, "config", "check", *(["-c", file] if file.exists() else []), **environment)
                self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
                self.assertIn("read as a configuration of " + golden.splitlines()[0], check.stdout)
                # Each warning of the golden file, with its line.
                for warning in re.findall(r"^.*: warning: .*$", golden, re.M):
                    self.assertIn(warning, check.stdout.replace(f"{FIXTURES}/", ""))

    def test_a_file_named_by_the_old_variable_is_shown_with_its_lines_and_ours_win(self):
        shown = self.vchost(self.directory(), "config", "show", OAVC_CONFIG_FILE=str(FIXTURES / "websocket.ini"),
                            VCHOST__PROFILE_DEFAULT__LANGUAGE="en")
        self.assertRegex(shown.stdout, r"port_max = 35100 .*websocket\.ini:23")
        self.assertRegex(shown.stdout, r"language = en .*environment VCHOST__PROFILE_DEFAULT__LANGUAGE")

    def test_a_host_starts_with_an_old_file_and_answers_though_every_service_is_down(self):
        plugins = self.directory("TelephonySIP", "STTVosk", "LLMLlama", "TTSPiper", "VADSilero")
        with OldHost(plugins) as host:
            with Baresip() as phone:
                phone.dial(host)
                phone.wait_for("CALL_CLOSED", seconds=20)
            ended = host.wait_for("ended")
            said = host.said()
        self.assertEqual(ended["end"], "host.providersFailed")
        self.assertIn("WebSocket services", said)
        self.assertRegex(said, r"vchost\.ini:3: warning: \[opensips\] mi_transport")

    def test_a_provider_without_its_key_is_left_out_as_long_as_there_is_another(self):
        plugins = self.directory("InstantSTT", "InstantLLM", "InstantTTS", "LLMOpenAI")
        text = ("[profile.default]\nmatch = *\nstt = stt.a\nllm = {llm}\ntts = tts.a\n\n[stt.a]\nplugin = InstantSTT\n\n"
                "[llm.cloud]\nplugin = LLMOpenAI\napi_key = ${{secret:GROQ_API_KEY}}\n\n[llm.a]\nplugin = InstantLLM\n\n"
                "[tts.a]\nplugin = InstantTTS\n")
        path = self.folder / "vchost.ini"
        for llm, code, word in (("llm.cloud, llm.a", 0, "warning"), ("llm.cloud", 1, "error")):
            path.write_text(text.format(llm=llm))
            check = self.vchost(plugins, "config", "check")
            with self.subTest(llm=llm):
                self.assertEqual(check.returncode, code, check.stdout)
                self.assertRegex(check.stdout, rf"vchost\.ini:12: {word}: \[llm\.cloud\] api_key: the secret GROQ_API_KEY")


class OldHost(Host):
    """A host whose file is an old one: what the tests need of it comes by the environment."""

    def __init__(self, plugins):
        super().__init__(template=OLD, plugins=plugins)
        self.environment.update({"VCHOST__VCHOST__EVENTS_SOCKET": str(self.folder / "events.sock"),
                                 "VCHOST__VCHOST__PLUGIN_CACHE": str(self.folder / "cache")})


if __name__ == "__main__":
    unittest.main()
