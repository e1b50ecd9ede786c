"""A simulated vCenter and Cloud Director on this computer, for the example and the tests.

It is not part of the library.
"""
