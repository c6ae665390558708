"""Rows of what a user's own servers are told, and of RunPod's calls about jobs."""

from typing import Any

from gateway.errors import Problem
from gateway.spec.operation import Access, Operation, Parameter, Reply
from schemas.api.answers import Success
from schemas.api.webhooks import (
    PAGE_DEFAULT,
    PAGE_MAX,
    RunpodCall,
    Webhook,
    WebhookBody,
    WebhookChange,
    WebhookDeliveries,
    WebhookDelivery,
    Webhooks,
    WebhookWithSecret,
)

P = Problem
_TAG = "Webhooks"
_ONE = "/api/webhooks/{webhook_id}"
_CHANGING = (P.RATE, P.NO_WEBHOOK)
_THIS = {"webhook_id": "$response.body#/id"}
_JOBS = "/api/webhooks/jobs/deliveries"
_TEXT: dict[str, Any] = {"type": "string"}
_PAGE = (
    Parameter("before", "Where the page begins; `next` of the page before.", _TEXT),
    Parameter(
        "limit",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
    ),
)

OPERATIONS = (
    Operation(
        method="get",
        path="/api/webhooks",
        name="listWebhooks",
        tag=_TAG,
        summary="The caller's webhooks, oldest first",
        replies={200: Reply("All of them.", Webhooks)},
    ),
    Operation(
        method="post",
        path="/api/webhooks",
        name="createWebhook",
        tag=_TAG,
        access=Access.MAKE,
        summary="Be told at an address how videos end",
        words="Signed as the Standard Webhooks specification has it. The secret is in this answer and in no other.",
        body=WebhookBody,
        body_example={"url": "https://hooks.example.org/openv", "events": ["video.completed"]},
        replies={
            201: Reply(
                "Made.",
                WebhookWithSecret,
                headers={"Location": "Where it is from now on."},
                links=dict.fromkeys(
                    ("getWebhook", "changeWebhook", "rotateWebhookSecret", "testWebhook", "listDeliveries"), _THIS
                ),
            ),
        },
        problems=(P.RATE, P.NOT_JSON, P.INVALID, P.WEBHOOKS_FULL),
    ),
    Operation(
        method="get",
        path=_ONE,
        name="getWebhook",
        tag=_TAG,
        summary="One webhook",
        replies={200: Reply("The webhook.", Webhook)},
        problems=(P.NO_WEBHOOK,),
    ),
    Operation(
        method="patch",
        path=_ONE,
        name="changeWebhook",
        tag=_TAG,
        access=Access.MAKE,
        summary="Change a webhook, or switch it on again",
        body=WebhookChange,
        body_example={"enabled": True},
        replies={200: Reply("The webhook as it is now.", Webhook)},
        problems=(*_CHANGING, P.NOT_JSON, P.INVALID),
    ),
    Operation(
        method="delete",
        path=_ONE,
        name="deleteWebhook",
        tag=_TAG,
        access=Access.WRITE,
        summary="Delete a webhook and its log",
        words="What was still to be sent is not.",
        replies={204: Reply("Gone.")},
        problems=_CHANGING,
    ),
    Operation(
        method="post",
        path=f"{_ONE}/rotate",
        name="rotateWebhookSecret",
        tag=_TAG,
        access=Access.MAKE,
        summary="A new secret",
        words="Shown in this answer and in no other; the old one signs too for 24 hours.",
        replies={200: Reply("The webhook with its new secret.", WebhookWithSecret)},
        problems=_CHANGING,
    ),
    Operation(
        method="post",
        path=f"{_ONE}/test",
        name="testWebhook",
        tag=_TAG,
        access=Access.MAKE,
        summary="Send a `webhook.test`",
        words="Once, also where the webhook is disabled; what became of it is in the log.",
        replies={
            202: Reply(
                "It will be sent.",
                WebhookDelivery,
                links={
                    "redeliver": {"webhook_id": "$request.path.webhook_id", "delivery_id": "$response.body#/id"},
                    "deleteWebhook": {"webhook_id": "$request.path.webhook_id"},
                },
            )
        },
        problems=_CHANGING,
    ),
    Operation(
        method="get",
        path=f"{_ONE}/deliveries",
        name="listDeliveries",
        tag=_TAG,
        summary="What a webhook was told, newest first",
        parameters=_PAGE,
        replies={200: Reply("A page.", WebhookDeliveries)},
        problems=(P.NO_WEBHOOK, P.BAD_QUERY),
    ),
    Operation(
        method="post",
        path=f"{_ONE}/deliveries/{{delivery_id}}/redeliver",
        name="redeliver",
        tag=_TAG,
        access=Access.MAKE,
        summary="Send a delivery again, under its old id",
        replies={202: Reply("It will be sent.", WebhookDelivery)},
        problems=(*_CHANGING, P.NO_DELIVERY, P.WEBHOOK_DISABLED, P.BEING_SENT),
    ),
    Operation(
        method="get",
        path=_JOBS,
        name="listJobDeliveries",
        tag=_TAG,
        summary="What the addresses were told that jobs came with (`webhook` of `/run`), newest first",
        words="A call is made when the job ends, and twice more 10 s apart unless the answer is 200: RunPod's status "
        "object with `input` and `webhook`. It is signed as the calls of `/api/webhooks` are if the endpoint of the "
        "job has a secret. The log is kept for 7 days, and goes with the job.",
        parameters=(Parameter("jobId", "Only those about this job.", _TEXT), *_PAGE),
        replies={200: Reply("A page.", WebhookDeliveries)},
        problems=(P.BAD_QUERY,),
    ),
    Operation(
        method="post",
        path=f"{_JOBS}/{{delivery_id}}/redeliver",
        name="redeliverJob",
        tag=_TAG,
        access=Access.MAKE,
        summary="Tell a job's address again, under the old id",
        words="Of a job that was tried again since, that call is cancelled: its newer end is told by another.",
        replies={202: Reply("It will be sent.", WebhookDelivery)},
        problems=(P.RATE, P.NO_DELIVERY, P.BEING_SENT),
    ),
    Operation(
        method="post",
        path="/api/runpod/webhook",
        name="hearOfJob",
        tag="RunPod",
        access=Access.OPEN,
        summary="RunPod's news of a job",
        words="Vouched for by the deployment's token, or by a signature over job and attempt. 200 means that it is "
        "recorded, or that it would change nothing; repeating is harmless.",
        parameters=(
            Parameter("token", "The deployment's token.", _TEXT),
            Parameter("job", "Of a signed address: the job.", _TEXT),
            Parameter("attempt", "Of a signed address: the attempt.", _TEXT),
            Parameter("expires", "Of a signed address: until when it is good.", _TEXT),
            Parameter("signature", "Of a signed address.", _TEXT),
        ),
        body=RunpodCall,
        body_example={
            "id": "6f1c2a52-3f0e-4e0c-9f5e-2c8c6f1d7a10",
            "status": "COMPLETED",
            "output": {"result": "https://files.example.org/video.mp4"},
        },
        replies={200: Reply("Recorded.", Success, example={"success": True})},
        problems=(P.NO_CALLER, P.BAD_BODY, P.NOT_FOUND, P.RATE, P.UNAVAILABLE),
    ),
)
