"""Recurrent neural networks on hand-written Numba kernels, for CPU and CUDA."""

from . import cells, cuda
from .kernels.cpu.threads import get_num_threads, set_num_threads
from .layers import GRU, LSTM, RNN, Embedding, Layer, Linear, Recurrent
from .learning.losses import mean_squared_error, sigmoid_cross_entropy, softmax_cross_entropy

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Embedding",
    "Layer",
    "Linear",
    "Recurrent",
    "cells",
    "cuda",
    "get_num_threads",
    "mean_squared_error",
    "set_num_threads",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]
