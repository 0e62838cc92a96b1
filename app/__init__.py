"""HTTP: routes, errors, limits, settings, the page."""

VERSION = "0.1.0"
