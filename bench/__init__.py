"""Measurements, off by default: ``make bench`` runs every ``bench_*.py`` and prints the figures."""
