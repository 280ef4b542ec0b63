"""Linear heads."""

from pipeline.models.heads.layers import Layers, LayersConfig, LayersHead
from pipeline.words.errors import InputError


class LinearConfig(LayersConfig):
    """One layer over the vector."""


class LinearHead(LayersHead):
    """One layer."""

    name = "linear"
    Config = LinearConfig

    def check_layers(self, layers: Layers) -> None:
        if len(layers) != 1:
            raise InputError(
                f"{self.place}: a linear head has one layer, {len(layers)} found; kind: mlp?"
            )
