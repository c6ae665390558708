"""The phases of an attempt, in order, as clients see them in progress messages."""

from enum import StrEnum


class Phase(StrEnum):
    LOAD = "load"  # weights into memory; nothing to do when the model is warm
    ENCODE_PROMPT = "encode_prompt"  # text encoder
    DENOISE = "denoise"  # step by step
    DECODE = "decode"  # latents to pixels
    ENCODE = "encode"  # pixels to MP4, poster and thumbnail
    UPLOAD = "upload"  # files to the object store
