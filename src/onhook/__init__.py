"""onhook: a self-hosted call server for AI phone agents that ends calls at once and proves it."""

__version__ = "0.1.0"
