"""rem-release: publish images that people can look at and models cannot learn from."""

__version__ = "0.7.0"
