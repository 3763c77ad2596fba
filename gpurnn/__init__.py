"""Recurrent neural networks on hand-written Numba kernels, for CPU and CUDA."""

from . import analysis, cells, cuda
from .cells import Cell, TreeCell
from .data.streams import Streams
from .data.vocabulary import Vocabulary
from .derivation.checking import CellCheck, check_cell
from .derivation.derive import derive_cell
from .kernels.cpu.threads import get_num_threads, set_num_threads
from .layers import (
    GRU,
    LSTM,
    QRNN,
    RNN,
    SRU,
    Attention,
    ChildSumTreeLSTM,
    ElmanNetwork,
    Embedding,
    JordanNetwork,
    Layer,
    Linear,
    MinGRU,
    MinLSTM,
    Recurrent,
    RecursiveNetwork,
    Stack,
    TreeLSTM,
    TreeNetwork,
    linear_scan,
)
from .learning import schedules
from .learning.checkpoint import CheckpointError
from .learning.clipping import clip_grad_norm
from .learning.ctc import ctc_loss
from .learning.ctc_decoding import ctc_beam_decode, ctc_greedy_decode
from .learning.interruption import Interrupted
from .learning.losses import mean_squared_error, sigmoid_cross_entropy, softmax_cross_entropy
from .learning.optimizers import SGD, Adam, AdamW, RMSprop
from .learning.rtrl import RTRL
from .learning.training import NonFiniteLoss, Trainer
from .models.decoding import Hypothesis
from .models.encoder_decoder import EncoderDecoder
from .models.language_model import LanguageModel
from .models.sampling import Sampler
from .trees import Trees

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "QRNN",
    "RNN",
    "SRU",
    "RTRL",
    "SGD",
    "Adam",
    "AdamW",
    "Attention",
    "Cell",
    "CellCheck",
    "CheckpointError",
    "ChildSumTreeLSTM",
    "ElmanNetwork",
    "Embedding",
    "EncoderDecoder",
    "Hypothesis",
    "Interrupted",
    "JordanNetwork",
    "LanguageModel",
    "Layer",
    "Linear",
    "MinGRU",
    "MinLSTM",
    "NonFiniteLoss",
    "RMSprop",
    "Recurrent",
    "RecursiveNetwork",
    "Sampler",
    "Stack",
    "Streams",
    "Trainer",
    "TreeCell",
    "TreeLSTM",
    "TreeNetwork",
    "Trees",
    "Vocabulary",
    "analysis",
    "cells",
    "check_cell",
    "clip_grad_norm",
    "ctc_beam_decode",
    "ctc_greedy_decode",
    "ctc_loss",
    "cuda",
    "derive_cell",
    "get_num_threads",
    "linear_scan",
    "mean_squared_error",
    "schedules",
    "set_num_threads",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]
