"""The forms of requests and answers: which media types a path takes and gives, who reads and who writes them.

A route has two tables, media type to reader and media type to writer. The first entry of each is what a client without
a wish sends and gets. A key of the answers' table is sent as the Content-Type, parameters included.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import orjson

from app.errors import ProblemError
from schemas import large_json, safetensors
from schemas.answers import write
from schemas.duplicates import require_distinct_names
from schemas.limits import Body

JSON = b"application/json"
SAFETENSORS = b"application/vnd.safetensors"
Headers = Mapping[bytes, bytes]
Reader = Callable[[Body], Any]
"""From a body to what JSON would decode it to; raises ProblemError where it is malformed."""
Writer = Callable[[Any, str], bytes]
"""From an answer, and the `encoding` that the request asked for, to bytes."""

SIGNS = [
    (re.compile(r"\Z"), "Is it sent whole, with its length in bytes as Content-Length?"),
    (
        re.compile(r"(?i:nan|inf|infinity)\b|#"),
        "JSON has no NaN and no infinity: something overflowed or was divided by 0.",
    ),
    (re.compile(r"(?<=\d,)\d"), "The decimal point is a point, not a comma."),
    (re.compile(r"\.\d"), "A digit stands before the decimal point."),
    (
        re.compile(r"['‘“]|[a-z_]\w{0,63}\s?:", re.IGNORECASE),
        "Names and texts stand in double quotation marks: in Python json.dumps writes them, str does not.",
    ),
    (re.compile(r"(?:True|False|None)\b"), "JSON's words are true, false and null: in Python json.dumps writes them."),
    (re.compile(r"\0"), "This byte is 0: in C, the length to send is strlen, not sizeof."),
]
"""What stands where a body stops being JSON, and what it is a sign of."""

QUALITY = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def read_json(body: Body) -> Any:
    """The decoded body, with arrays in the place of large matrices; raises the problem that says where it stops being
    JSON, and InvalidValue where a name occurs twice in an object."""
    found = large_json.read(body)
    if found is None:
        return read_json_plainly(body)
    require_distinct_names(body, found)
    return found


def read_json_plainly(body: Body) -> Any:
    """The same with lists throughout."""
    try:
        found = orjson.loads(body)
        require_distinct_names(body, found)
        return found
    except orjson.JSONDecodeError as error:
        detail = f"The body is not JSON: {_reason(body, error)}"
    # Raised out here, since an error keeps the one in whose handling it was raised, and that one has the whole body.
    raise ProblemError("malformed-json", detail)


def _reason(body: Body, error: orjson.JSONDecodeError) -> str:
    """Why a body is not JSON, and where; of bytes that are no UTF-8 orjson does not say where they are."""
    if bytes(body[4:9]) == b"\0\0\0\0{":  # the length of a header, in eight bytes, and the header
        return f"it looks like a safetensors file, which is sent with Content-Type: {SAFETENSORS.decode()}."
    if not error.doc:
        try:
            str(body, "utf-8")
        except UnicodeDecodeError as wrong:
            return f"byte {wrong.start + 1} is not valid UTF-8, in which JSON is written."
    what = error.msg if error.doc else "it is empty"
    hint = next((f" {hint}" for sign, hint in SIGNS if sign.match(error.doc, error.pos)), "")
    return f"{what} (line {error.lineno}, column {error.colno}).{hint}"


def read_safetensors(body: Body) -> Any:
    """The same of a safetensors file, with arrays where JSON has lists."""
    try:
        return safetensors.read(body)
    except safetensors.MalformedTensors as error:
        raise ProblemError("malformed-safetensors", f"The body is not a safetensors file: {error}.") from None


REQUEST_FORMS: dict[bytes, Reader] = {JSON: read_json, SAFETENSORS: read_safetensors}
ANSWER_FORMS: dict[bytes, Writer] = {JSON: write, SAFETENSORS: safetensors.write}


def headers_of(lines: list[tuple[bytes, bytes]]) -> Headers:
    """A request's headers by name; an Accept that came in several lines is put together (RFC 9110, 5.2)."""
    headers = dict(lines)
    if len(headers) != len(lines):
        headers[b"accept"] = b",".join(value for name, value in lines if name == b"accept") or b"*/*"
    return headers


def reader(headers: Headers, forms: Mapping[bytes, Reader]) -> Reader:
    """Who reads the body; raises the problem with what is taken (RFC 9110, 15.5.16) where nobody does."""
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        detail = "Bodies are taken without a content encoding."
        raise ProblemError("unsupported-media-type", detail, {"Accept-Encoding": "identity"})
    media_type = headers.get(b"content-type", JSON)
    if media_type not in forms:
        media_type = name_of(media_type)
        if media_type.startswith(b"application/") and media_type.endswith(b"+json"):
            media_type = JSON
        if media_type not in forms:
            taken = names(forms)
            hint = "with curl: --json, or -H 'Content-Type: application/json'"
            raise ProblemError("unsupported-media-type", f"This path takes {taken} ({hint}).", {"Accept": taken})
    return forms[media_type]


def chosen(headers: Headers, forms: Collection[bytes]) -> bytes:
    """The form of the answer that the client likes best (RFC 9110, 12.5.1); raises where it accepts none.

    Of forms that it likes equally, one that it names goes before one that a wildcard allows, then the first does.
    """
    accept = headers.get(b"accept", b"*/*")
    if accept == b"*/*":
        return next(iter(forms))
    if accept in forms:
        return accept
    ranges = media_ranges(accept.decode("latin-1").lower())
    best, liking = None, (0.0, 0)
    for form in forms:
        how_much = preference(name_of(form).decode(), ranges)
        if how_much[0] and how_much > liking:
            best, liking = form, how_much
    if best is None:
        raise ProblemError("not-acceptable", f"This path answers {names(forms)}.")
    return best


def media_ranges(accept: str) -> dict[str, float]:
    """The quality of each media range of an Accept header; an empty one accepts everything."""
    ranges = {}
    for item in accept.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if name:
            qualities = (QUALITY.fullmatch(parameter) for parameter in parameters)
            ranges[name] = next((float(quality[1]) for quality in qualities if quality), 1.0)
    return ranges or {"*/*": 1.0}


def preference(media_type: str, ranges: Mapping[str, float]) -> tuple[float, int]:
    """The quality of a media type, which the most specific range decides, and how specific that range is."""
    kind = media_type.partition("/")[0]
    for specificity, name in ((2, media_type), (1, f"{kind}/*"), (0, "*/*")):
        if name in ranges:
            return ranges[name], specificity
    return 0.0, 0


def name_of(media_type: bytes) -> bytes:
    """A media type without its parameters."""
    return media_type.partition(b";")[0].strip().lower()


def names(forms: Iterable[bytes]) -> str:
    """The media types of forms, as a list to read."""
    return ", ".join(name_of(form).decode() for form in forms)
