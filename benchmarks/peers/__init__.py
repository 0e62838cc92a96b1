"""Peers: other ways to get the same gradients over HTTP, each written as its own documentation says."""
