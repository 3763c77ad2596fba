"""A table of vectors, looked up by number."""

from ..arrays import check_array, check_size
from .layer import Layer


class Embedding(Layer):
    """A table `weight` (num_embeddings, embedding_dim), at first standard normal.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    dtype : "float32", "float64"; on CUDA also "float16", "bfloat16"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator
    """

    takes_halves = True

    def __init__(self, num_embeddings, embedding_dim, *, dtype="float32", device="cpu", rng=None):
        super().__init__(dtype, device, rng)
        self.num_embeddings = check_size(num_embeddings, "num_embeddings")
        self.embedding_dim = check_size(embedding_dim, "embedding_dim")
        shape = (self.num_embeddings, self.embedding_dim)
        self._add_parameter("weight", self.rng.standard_normal(shape))

    def __call__(self, indices):
        """indices (...), integers below num_embeddings -> (..., embedding_dim).

        Raises TypeError if they are not integers on the layer's device, ValueError if one is
        out of range (on CUDA finding that out would mean to wait for the device: there the
        row of such an index is NaN).
        """
        indices = self._check(indices)
        rows = self.kernels.embedding_forward(self._parameter("weight"), indices.reshape(-1))
        return rows.reshape(*indices.shape, self.embedding_dim)

    def forward(self, indices):
        """As calling the layer; also returns ``backward(dy)``, which adds into `grads`."""
        indices = self._check(indices)
        y = self(indices)

        def backward(dy):
            dy = check_array(dy, "dy", self.device, self.dtype, y.shape)
            self.kernels.embedding_backward(
                self.grads["weight"], indices.reshape(-1), dy.reshape(-1, self.embedding_dim)
            )

        return y, backward

    def _check(self, indices):
        indices = check_array(indices, "indices", self.device)
        if self.device == "cpu" and indices.size:
            low, high = int(indices.min()), int(indices.max())
            if low < 0 or high >= self.num_embeddings:
                raise ValueError(
                    f"indices: expected 0 to {self.num_embeddings - 1}, got {low} to {high}"
                )
        return indices
