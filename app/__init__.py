"""HTTP: routes, errors, limits, settings, the page."""
