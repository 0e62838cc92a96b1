"""How long to search: `make test` a little, `make fuzz` (Hypothesis's profile `long`) thoroughly."""

from hypothesis import settings

settings.register_profile("long", print_blob=True)


def searching(a_little: int, thoroughly: int) -> int:
    """How many examples a test tries."""
    return thoroughly if settings.get_current_profile_name() == "long" else a_little


SLOW = "/v1/verify"
"""A search for mistakes takes a hundred times as long as any other answer."""
