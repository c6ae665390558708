"""The row of the event stream; the frames themselves, and the WebSocket, are in the AsyncAPI document."""

from gateway.errors import Problem
from gateway.spec.operation import Operation, Parameter, Reply
from schemas.api.live import JOB_ID_MAX, POSITION_MAX, Previews

P = Problem

OPERATIONS = (
    Operation(
        method="get",
        path="/api/live/events",
        name="streamEvents",
        tag="Live",
        summary="Live progress as server-sent events",
        words="The frames of the WebSocket, for clients that only listen: `/asyncapi.json` describes them. A refusal "
        "that would not help again is a status; what may help later is said in a stream of one `close`.",
        parameters=(
            Parameter("ticket", "Shows the caller where no header can be sent.", {"type": "string"}),
            Parameter(
                "position",
                "The newest `position` that was seen: every event after it follows.",
                {"type": "string", "maxLength": POSITION_MAX},
            ),
            Parameter("jobId", "One video alone.", {"type": "string", "minLength": 1, "maxLength": JOB_ID_MAX}),
            Parameter(
                "previews",
                "Whether previews come (`json`, if left out).",
                {"type": "string", "enum": [Previews.JSON.value, Previews.NONE.value]},
            ),
            Parameter(
                "Last-Event-ID",
                "The position, as a browser sends it when it comes back.",
                {"type": "string", "maxLength": POSITION_MAX},
                "header",
            ),
        ),
        replies={200: Reply("The stream.", media="text/event-stream")},
        problems=(P.BAD_QUERY, P.SOCKETS, P.FORBIDDEN_ORIGIN, P.BLOCKED),
    ),
)
