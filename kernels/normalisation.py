"""Layer normalisation: the same for both devices. J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer
normalization", 2016, equation 4, of a row of N numbers a:

    normal = (a - mean) / sqrt(variance + EPSILON)      out = gain normal + bias

and, with g the gradients by `out` times the gains, back to those by a:

    da = (g - mean(g) - normal mean(g normal)) / sqrt(variance + EPSILON)

A row holds the products of all gates of a sequence's step with the input, or of the gates of one
phase with the hidden state. `normal` and the factor 1 / sqrt(...) are kept for the way back.
"""

EPSILON = 1e-5
"""As in PyTorch's LayerNorm."""
