"""Suggestions for wrong names, as commands import them."""

from ..similar import did_you_mean as did_you_mean
