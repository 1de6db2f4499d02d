"""The ways to make noise, behind one small protocol: `build_method(recipe, ...)`."""

from rem_release.methods.base import Method, Pictures
from rem_release.methods.build import build_method

__all__ = ["Method", "Pictures", "build_method"]
