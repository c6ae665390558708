"""The parent imports the protocol, the messages and the pipe: none of them may bring torch or numpy with it."""

import subprocess
import sys

LIGHT = ("inference_worker.engines.protocol", "inference_worker.engines.choose", "inference_worker.child_process")
HEAVY = ("torch", "diffusers", "transformers", "numpy", "av", "PIL")


def test_the_parents_imports_are_light() -> None:
    code = f"import sys; import {', '.join(LIGHT)}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
