"""Latent and pixel diffusion, fine-tuned on the clean shards that `pipeline` exports.

Modules, lowest first: `space` (pictures to latents and back), `diffusion` (noise, targets, losses,
sampling), `text` (captions to conditioning), `model` (a folder on disk), `data` (an export as
batches), `states` and `checkpoint` (what a training goes on from), `healing` (after damage), `fit`
(the loop), `rerank`, `sheet` and `sample` (pictures, best first).
"""
