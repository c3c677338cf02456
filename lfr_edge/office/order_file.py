"""`ORDER.toml`: what the authorising officer decides. The rest of an order is filled in here and by `seal`."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path

from pydantic import ValidationError

from lfr_edge.errors import ConfigError, PolicyError, Reason, shortened
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.fields import complaints
from lfr_edge.messages.order import Order

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

UNSEALED = "0" * 64
"""Stands for a member's digest in an order whose package is not made yet."""

_DIGESTS = ("watchlist_sha256", "pictures_sha256", "contract", "engine_sets")
_FILLED_IN = ("version", "list_size", "template_count", *_DIGESTS, "recipients", "unlock_recipient")


def read_order(
    path: Path,
    engine_set: EngineSet,
    *,
    van_recipients: Mapping[str, str],
    recipients: Sequence[str],
    unlock_recipient: str | None = None,
) -> Order:
    """The order for a list of this engine set, without its package's digests. ConfigError names every wrong key.

    `van_recipients` maps van ids to their deployment keys; `recipients` are the control rooms' keys. An order that
    `requires_share` needs the `unlock_recipient` of one.
    """
    fields = _read_toml(path)
    _check_keys(path, fields)
    fields |= {
        "vans": _with_recipients(path, fields.get("vans"), van_recipients),
        "contract": engine_set.contract,
        "engine_sets": [engine_set.digest],
        "recipients": list(recipients),
        "unlock_recipient": unlock_recipient,
        "list_size": 1,
        "template_count": 1,
        "watchlist_sha256": UNSEALED,
        "pictures_sha256": UNSEALED,
    }
    try:
        # Through JSON, because strict validation then takes an array for a tuple and still nothing else.
        return Order.model_validate_json(json.dumps(fields, default=_iso))
    except ValidationError as error:
        raise _malformed(path, "; ".join(complaints(error, own=True))) from error
    except (ValueError, TypeError, RecursionError) as error:  # a number of 5,000 digits
        raise _malformed(path, str(error)) from error


def end_of(path: Path) -> datetime:
    """When the order ends: a prekey has to outlive it. ConfigError if it does not say so, in UTC."""
    end = _read_toml(path).get("not_after")
    if not isinstance(end, datetime) or end.tzinfo is None:
        raise _malformed(path, "not_after: missing, or not a time in UTC")
    return end


def require_ahead(order: str, not_after: datetime, now: datetime) -> None:
    """PolicyError if the window is over: no van would take such an order, so nobody is to seal or sign it."""
    if not_after <= now:
        raise PolicyError(
            Reason.OUTSIDE_WINDOW,
            f"the window of {order} ended at {not_after:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}",
            fix="write an order with a later window, or put this machine's clock right",
        )


def requires_share(path: Path) -> bool:
    """Does the order say that the van needs an unlock share."""
    return _read_toml(path).get("unlock") == "required"


def _read_toml(path: Path) -> dict[str, object]:
    try:
        fields: dict[str, object] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check the path"
        ) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError too
        raise _malformed(path, str(error)) from error
    return fields


def _check_keys(path: Path, fields: Mapping[str, object]) -> None:
    filled_in = [key for key in fields if key in _FILLED_IN]
    unknown = [key for key in fields if key not in Order.model_fields]
    if filled_in:
        raise _malformed(path, f"{', '.join(filled_in)}: filled in by sealing", fix="take the key(s) out")
    if unknown:
        known = ", ".join(key for key in Order.model_fields if key not in _FILLED_IN)
        raise _malformed(path, f"{', '.join(unknown)}: no such key", fix=f"correct or remove it; there are {known}")


def _with_recipients(path: Path, vans: object, van_recipients: Mapping[str, str]) -> list[dict[str, object]]:
    if not isinstance(vans, list) or not all(isinstance(van, dict) and isinstance(van.get("id"), str) for van in vans):
        raise _malformed(
            path, "vans: missing or without id", fix='write [[vans]] with id = "..." and cameras = ["..."]'
        )
    named = {van["id"] for van in vans}
    if named != set(van_recipients):
        differing = shortened(", ".join(sorted(named ^ set(van_recipients))))
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"{path} and the keys that were given name different vans: {differing}",
            fix="give the prekeys, or --van-recipient VAN=age1..., of the van in the order's [[vans]]",
        )
    return [{**van, "recipient": van_recipients[str(van["id"])]} for van in vans]


def _iso(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in an order")


def _malformed(path: Path, what: str, *, fix: str = "correct the key(s); docs/office.md has an example") -> ConfigError:
    return ConfigError(Reason.FILE_MALFORMED, f"{path}: {shortened(what)}", fix=fix)
