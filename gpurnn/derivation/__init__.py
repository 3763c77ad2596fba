"""From a cell's forward formula to its backward one: tracing, differentiation, Python source."""
