"""What a client asks for: one generation request, its limits, and the arithmetic of its length.

Limits and defaults are those of OpenV's ``mochi-1`` model. Mochi's own rules (latent frames come in sixes, sizes in
sixteens) are applied here once, so that no engine has to guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import StringConstraints

from schemas.numbers import Count, Positive, Whole
from schemas.shape import shape

FPS = 24
MODEL = "mochi-1"
SEED_MAX = 2_147_483_647
PROMPT_MAX = 500
PROMPT_TEXT_MAX = 10_000  # other surfaces allow longer ones; the text encoder reads 256 tokens
PromptText = Annotated[str, StringConstraints(max_length=PROMPT_TEXT_MAX)]
FRAME_STEP = 6
SIZE_STEP = 16


@dataclass(frozen=True, slots=True)
class Bounds:
    """An inclusive range and the value taken when a field is left out."""

    least: float
    most: float
    default: float


LIMITS: Mapping[str, Bounds] = MappingProxyType(
    {
        "width": Bounds(384, 848, 848),
        "height": Bounds(384, 848, 480),
        "steps": Bounds(10, 65, 40),
        "cfg": Bounds(1, 20, 6),
        "num_frames": Bounds(7, 127, 31),
        "seed": Bounds(0, SEED_MAX, 42),
    }
)


@shape
class GenerationRequest:
    """A validated request for one video.

    ``num_frames`` counts frames of the finished video; ``cfg`` is the classifier-free guidance scale; ``width`` and
    ``height`` are pixels. Of a request for external workers there is only ``input``: the JSON text of an object with
    the client's ``input`` as it came and, where it gave one, ``s3Config``; a large one, and one with secrets in it,
    lies in the object store at ``input_key`` instead.
    """

    prompt: PromptText
    negative_prompt: PromptText = ""
    width: Count = 848
    height: Count = 480
    num_frames: Count = 31
    steps: Count = 40
    cfg: float = 6.0
    seed: Whole = 42
    fps: Positive = FPS
    model: str = MODEL
    input: str | None = None
    input_key: str | None = None

    @property
    def seconds(self) -> float:
        """The length that is charged: frames divided by frames a second."""
        return self.num_frames / self.fps


def external_request(*, text: str | None = None, key: str | None = None) -> GenerationRequest:
    """A request for external workers, which makes no video: no frames, so that no seconds are charged."""
    return GenerationRequest(prompt="", num_frames=0, width=0, height=0, steps=0, model="", input=text, input_key=key)


def whole_frames(num_frames: int) -> int:
    """The longest length a Mochi VAE can make that is no longer than asked: 6·⌊(n−1)/6⌋+1 frames."""
    return FRAME_STEP * ((num_frames - 1) // FRAME_STEP) + 1


def whole_pixels(size: int) -> int:
    """The nearest size below that the VAE and the 2×2 patches divide: a multiple of 16 pixels."""
    return size // SIZE_STEP * SIZE_STEP
