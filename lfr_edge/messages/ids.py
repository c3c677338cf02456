"""Identifiers that sort by time: UUID version 7 (RFC 9562, section 5.7)."""

import secrets
import threading
import time
import uuid

_RANDOM_BITS = 74  # rand_a and rand_b together, used as one counter with a random start (section 6.2, method 2)
_LARGEST_STEP = 1 << 32  # an id tells nothing useful about the next

_lock = threading.Lock()
_last_ms = 0
_last_random = 0


def uuid7() -> str:
    """A new id; within this process each is greater than the one before, even if the clock is set back."""
    global _last_ms, _last_random  # noqa: PLW0603 - one counter per process is the point
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _last_random = now_ms, secrets.randbits(_RANDOM_BITS)
        else:
            _last_random += 1 + secrets.randbelow(_LARGEST_STEP)
            if _last_random >> _RANDOM_BITS:
                _last_ms, _last_random = _last_ms + 1, secrets.randbits(_RANDOM_BITS)
        milliseconds, random = _last_ms, _last_random
    rand_a, rand_b = random >> 62, random & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))
