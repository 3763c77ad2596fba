"""Models: layers put together for a purpose."""
