"""A redrive or a discard that is asked for over HTTP names its dry run."""

import json
from typing import Any

import pytest

from tests.operations.admin.house import opened

DIGEST = "0123456789abcdef"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("redrive", {"replay": "r-k3m8x2pq", "execute": True}, 202),
        ("redrive", {"replay": "r-k3m8x2pq"}, 400),
        ("redrive", {"replay": "r-k3m8x2pq", "letters": ["0:1"], "execute": True}, 400),
        ("redrive", {"replay": "r-k3m8x2pq", "users": ["ada"], "execute": True}, 400),
        ("redrive", {"replay": "0:1", "execute": True}, 400),
        ("discard", {"replay": "r-k3m8x2pq", "execute": True, "reason": "no use"}, 400),
        ("discard", {"users": ["ada"], "execute": True, "expect": f"2-9-{DIGEST}", "reason": "no use"}, 202),
        ("discard", {"users": ["ada"], "execute": True, "expect": "2", "reason": "no use"}, 400),
    ],
)
async def test_what_names_a_dry_run_is_taken(path: str, body: dict[str, Any], status: int) -> None:
    async with opened() as house, house.admin() as admin:
        answer = await admin.post(f"/deadletters/{path}", json=body)
        assert answer.status_code == status, answer.text
        if status == 202:
            kept = json.dumps(answer.json()["arguments"])
            assert (body.get("replay") or body["expect"]) in kept
