"""What OpenAI's SDKs can ask for and Mochi can't make: it begins with words, not with another video or a face."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import Problem, Refused
from gateway.identity.guard import caller
from gateway.openai.bodies import drain


async def unsupported(request: Request) -> Response:
    """400, whoever asks; the route's name says what is asked for."""
    await caller(request)
    await drain(request.stream())  # a video may be on its way: who sends it shall hear why it is refused
    what = request.scope["route"].name
    words = f"{what} is not supported: Mochi makes videos from words alone. POST /v1/videos makes one."
    raise Refused(Problem.UNSUPPORTED, words=words)


# Before the routes of a video, whose id could be any of these words.
ROUTES = [
    Route("/v1/videos/edits", unsupported, methods=["POST"], name="edit"),
    Route("/v1/videos/extensions", unsupported, methods=["POST"], name="extend"),
    Route("/v1/videos/characters", unsupported, methods=["POST"], name="create_character"),
    Route("/v1/videos/characters/{character_id}", unsupported, methods=["GET"], name="get_character"),
    Route("/v1/videos/{video_id}/remix", unsupported, methods=["POST"], name="remix"),
]
