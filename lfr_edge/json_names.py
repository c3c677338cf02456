"""JSON in which an object has two members of one name: readers do not agree on which of them counts."""

import json


def has_repeated_names(valid_json: str) -> bool:
    """Whether an object in it has two members of one name. ValueError or RecursionError if it is not JSON."""
    try:
        _DECODER.decode(valid_json)
    except _RepeatedNameError:
        return True
    return False


class _RepeatedNameError(ValueError):
    """A name is there twice."""


def _distinct_names(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _RepeatedNameError


# Made once: `json.loads` with a hook makes one for each call, which takes longer than reading a watchlist's entry.
_DECODER = json.JSONDecoder(object_pairs_hook=_distinct_names)
