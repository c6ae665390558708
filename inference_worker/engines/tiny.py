"""``tiny``: Mochi's loop over a model of Mochi's classes so small that a CPU makes a default video in seconds.

The weights are drawn from a fixed seed at each start, in memory, so it needs no file and no network. It shows that the
whole path works, not what a video may look like: the result is drifting colours, different for every prompt and seed.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLMochi, FlowMatchEulerDiscreteScheduler, MochiTransformer3DModel
from transformers import T5Config, T5EncoderModel, T5TokenizerFast

from inference_worker.engines.mochi.engine import LoopEngine
from inference_worker.engines.mochi.parts import Parts
from inference_worker.engines.mochi.prompts import TOKENS
from inference_worker.engines.protocol import Report, Step
from inference_worker.engines.tiny_decoder import DECODER_SHAPE, paint_smoothly
from schemas.phases import Phase

_WEIGHTS_SEED = 20
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'-:;()\""
_TEXT_WIDTH = 32
# Random weights hardly listen to the prompt, and guidance makes their steps far longer than a trained model's.
_HEARING = 16.0
_STRIDE = 0.25


def tiny_engine() -> LoopEngine:
    """The engine for machines without a GPU, for tests and for a first look."""
    return LoopEngine("tiny", tiny_parts)


def tiny_parts(report: Report) -> Parts:
    """The small model, float32 on the CPU, the same at every start. The caller's random state is left alone."""
    report(Step(Phase.LOAD, 0, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_WEIGHTS_SEED)
        parts = Parts(
            tokenizer=_tokenizer(),
            text_encoder=_text_encoder(),
            transformer=_transformer(),
            vae=paint_smoothly(AutoencoderKLMochi(**DECODER_SHAPE)),
            scheduler=dict(FlowMatchEulerDiscreteScheduler(invert_sigmas=True).config),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
    report(Step(Phase.LOAD, 1, 1))
    return parts


def _tokenizer() -> T5TokenizerFast:
    """A token a letter; what is not in the alphabet becomes "unknown"."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0 - 0.001 * place) for place, letter in enumerate(_LETTERS)]
    return T5TokenizerFast(vocab=special + letters, extra_ids=0, model_max_length=TOKENS)


def _text_encoder() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=128,
            d_model=_TEXT_WIDTH,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
            tie_word_embeddings=False,
        )
    )


def _transformer() -> MochiTransformer3DModel:
    """One block of one head: attention over a default video's 9540 patches is what a step costs."""
    transformer = MochiTransformer3DModel(
        num_attention_heads=1,
        attention_head_dim=16,
        num_layers=1,
        pooled_projection_dim=16,
        text_embed_dim=_TEXT_WIDTH,
        time_embed_dim=16,
        max_sequence_length=TOKENS,
    )
    with torch.no_grad():
        transformer.time_embed.pooler.to_out.weight.mul_(_HEARING)
        one_latent = transformer.proj_out.weight[: transformer.config.in_channels] * _STRIDE
        # The same for the four latents of a patch, else every preview is a chequerboard.
        transformer.proj_out.weight.copy_(one_latent.repeat(transformer.config.patch_size**2, 1))
        transformer.proj_out.bias.zero_()
    return transformer
