"""Learning: losses, optimizers, schedules, the training loop."""
