"""What a watchlist office records (`events`)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lfr_edge.audit.fields import Clause, Count, Decimal4, Event, Ids, KeyId, Writer
from lfr_edge.messages.fields import Digest, EntryId, Identifier


class Enrolled(Event):
    """Photos and particulars became references."""

    clauses, writer = (Clause.COLLECTION,), Writer.OFFICE
    kind: Literal["enrolled"] = "enrolled"
    list_sha256: Digest
    references_sha256: Digest
    contract: Digest
    entries: Count
    photos: Count
    photos_refused: Count


class EntryAltered(Event):
    """Fields of an entry, or its photos, were changed; which ones, never their content."""

    clauses, writer = (Clause.ALTERATION,), Writer.OFFICE
    kind: Literal["entry-altered"] = "entry-altered"
    entry: EntryId
    fields: Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")], ...], Field(max_length=100)]


class EntryRemoved(Event):
    """An entry was taken off the list and its references deleted."""

    clauses, writer = (Clause.ERASURE,), Writer.OFFICE
    kind: Literal["entry-removed"] = "entry-removed"
    entry: EntryId


class ListsCombined(Event):
    """Lists were merged into one."""

    clauses, writer = (Clause.COMBINATION,), Writer.OFFICE
    kind: Literal["lists-combined"] = "lists-combined"
    sources: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=100)]
    references_sha256: Digest
    entries: Count


class EntriesCompared(Event):
    """All entries of a list were compared with each other, to find look-alikes and doubles."""

    clauses, writer = (Clause.COMBINATION,), Writer.OFFICE
    kind: Literal["entries-compared"] = "entries-compared"
    references_sha256: Digest
    entries: Count
    pairs: Count


class BudgetAccepted(Event):
    """A deployment above its budget of false alerts was accepted by a person."""

    clauses, writer = (Clause.OPERATION,), Writer.OFFICE
    kind: Literal["budget-accepted"] = "budget-accepted"
    order: Identifier
    expected_false_alerts: Decimal4
    budget: Decimal4


class OrderSigned(Event):
    """One officer signed an order."""

    clauses, writer = (Clause.OPERATION,), Writer.OFFICE
    kind: Literal["order-signed"] = "order-signed"
    order: Identifier
    order_sha256: Digest
    key_id: KeyId


class PackageSealed(Event):
    """A watchlist was encrypted to its vans."""

    clauses, writer = (Clause.DISCLOSURE, Clause.DATABASE), Writer.OFFICE
    kind: Literal["package-sealed"] = "package-sealed"
    order: Identifier
    order_sha256: Digest
    watchlist_sha256: Digest
    pictures_sha256: Digest
    entries: Count
    vans: Ids


class RegistryWritten(Event):
    """A line was added to the office's registry: one whose digest is not here does not count."""

    clauses, writer = (Clause.OPERATION,), Writer.OFFICE
    kind: Literal["registry-written"] = "registry-written"
    line_sha256: Digest


class WorkspaceClosed(Event):
    """The office's references of a deployment were erased."""

    clauses, writer = (Clause.ERASURE,), Writer.OFFICE
    kind: Literal["workspace-closed"] = "workspace-closed"
    order: Identifier
    entries: Count
    receipts_owed: Ids


class ReceiptFiled(Event):
    """A van's erasure receipt arrived and its signature is valid."""

    clauses, writer = (Clause.ERASURE,), Writer.OFFICE
    kind: Literal["receipt-filed"] = "receipt-filed"
    order: Identifier
    van: Identifier
    receipt_sha256: Digest
    level: Identifier


OFFICE_EVENTS = tuple(Event.__subclasses__())
