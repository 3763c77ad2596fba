"""The optimizers' arithmetic: what happens to one parameter in one step.

Pure functions of scalars, compiled for the CPU's vectors and for CUDA, run over whole arrays by
`apply_map`. Each takes a tuple of numbers (one from each array, the gradient last) and a tuple
of scalars, and gives the new values of the first arrays. Constants come in as scalars: a literal
would turn float32 into float64 on CUDA.
"""

from gpurnn.kernels.mathematics import positive_part, sqrt


def scale(values, scalars):
    """Multiply by a factor: gradient clipping."""
    (value,) = values
    (factor,) = scalars
    return (value * factor,)


def sgd_step(values, scalars):
    """Plain gradient descent."""
    parameter, gradient = values
    rate, decay = scalars
    return (parameter - rate * (gradient + decay * parameter),)


def momentum_step(values, scalars):
    """Gradient descent with a velocity, in PyTorch's form (the rate multiplies the velocity)."""
    parameter, velocity, gradient = values
    rate, decay, momentum = scalars
    velocity = momentum * velocity + (gradient + decay * parameter)
    return parameter - rate * velocity, velocity


def nesterov_step(values, scalars):
    """As `momentum_step`, with the gradient taken a step ahead."""
    parameter, velocity, gradient = values
    rate, decay, momentum = scalars
    gradient = gradient + decay * parameter
    velocity = momentum * velocity + gradient
    return parameter - rate * (gradient + momentum * velocity), velocity


def adam_step(values, scalars):
    """Adam (Kingma & Ba 2015, algorithm 1) and AdamW (Loshchilov & Hutter 2019, algorithm 2).

    `keep` < 1 shrinks the parameter itself (AdamW), `decay` adds to the gradient (Adam). The
    corrections of the moments' bias are in `rate` and `root_correction`.
    """
    parameter, mean, square, gradient = values
    rate, keep, decay, beta1, rest1, beta2, rest2, root_correction, epsilon = scalars
    parameter = keep * parameter
    gradient = gradient + decay * parameter
    mean = beta1 * mean + rest1 * gradient
    square = beta2 * square + rest2 * gradient * gradient
    parameter = parameter - rate * mean / (sqrt(square) * root_correction + epsilon)
    return parameter, mean, square


def rmsprop_step(values, scalars):
    """RMSprop (Hinton's lecture 6e): the gradient over the root of its running mean square."""
    parameter, square, gradient = values
    rate, decay, alpha, rest, epsilon = scalars
    gradient = gradient + decay * parameter
    square = alpha * square + rest * gradient * gradient
    return parameter - rate * gradient / (sqrt(square) + epsilon), square


def rmsprop_momentum_step(values, scalars):
    """RMSprop whose quotient feeds a velocity."""
    parameter, square, velocity, gradient = values
    rate, decay, alpha, rest, epsilon, momentum = scalars
    gradient = gradient + decay * parameter
    square = alpha * square + rest * gradient * gradient
    velocity = momentum * velocity + gradient / (sqrt(square) + epsilon)
    return parameter - rate * velocity, square, velocity


def centered_rmsprop_step(values, scalars):
    """RMSprop over the running variance instead of the mean square (Graves 2013, eq. 38-45).

    Rounding can make the variance of a constant gradient negative: it counts as 0.
    """
    parameter, square, mean, gradient = values
    rate, decay, alpha, rest, epsilon = scalars
    gradient = gradient + decay * parameter
    square = alpha * square + rest * gradient * gradient
    mean = alpha * mean + rest * gradient
    deviation = sqrt(positive_part(square - mean * mean))
    return parameter - rate * gradient / (deviation + epsilon), square, mean


def centered_rmsprop_momentum_step(values, scalars):
    """Centered RMSprop whose quotient feeds a velocity."""
    parameter, square, mean, velocity, gradient = values
    rate, decay, alpha, rest, epsilon, momentum = scalars
    gradient = gradient + decay * parameter
    square = alpha * square + rest * gradient * gradient
    mean = alpha * mean + rest * gradient
    deviation = sqrt(positive_part(square - mean * mean))
    velocity = momentum * velocity + gradient / (deviation + epsilon)
    return parameter - rate * velocity, square, mean, velocity
