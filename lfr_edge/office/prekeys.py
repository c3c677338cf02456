"""Choosing a van's one-time deployment key: one that no list was sealed to before, and that outlives the order."""

from collections.abc import Collection
from datetime import datetime

from lfr_edge.errors import PolicyError, Reason
from lfr_edge.messages.prekey import Prekeys


def choose_prekey(stock: Prekeys, used: Collection[str], not_after: datetime) -> str:
    """The recipient that expires first of those that will do. PolicyError if none does."""
    fresh = [prekey for prekey in stock.prekeys if prekey.recipient not in used]
    usable = [prekey for prekey in fresh if prekey.expires_at > not_after]
    if not usable:
        what = (
            f"{len(fresh)} unused of {len(stock.prekeys)} expire before the deployment ends"
            if fresh
            else "all are used"
        )
        raise PolicyError(
            Reason.EXPIRED,
            f"no prekey of van '{stock.van}' can be used: {what}",
            fix="get new ones: 'lfr-edge deployment prekeys' on the van",
        )
    return min(usable, key=lambda prekey: prekey.expires_at).recipient
