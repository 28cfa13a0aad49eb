"""The watch desk's pages beside the queue, one a module, each with a ``register(desk)``."""
