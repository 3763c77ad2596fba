"""Pictures of what networks remember. Needs matplotlib (`pip install 'gpurnn[plot]'`)."""

import numpy as np


def plot_gradient_norms(norms, axes=None):
    """Draw gradient norms by lag, on a logarithmic scale; the Axes.

    norms: name -> array (T + 1, B), as `gradient_norms` returns them; a line each, at the
    median of the sequences. Norms of zero, which no such scale has, are left out.
    axes: matplotlib Axes to draw on; None makes a figure.
    """
    axes = _axes(axes)
    for name, of_lag in norms.items():
        median = np.median(of_lag, axis=1)
        axes.plot(np.where(median > 0, median, np.nan), label=name)
    axes.set_yscale("log")
    axes.set_xlabel("steps before the end")
    axes.set_ylabel("norm of the gradient by the state")
    axes.legend()
    return axes


def plot_spectrum(spectrum, axes=None):
    """Draw the eigenvalues of a `Spectrum` in the complex plane beside the unit circle; the Axes.

    Outside the circle a component grows from step to step, inside it fades.
    """
    axes = _axes(axes)
    circle = np.exp(2j * np.pi * np.linspace(0, 1, 200))
    axes.plot(circle.real, circle.imag, color="grey", lw=0.8)
    axes.plot(spectrum.eigenvalues.real, spectrum.eigenvalues.imag, ".")
    axes.set_aspect("equal")
    axes.set_xlabel("real part")
    axes.set_ylabel("imaginary part")
    axes.set_title(f"largest singular value {spectrum.singular_values[0]:.3g}", fontsize=10)
    return axes


def _axes(axes):
    """`axes`, or those of a new figure (of no window: no global state of matplotlib is used)."""
    if axes is not None:
        return axes
    from matplotlib.figure import Figure

    return Figure(layout="constrained").add_subplot()
