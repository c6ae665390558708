"""The Mochi denoising loop over diffusers' transformer, scheduler and VAE; the stock pipeline is its test oracle."""
