"""A data centre on a laptop: everything that stands in for the one you do not want to break.

It is part of the project's example and tests, and no part of the library.
"""
