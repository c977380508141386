"""Scripts that check a release, and the package with other versions of what it needs."""
