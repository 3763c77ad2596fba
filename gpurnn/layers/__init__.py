"""Layers: parameters, shapes and checks around the kernels."""

from .attention import Attention
from .embedding import Embedding
from .layer import Layer
from .linear import Linear
from .networks import GRU, LSTM, RNN
from .recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN", "Attention", "Embedding", "Layer", "Linear", "Recurrent"]
