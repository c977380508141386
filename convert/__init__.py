"""`python -m convert CHECKPOINT OUT`, from a checkout; an installed package has `reddiff-jax convert`."""
