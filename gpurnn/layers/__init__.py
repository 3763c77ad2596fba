"""Layers: parameters, shapes and checks around the kernels."""

from .attention import Attention
from .elman_network import ElmanNetwork
from .embedding import Embedding
from .jordan_network import JordanNetwork
from .layer import Layer
from .linear import Linear
from .linear_scan import linear_scan
from .networks import GRU, LSTM, RNN
from .qrnn import QRNN
from .recurrent import Recurrent
from .recursive_network import RecursiveNetwork
from .scans import MinGRU, MinLSTM
from .sru import SRU
from .stack import Stack
from .tree_lstm import ChildSumTreeLSTM, TreeLSTM
from .tree_network import TreeNetwork

__all__ = [
    "GRU",
    "LSTM",
    "QRNN",
    "RNN",
    "SRU",
    "Attention",
    "ChildSumTreeLSTM",
    "ElmanNetwork",
    "Embedding",
    "JordanNetwork",
    "Layer",
    "Linear",
    "MinGRU",
    "MinLSTM",
    "Recurrent",
    "RecursiveNetwork",
    "Stack",
    "TreeLSTM",
    "TreeNetwork",
    "linear_scan",
]
