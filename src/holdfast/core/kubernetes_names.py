"""Names that Kubernetes accepts, made from ids and usernames so that two of them never share one (decision 15).

Ids compare byte by byte and hold capitals, `_` and `-` at any place; a DNS label (RFC 1123) holds lower-case letters,
digits and inner `-`, at most 63. So a text that is not such a label already is folded into one and followed by a hash
of its bytes. A text that looks like the outcome of that is hashed as well: nobody can choose another's name.
"""

import base64
import hashlib
import re

MAX_LABEL = 63

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,19}")
_FOLDED = re.compile(r"[^a-z0-9]+")
# 80 bits in base 32: nobody finds a second text with the same ones.
_HASH_BYTES = 10
_HASH_CHARACTERS = 16
_ENDS_LIKE_A_HASH = re.compile(rf"-[a-z2-7]{{{_HASH_CHARACTERS}}}\Z")


def dns_label(text: str, *, prefix: str | None = None) -> str:
    """The DNS label that stands for `text`: the same one each time, and another for every other text.

    A prefix, one lower-case word, makes the label begin with a letter, as a Service's name must. Labels of one prefix
    never meet, nor do those of two prefixes; a label without a prefix may look like one with it.
    """
    if prefix is not None and _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"{prefix!r} is not a lower-case word of at most 20 letters and digits")
    start = "" if prefix is None else f"{prefix}-"
    room = MAX_LABEL - len(start)
    is_label = len(text) <= room and _LABEL.fullmatch(text) is not None
    if is_label and _ENDS_LIKE_A_HASH.search(text) is None:
        return start + text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES]
    suffix = base64.b32encode(digest).decode("ascii").lower()
    # Only what can reach the label is folded: a text may be of any length.
    folded = _FOLDED.sub("-", text[: 2 * MAX_LABEL].lower()).strip("-")
    folded = folded[: room - len(suffix) - 1].rstrip("-")
    return f"{start}{folded or 'x'}-{suffix}"
