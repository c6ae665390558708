"""The engines: one protocol, several ways to make a video. Only this package may import torch."""
