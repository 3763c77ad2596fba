"""What networks remember: gradients by lag, Jacobians, their spectra, and pictures of them."""

from .gradient_norms import gradient_norms
from .jacobian import Spectrum, recurrent_jacobian, spectrum
from .plots import plot_gradient_norms, plot_spectrum

__all__ = [
    "Spectrum",
    "gradient_norms",
    "plot_gradient_norms",
    "plot_spectrum",
    "recurrent_jacobian",
    "spectrum",
]
