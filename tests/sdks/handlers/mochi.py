"""A worker on RunPod's unmodified SDK that answers as worker-mochi does: the address of a video, made beforehand.

``VIDEO_URL`` is that address. It shows its progress as steps, and fails as worker-mochi fails where the prompt says so.
"""

import os
from typing import Any

import runpod


def mochi(job: dict[str, Any]) -> dict[str, Any]:
    given = job["input"]
    runpod.serverless.progress_update(job, {"step": 1, "steps": given["steps"]})
    if "fail" in given["positive_prompt"]:
        return {"result": "FAILED: out of corgis"}
    return {"result": os.environ["VIDEO_URL"], "status": "DONE"}


runpod.serverless.start({"handler": mochi})
