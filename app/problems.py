"""The problem types (RFC 9457): what each error is called, what it means, and what to do about it."""

from typing import NamedTuple


class Problem(NamedTuple):
    """`remedy` is what a client can do about it."""

    status: int
    title: str
    meaning: str
    remedy: str


PROBLEMS = {
    "malformed-json": Problem(
        400,
        "The body is not JSON",
        "The body could not be read as JSON (RFC 8259). NaN, Infinity, numbers beyond the range of a double such as "
        "1e999, trailing commas, comments and absurdly deep nesting are not JSON here.",
        "Write the body with a JSON library; the detail says where reading stopped.",
    ),
    "malformed-safetensors": Problem(
        400,
        "The body is not a safetensors file",
        "The body could not be read as safetensors: its header is cut off, too long, not JSON or at odds with the "
        "data, or the tensors overlap or leave holes.",
        "Write the body with the safetensors library of your language; the detail says what is wrong with it.",
    ),
    "malformed-http": Problem(
        400,
        "The request is not HTTP/1.1",
        "The head of the request, or the framing of its body, breaks RFC 9112: a line that cannot be read, lengths "
        "that contradict each other, a transfer coding other than chunked, no Host, several, or one that is no host.",
        "Send requests with an HTTP library, and look at what stands between it and this server.",
    ),
    "unauthorized": Problem(
        401,
        "An API key is needed",
        "This server computes for those who have one of its API keys; the request had none, or one it does not know.",
        "Send Authorization: Bearer and the key, or the key as X-API-Key; ask whoever runs this server for one.",
    ),
    "not-found": Problem(404, "There is nothing here", "No such path.", "The paths are listed at /openapi.json."),
    "method-not-allowed": Problem(
        405,
        "This path does not take this method",
        "There is such a path, and it does not take the method of the request.",
        "The Allow header lists the methods that it takes.",
    ),
    "not-acceptable": Problem(
        406,
        "No representation that you accept",
        "The Accept header excludes every form that this answer has.",
        "The detail lists what this path answers; application/json is always on that list.",
    ),
    "too-slow": Problem(
        408,
        "The request came too slowly",
        "The head or the body of the request took longer than this server waits for it.",
        "Send it faster or make it smaller; see max_header_seconds and max_body_seconds at /version.",
    ),
    "payload-too-large": Problem(
        413,
        "The body is too large",
        "The body has more bytes than this server reads.",
        "See max_body_bytes at /version.",
    ),
    "target-too-long": Problem(
        414,
        "The request's target is too long",
        "The path with its query has more bytes than this server reads.",
        "Everything that a request has to say belongs in its body.",
    ),
    "unsupported-media-type": Problem(
        415,
        "The body's type or encoding is not taken",
        "This path takes other media types, and no content encoding such as gzip.",
        "The Accept header of the answer lists what is taken; with curl, --json sends application/json.",
    ),
    "unknown-host": Problem(
        421,
        "This server does not answer for this host",
        "The Host header names a host that this server was not told to answer for. A web page could otherwise make its "
        "own name lead here and read the answers (DNS rebinding).",
        "Use the server's own name, or add this one to its CHAINRULE_ALLOWED_HOSTS.",
    ),
    "validation-error": Problem(
        422,
        "The request has several mistakes",
        "The body is JSON, and more than one kind of mistake is in it.",
        "Each entry of errors says where, what was expected, and what was received.",
    ),
    "missing": Problem(
        422, "Something is missing", "A required field is not there.", "Add the field that the pointer names."
    ),
    "unknown-field": Problem(
        422,
        "A field is not known",
        "Unknown fields are refused, so that a misspelled hyperparameter is never silently replaced by its default.",
        "Correct the field's name, or leave it out.",
    ),
    "unknown-name": Problem(
        422,
        "A name is not known",
        "An activation, loss, optimizer, initializer or another name is not among those that exist.",
        "See GET /v1/catalog for all names. The error lists them, and suggests the one that other libraries call by "
        "this name, or the one that looks most like it.",
    ),
    "wrong-type": Problem(
        422, "A value has the wrong type", "For instance a string where a number belongs.", "Send the expected type."
    ),
    "not-a-number": Problem(
        422,
        "An array holds something other than numbers",
        "Arrays hold numbers only: no strings, booleans or nulls.",
        "Replace the item that the pointer names.",
    ),
    "empty-array": Problem(
        422,
        "An array is empty",
        "A batch has at least one example, a layer at least one input and one unit.",
        "Leave the array out where it is optional, or fill it.",
    ),
    "ragged-array": Problem(
        422, "The rows of an array differ in length", "All rows must be equally long.", "Pad or correct the row."
    ),
    "wrong-dimensions": Problem(
        422,
        "An array has the wrong number of dimensions",
        "Inputs are always [batch, features]: a single example is [[...]], a batch of one.",
        "Nest the array as the error expects.",
    ),
    "invalid-base64": Problem(
        422,
        "The base64 of a tensor cannot be read",
        "Tensors as objects hold little-endian numbers in C order, as base64 with padding.",
        "Encode the bytes of the array with a standard base64 function.",
    ),
    "shape-mismatch": Problem(
        422,
        "Two arrays do not fit together",
        "For instance weights that take another number of inputs than the layer before has units.",
        "Compare expected and received; weights that look transposed may need another weights_layout.",
    ),
    "out-of-range": Problem(
        422,
        "A number is outside its range",
        "A hyperparameter, a setting, or the weight of an example or a class is outside its bounds.",
        "Take a number within the bounds, which the error gives as expected; GET /v1/catalog has them for all rules.",
    ),
    "invalid-value": Problem(
        422, "A value cannot be used", "The value has the right type and makes no sense here.", "See the detail."
    ),
    "invalid-target": Problem(
        422,
        "A target cannot be used by this loss",
        "For instance a class label that is not one of 0 to outputs - 1, or a probability outside [0, 1].",
        "Correct the target that the pointer names.",
    ),
    "not-probabilities": Problem(
        422,
        "The outputs are not probabilities",
        "This loss takes probabilities, and the network's outputs leave [0, 1].",
        "End the network in a softmax (or sigmoid) layer, or set from_logits to true in the loss.",
    ),
    "invalid-state": Problem(
        422,
        "The optimizer state does not fit",
        "An optimizer state belongs to one optimizer with its hyperparameters and one network.",
        "Post back the optimizer_state of the last answer unchanged, or null to start afresh.",
    ),
    "invalid-weights": Problem(
        422,
        "The weights leave nothing to average",
        "All sample weights or class weights that count are 0, so a weighted mean is undefined.",
        "Give at least one example a weight above 0, or use the reduction sum.",
    ),
    "duplicate-name": Problem(
        422,
        "A name occurs twice in an object",
        "JSON leaves open which of two values of one name counts, and readers differ; here neither does.",
        "Leave one of the two out.",
    ),
    "conflict": Problem(
        422, "Two fields exclude each other", "Only one of the fields may be given.", "Leave one of them out."
    ),
    "non-finite": Problem(
        422,
        "A result is not finite",
        "A number of the computation overflowed or is undefined. The pointer is that of the first one, in the shape of "
        "the answer: layer, quantity, index.",
        "Scale inputs or weights down, lower the learning rate, use from_logits, or compute in float64.",
    ),
    "too-large": Problem(
        422,
        "The request asks for too much",
        "It would take more multiplications, by an estimate, or make the server hold more numbers, or the network has "
        "more layers, than this server's limit.",
        "Split the request: fewer examples, or fewer epochs a call. Or run a server with higher limits "
        "(CHAINRULE_MAX_WORK, CHAINRULE_MAX_NUMBERS, CHAINRULE_MAX_LAYERS); /version shows those in force.",
    ),
    "rate-limited": Problem(
        429,
        "Too much in a short time",
        "Each key, or else each address, has a budget that requests use up by their cost and that fills up steadily; "
        "this one is used up.",
        "Go on after the seconds that Retry-After names; RateLimit and RateLimit-Policy tell what is left of what.",
    ),
    "headers-too-large": Problem(
        431,
        "The headers are too large",
        "The request's headers have more bytes than this server reads.",
        "Send fewer or shorter headers, cookies for instance; see max_header_bytes at /version.",
    ),
    "internal-error": Problem(
        500, "The server made a mistake", "This is our fault, not yours.", "Report it with the request_id."
    ),
    "overloaded": Problem(
        503,
        "Too much at once",
        "Everything that computes large requests is busy, and no more of them can wait; small ones still go through.",
        "Send the same request again after the seconds that Retry-After names.",
    ),
    "too-many-connections": Problem(
        503,
        "Too many connections",
        "This server has as many connections open as it keeps at once.",
        "Close those that you do not need, send several requests over one, and try again a little later.",
    ),
    "unavailable": Problem(
        503,
        "Unavailable",
        "The server is starting or draining, or it has too little memory, or too few processes or open files.",
        "Try again a little later.",
    ),
}
"""By name; `/problems/{name}` explains each."""
