"""Tuples of vectors from and to arrays: one vector each of so many rows, a stride apart."""

from ..tuples import part_transfers, row_transfers, sums, transfers
from .compiling import inlined
from .simd import load, load_part, store, store_part

gather, scatter = transfers(inlined, load, store)
gather_part, scatter_part = part_transfers(inlined, load_part, store_part)
add, add_at = sums(inlined)
gather_rows, scatter_rows = row_transfers(inlined, load_part, store_part)
