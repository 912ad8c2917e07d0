"""Tests of the package. ``python -m tests`` runs all and prints a line per test."""
