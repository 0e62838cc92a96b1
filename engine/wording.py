"""English in sentences that are put together."""


def capitalized(text: str) -> str:
    """With a capital letter at the start of a sentence; the others stay as they are."""
    return text[:1].upper() + text[1:]


def plural(count: int, noun: str) -> str:
    """`1 unit`, `3 units`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
