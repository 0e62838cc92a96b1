"""The API keys of the settings; it imports little, so that wrong ones are told before the application is there."""

import hashlib
import hmac
from collections.abc import Iterable
from functools import cache

from app.settings import settings


class Keys:
    """API keys by their SHA-256 digests: the keys themselves are nowhere on the server."""

    def __init__(self, lines: Iterable[str]) -> None:
        """`lines`: each a digest in hexadecimal, and optionally a name after it; "#" begins a comment.

        Raises ValueError where one is no digest.
        """
        self.names: dict[bytes, str] = {}
        for number, line in enumerate(lines, 1):
            text, _, name = line.partition("#")[0].strip().partition(" ")
            if not text:
                continue
            try:
                digest = bytes.fromhex(text)
            except ValueError:
                digest = b""
            if len(digest) != hashlib.sha256().digest_size:
                raise ValueError(f"entry {number} is not the 64 hexadecimal digits of a SHA-256 digest")
            self.names[digest] = name.strip() or text[:8]

    def name(self, key: bytes) -> str | None:
        """The name of a key, or None where there is no such key; all digests are compared, in constant time each."""
        digest = hashlib.sha256(key).digest()
        found = None
        for known, name in self.names.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


@cache
def configured_keys() -> Keys:
    """The keys of CHAINRULE_API_KEYS and of the file CHAINRULE_API_KEYS_FILE together.

    Ends the process where one is no digest, or where one of the two is set and holds no key, be it empty: a file that
    has lost its last key, or a secret that did not arrive, must not open the server to everybody.
    """
    listed, path = settings().api_keys, settings().api_keys_file
    lines = listed.split(",") if listed else []
    try:
        if path is not None:
            lines += path.read_text().splitlines()
        keys = Keys(lines)
        if not keys.names and {"api_keys", "api_keys_file"} & settings().model_fields_set:
            raise ValueError("there is none in CHAINRULE_API_KEYS and CHAINRULE_API_KEYS_FILE")
    except (OSError, ValueError) as error:
        raise SystemExit(f"The API keys cannot be used: {error}.") from None
    return keys
