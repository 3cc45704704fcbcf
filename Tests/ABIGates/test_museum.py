"""What will be frozen on the day of 1.0 builds today, against the headers of today, and exports the one function."""

import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Museum(unittest.TestCase):
    def test_each_exhibit_builds_and_exports_the_entry_function_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([ROOT / "Tests/Museum/build", folder], check=True)
            built = sorted(pathlib.Path(folder).glob("*.so"))
            self.assertEqual(len(built), len(list((ROOT / "Tests/Museum").glob("*.c"))))
            for library in built:
                names = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
                self.assertEqual([line.split()[-1] for line in names.splitlines()], ["vc_plugin_entry_v1"])
                sections = subprocess.run(["readelf", "-SW", library], capture_output=True, text=True, check=True).stdout
                self.assertIn(".vchost.manifest", sections)


if __name__ == "__main__":
    unittest.main()
