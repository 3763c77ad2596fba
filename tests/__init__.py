"""Tests of gpurnn: one parametrised suite, held against plain NumPy float64 references."""
