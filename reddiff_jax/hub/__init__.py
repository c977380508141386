"""Priors from and to a Hugging Face hub."""

from reddiff_jax.hub.errors import HubError
from reddiff_jax.hub.fetching import convert, find_prior, is_on_hub, licence_of, load_prior
from reddiff_jax.hub.pushing import push

__all__ = ["HubError", "convert", "find_prior", "is_on_hub", "licence_of", "load_prior", "push"]
