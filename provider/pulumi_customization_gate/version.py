"""The version of the distribution: the only place that it is written in for Python and for the build."""

from __future__ import annotations

__version__ = "0.1.0"
