"""Text to embeddings: T5, at most 256 tokens, the last few prompts remembered."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import structlog
import torch

from inference_worker.engines.mochi.parts import Parts

TOKENS = 256
REMEMBERED = 32  # 2 MiB each at T5-XXL's width in bfloat16

log = structlog.get_logger()


class Embedded(NamedTuple):
    """One prompt as the transformer takes it."""

    states: torch.Tensor  # [1, 256, text width], the text encoder's dtype
    mask: torch.Tensor  # [1, 256], bool, True where a token stands


class Prompts:
    """Encodes prompts with the parts' text encoder; a remembered prompt costs nothing and is bit-identical."""

    def __init__(self, parts: Parts, remembered: int = REMEMBERED) -> None:
        self._parts = parts
        self._remembered = remembered
        self._known: OrderedDict[str, Embedded] = OrderedDict()

    def embed(self, text: str) -> Embedded:
        """The embeddings of a prompt. Tokens beyond 256 are dropped; the log says that, and never the text."""
        known = self._known.get(text)
        if known is None:
            known = self._encode(text)
            self._known[text] = known
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        self._known.move_to_end(text)
        return known

    def _encode(self, text: str) -> Embedded:
        parts = self._parts
        # One token more than is used shows whether anything is cut, without the tokenizer's or pipeline's own
        # warnings: the stock pipeline prints the text that it drops.
        cut = len(parts.tokenizer(text, truncation=True, max_length=TOKENS + 1).input_ids) > TOKENS
        if cut:
            log.info("prompt_truncated", tokens=TOKENS)
        tokens = parts.tokenizer(text, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
        ids, mask = tokens.input_ids, tokens.attention_mask.bool()
        if parts.zero_empty_prompts and not text:
            ids, mask = torch.zeros_like(ids), torch.zeros_like(mask)
        ids, mask = ids.to(parts.device), mask.to(parts.device)
        with torch.inference_mode():
            return Embedded(parts.text_encoder(ids, attention_mask=mask)[0], mask)
