"""English in sentences that are put together."""


def plural(count: int, noun: str) -> str:
    """`1 unit`, `3 units`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
