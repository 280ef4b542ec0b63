"""Multilayer perceptrons."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.models.heads.layers import Layers, LayersConfig, LayersHead


class MLPConfig(LayersConfig):
    """Layers over the vector, one after another."""

    # LAION's aesthetic MLP has only dropout between its layers, hence the default
    # (github.com/christophschuhmann/improved-aesthetic-predictor).
    hidden_activation: Literal["none", "relu"] = Field(
        "none", description="Between the layers (LAION's aesthetic predictor has none)."
    )


class MLPHead(LayersHead):
    """Any number of layers."""

    name = "mlp"
    Config = MLPConfig

    def check_layers(self, layers: Layers) -> None:
        """One layer or more is accepted."""

    def hidden(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.maximum(x, 0) if self.config.hidden_activation == "relu" else x
