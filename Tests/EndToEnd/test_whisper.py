"""STTFasterWhisper in real calls against a transcription server: each of its forms, and what breaks."""

import pathlib
import sys
import unittest

import sound
from host import INSTANT, Host
from phones import Baresip

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Peers"))
import whisper_peer  # noqa: E402


class Whisper(unittest.TestCase):
    def call(self, peer, path, settings):
        """One call in which the caller says one thing. Returns what was understood, and what the host said."""
        template = INSTANT.replace("plugin = InstantSTT", f"plugin = STTFasterWhisper\nurl = {peer.url}{path}\n{settings}")
        with Host(template=template, environment={"STT_API_KEY": "s3cret-of-whisper"}) as host:
            with Baresip(sound.joined(sound.silence(0.5), sound.recording_of_a_person("goodbye"))) as phone:
                phone.dial(host)
                caller = host.wait_for("caller", seconds=10)
                phone.hang_up()
            host.wait_for("ended")
            return caller["text"], host.said()

    def test_an_answer_with_segments_is_understood_without_what_the_model_doubts(self):
        with whisper_peer.serve(key="s3cret-of-whisper") as peer:
            text, said = self.call(peer, "/v1/audio/transcriptions", "form = verbose\nmodel = Systran/faster-whisper-small\n"
                                   "hotwords = order\napi_key = ${{secret:STT_API_KEY}}")
        self.assertEqual(text, "Where is my order?")
        fields = peer.requests[-1]["fields"]
        self.assertEqual(fields["timestamp_granularities[]"], ["segment", "word"])
        self.assertEqual((fields["language"], fields["hotwords"]), (["en"], ["order"]))
        self.assertGreater(peer.requests[-1]["seconds"], 0.3)
        self.assertNotIn("s3cret", said)

    def test_wyomings_wrapper_is_asked_again_after_a_broken_connection(self):
        with whisper_peer.serve(text="Siparişim nerede?", faults=["half-close"]) as peer:
            text, _ = self.call(peer, "/api/speech-to-text", "form = wyoming\nlanguage = tr")
        self.assertEqual(text, "Siparişim nerede?")
        self.assertEqual(peer.requests[-1]["fields"], {"language": "tr"})
        self.assertEqual(peer.faults, [])


if __name__ == "__main__":
    unittest.main()
