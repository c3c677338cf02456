"""Every error this project raises on purpose. The type says whose fault it is; `reason` says which fault.

A message names the thing; `fix` says what the reader can do about it. Neither ever holds biometrics, secrets or
credentials. Broken promises inside our own code are plain `RuntimeError`s: nobody outside can mend those.
"""

from enum import Enum

_LONGEST_QUOTE = 1000


class Reason(Enum):
    """Which fault, stable across releases: tests, status messages and metrics use it."""

    # configuration
    FILE_MISSING = "file-missing"
    FILE_MALFORMED = "file-malformed"
    FILE_EXISTS = "file-exists"
    FILE_UNWRITABLE = "file-unwritable"
    FILE_IN_USE = "file-in-use"
    VALUE_INVALID = "value-invalid"
    DEPENDENCY_MISSING = "dependency-missing"
    # outside data that we do not believe
    SIGNATURE_INVALID = "signature-invalid"
    SIGNER_UNKNOWN = "signer-unknown"
    DIGEST_MISMATCH = "digest-mismatch"
    DECRYPTION_FAILED = "decryption-failed"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    OUTER_INNER_DIFFER = "outer-inner-differ"
    WRONG_RECIPIENT = "wrong-recipient"
    EXPIRED = "expired"
    KEY_USED = "key-used"
    # refused although well-formed
    OUTSIDE_WINDOW = "outside-window"
    WINDOW_RUNNING = "window-running"
    WRONG_VAN = "wrong-van"
    WRONG_CAMERA = "wrong-camera"
    CONTRACT_MISMATCH = "contract-mismatch"
    ENGINE_SET_NOT_ALLOWED = "engine-set-not-allowed"
    THRESHOLD_BELOW_FLOOR = "threshold-below-floor"
    DEMO_ORDER = "demo-order"
    BUDGET_EXCEEDED = "budget-exceeded"
    NO_ORDER = "no-order"
    NOT_AUTHORISED = "not-authorised"
    ORDER_LOADED = "order-loaded"
    ORDER_ENDED = "order-ended"
    STOPPED = "stopped"
    ERASURE_PENDING = "erasure-pending"
    CLOCK_AHEAD = "clock-ahead"
    CLOCK_BEHIND = "clock-behind"
    CLOCK_UNSYNCHRONISED = "clock-unsynchronised"
    KEY_PROTECTION_TOO_WEAK = "key-protection-too-weak"
    SWAP_POSSIBLE = "swap-possible"
    CORE_FILES_POSSIBLE = "core-files-possible"
    UNLOCK_REQUIRED = "unlock-required"
    NOT_PERMITTED = "not-permitted"
    SAMPLE_UNUSABLE = "sample-unusable"
    # devices and services
    SOURCE_UNREADABLE = "source-unreadable"
    BROKER_UNREACHABLE = "broker-unreachable"
    BROKER_REFUSED = "broker-refused"
    DOWNLOAD_FAILED = "download-failed"
    ENGINE_FAILED = "engine-failed"
    MEMORY_EXHAUSTED = "memory-exhausted"


class LfrEdgeError(Exception):
    """The root. `str()` is one line: what is wrong, then what to do."""

    def __init__(self, reason: Reason, message: str, *, fix: str) -> None:
        super().__init__(f"{message}; {fix}")
        self.reason = reason
        self.message = message
        self.fix = fix


class ConfigError(LfrEdgeError):
    """Whoever set this machine up can mend it: a file, a key, a package."""


class UntrustedInputError(LfrEdgeError):
    """Data from outside failed a check: it is refused whole, nothing of it is kept."""


class PolicyError(LfrEdgeError):
    """The data is genuine, but the rules do not allow what was asked."""


class DeviceError(LfrEdgeError):
    """A camera, an engine, a broker or memory failed. May heal; the caller decides whether to retry."""


def shortened(text: str) -> str:
    """For messages: what is quoted of a file may be as long as the file."""
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + " ..."


def counted(count: int, one: str, more: str) -> str:
    """For messages: `1 entry`, `3 entries`."""
    return f"{count} {one if count == 1 else more}"
