"""Runnable modules that measure; each writes JSON with machine, versions and commit."""
