"""Imports diffusers and transformers when needed, and in the right order."""

from __future__ import annotations

from types import ModuleType

from pipeline.models.torchvision_shim import ensure_torchvision


def diffusers() -> ModuleType:
    """`diffusers`, after torchvision's operators are in place: its imports need them."""
    ensure_torchvision()
    import diffusers

    return diffusers


def transformers() -> ModuleType:
    """`transformers`, after torchvision's operators are in place: its imports need them."""
    ensure_torchvision()
    import transformers

    return transformers
