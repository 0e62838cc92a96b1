"""Derivations: how every number of a backward pass comes about, as data that can be written in several forms."""
