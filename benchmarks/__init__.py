"""Measurements that back what the documentation promises, each a program of its own."""
