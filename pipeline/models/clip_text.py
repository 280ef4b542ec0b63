"""open_clip's text towers, run over as many tokens as a batch has and no more.

In a causal tower a token does not depend on later ones, so padding after the longest caption of a
batch has no effect and is cut off.
"""

from __future__ import annotations

from typing import Any

import torch


def can_trim(model: Any) -> bool:
    """Whether the tower is causal and reads its vector at the end-of-text token."""
    tower = _tower(model)
    return (
        hasattr(tower, "token_embedding")
        and getattr(tower, "attn_mask", None) is not None
        and getattr(tower, "cls_emb", None) is None
        and _pool_type(model) in ("argmax", "eos")
    )


def token_states(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """States of every token after the last layer norm: float (N, T, width) for tokens (N, T).

    T may be shorter than the context. Only for towers that `can_trim` accepts.
    """
    tower = _tower(model)
    length = tokens.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    x = tower.token_embedding(tokens).to(dtype)
    x = x + tower.positional_embedding[:length].to(dtype)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    return tower.ln_final(x)


def pooled_texts(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Caption vectors (N, dim), not normalised; the same as `model.encode_text(tokens)`."""
    if not can_trim(model):
        return model.encode_text(tokens)
    return pooled_whole(model, tokens[:, : int(used_lengths(tokens).max())])


def pooled_whole(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """The same of all tokens that are given, for a tower that `can_trim` accepts."""
    from open_clip.transformer import text_global_pool

    tower = _tower(model)
    eos = getattr(model, "text_eos_id", getattr(tower, "eos_id", None))
    pooled = text_global_pool(token_states(model, tokens), tokens, _pool_type(model), eos)
    projection = tower.text_projection
    if projection is None:
        return pooled
    if isinstance(projection, torch.nn.Linear):
        return projection(pooled)
    return pooled @ projection


def used_lengths(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens of each row up to and with its last one that is not padding (0), int64 (N,).

    Padding cannot be counted: in CLIP's vocabulary 0 is also the exclamation mark.
    """
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != 0) * positions).amax(1)


def _tower(model: Any) -> Any:
    return model.text if hasattr(model, "text") else model


def _pool_type(model: Any) -> str | None:
    return getattr(model, "text_pool_type", getattr(_tower(model), "pool_type", None))
