"""Layers: parameters, shapes and checks around the kernels."""

from .attention import Attention
from .elman_network import ElmanNetwork
from .embedding import Embedding
from .jordan_network import JordanNetwork
from .layer import Layer
from .linear import Linear
from .networks import GRU, LSTM, RNN
from .recurrent import Recurrent
from .recursive_network import RecursiveNetwork
from .stack import Stack
from .tree_lstm import ChildSumTreeLSTM, TreeLSTM

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Attention",
    "ChildSumTreeLSTM",
    "ElmanNetwork",
    "Embedding",
    "JordanNetwork",
    "Layer",
    "Linear",
    "Recurrent",
    "RecursiveNetwork",
    "Stack",
    "TreeLSTM",
]
