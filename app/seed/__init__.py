"""A believable shop of any size, made of a seed through the shop's own commands."""
