"""May this van carry out this package? Every question is asked here, before a camera opens.

A refusal is one error; nothing was decrypted, nothing is kept. When the van may see is for `lifecycle`, and which time
it is for `trusted_time`.
"""

import resource
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

from lfr_edge.biometrics.arena import Arena
from lfr_edge.config import VanConfig
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import Purpose, VerifyKey, signers
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.order import Order, VanAssignment, open_order
from lfr_edge.watchlist.budget import Calibration, check_budget
from lfr_edge.watchlist.container import read_watchlist
from lfr_edge.watchlist.package import Package, open_package
from lfr_edge.watchlist.references import Watchlist


@dataclass(frozen=True, slots=True)
class Deployment:
    """A verified order and the package it belongs to."""

    order: Order
    package: Package
    assignment: VanAssignment  # this van's part of the order
    signers: tuple[VerifyKey, ...] = ()  # those whose signatures are valid

    def require_key(self, identity: SealIdentity) -> None:
        """ConfigError if the list was sealed to another key."""
        if identity.recipient != self.assignment.recipient:
            raise ConfigError(
                Reason.WRONG_RECIPIENT,
                f"the list of order '{self.order.id}' was sealed to another deployment key than this van's",
                fix="have it sealed again, to a prekey that this van has and that was not used yet",
            )

    def close(self) -> None:
        """Close the package's file."""
        self.package.close()

    def unseal(
        self, identity: SealIdentity, engine_set: EngineSet, arena: Arena, share: SealIdentity | None = None
    ) -> Watchlist:
        """Decrypt the list into leased memory. ConfigError if it was not sealed to this key.

        PolicyError without the `share` that the order asks for, or with one that it does not.

        The digest is checked again, of the bytes that were decrypted: the file may have changed since `load`, anybody
        can seal a list to this van, and only the order says which one was signed.
        """
        self.require_key(identity)
        if (share.recipient if share is not None else None) != self.order.unlock_recipient:
            raise PolicyError(
                Reason.UNLOCK_REQUIRED,
                f"the list of order '{self.order.id}' opens with the order's unlock share only",
                fix="give it: lfr-edge deployment unlock",
            )
        dimension = engine_set.dimension
        sealed = self.package.watchlist()
        reader = cast(BinaryIO, sealed)  # decryption reads it, nothing else
        contract = engine_set.contract
        watchlist = read_watchlist(reader, identity, arena, contract=contract, dimension=dimension, share=share)
        if sealed.sha256_to_end() != self.order.watchlist_sha256:
            watchlist.wipe()
            raise _not_signed("watchlist.age", self.order)
        found, signed = (len(watchlist), watchlist.template_count), (self.order.list_size, self.order.template_count)
        if found != signed:
            watchlist.wipe()
            raise PolicyError(
                Reason.BUDGET_EXCEEDED,
                f"the list has {found[0]} entries with {found[1]} templates, and order '{self.order.id}' says"
                f" {signed[0]} with {signed[1]}",
                fix="have the package sealed again: its budget was computed for another list",
            )
        try:
            self.package.pictures.require(watchlist.entries)
        except UntrustedInputError:
            watchlist.wipe()
            raise
        return watchlist


def load(path: Path, config: VanConfig, engine_set: EngineSet, now: datetime) -> Deployment:
    """The deployment, if `check` allows it and its window is open now."""
    deployment = check(path, config, engine_set)
    try:
        _check_window(deployment.order, now)
    except BaseException:
        deployment.close()
        raise
    return deployment


def check(path: Path, config: VanConfig, engine_set: EngineSet) -> Deployment:
    """The deployment, if its order is signed by enough trusted officers and allows this van, whenever that may be."""
    package = open_package(path)
    try:
        trusted = [VerifyKey.from_file(signer) for signer in config.keys.trusted_order_signers]
        order = open_order(package.order, trusted, threshold=config.keys.order_signatures)
        _check_members(order, package)
        assignment = _check_van(order, config)
        _check_engines(order, engine_set)
        check_budget(order, _calibration_of(engine_set))
        _check_machine(order)
        signed_by = tuple(signers(package.order, Purpose.ORDER, trusted))
    except BaseException:
        package.close()
        raise
    return Deployment(order, package, assignment, signed_by)


def _check_members(order: Order, package: Package) -> None:
    pairs = (
        ("watchlist.age", order.watchlist_sha256, package.watchlist_sha256),
        ("pictures.bin", order.pictures_sha256, package.pictures_sha256),
    )
    for member, signed, found in pairs:
        if signed != found:
            raise _not_signed(member, order)


def _not_signed(member: str, order: Order) -> UntrustedInputError:
    return UntrustedInputError(
        Reason.DIGEST_MISMATCH,
        f"{member} is not the one that order '{order.id}' was signed for",
        fix="copy the package again from the watchlist office",
    )


def _check_van(order: Order, config: VanConfig) -> VanAssignment:
    assignment = next((assignment for assignment in order.vans if assignment.id == config.van), None)
    if order.force != config.force or assignment is None:
        raise PolicyError(
            Reason.WRONG_VAN,
            f"order '{order.id}' is not for van '{config.van}' of force '{config.force}'",
            fix="load the package that was sealed for this van",
        )
    unknown = sorted({camera.id for camera in config.cameras} - set(assignment.cameras))
    if unknown:
        raise PolicyError(
            Reason.WRONG_CAMERA,
            f"order '{order.id}' does not allow the camera(s) {', '.join(unknown)}",
            fix="take them out of the van's configuration, or have the order name them",
        )
    if order.demo and not config.demo_orders:
        raise PolicyError(
            Reason.DEMO_ORDER, f"order '{order.id}' is a demo", fix="a production van takes signed deployments only"
        )
    return assignment


def _check_engines(order: Order, engine_set: EngineSet) -> None:
    if order.contract != engine_set.contract:
        raise PolicyError(
            Reason.CONTRACT_MISMATCH,
            f"the list of order '{order.id}' was made under another contract than that of '{engine_set.name}'",
            fix="install the engine set that the office enrolled with, or enrol again",
        )
    if engine_set.digest not in order.engine_sets:
        raise PolicyError(
            Reason.ENGINE_SET_NOT_ALLOWED,
            f"order '{order.id}' does not allow this release of the engine set '{engine_set.name}'",
            fix="install the release that the order names, or have the order allow this one",
        )
    if order.threshold < engine_set.threshold_floor:
        raise PolicyError(
            Reason.THRESHOLD_BELOW_FLOOR,
            f"order '{order.id}' asks for the threshold {order.threshold}, below the floor"
            f" {engine_set.threshold_floor} of '{engine_set.name}'",
            fix="have the order signed with a higher threshold",
        )


def _calibration_of(engine_set: EngineSet) -> Calibration:
    measured = engine_set.calibration
    return Calibration(
        measured.list_size, measured.strangers, tuple((point.threshold, point.fpir) for point in measured.points)
    )


def _check_machine(order: Order) -> None:
    """What the order asks of this machine's memory and keys."""
    if order.key_protection != "file":
        raise PolicyError(
            Reason.KEY_PROTECTION_TOO_WEAK,
            f"order '{order.id}' asks for keys protected by '{order.key_protection}', and here they are files",
            fix="use a van that protects them so, or have an order signed that allows files",
        )
    if order.no_swap and swap_is_on():
        raise PolicyError(
            Reason.SWAP_POSSIBLE, f"order '{order.id}' forbids swap, and this machine has some", fix="swapoff --all"
        )
    if order.no_core_dumps and core_files_are_possible():
        raise PolicyError(
            Reason.CORE_FILES_POSSIBLE,
            f"order '{order.id}' forbids core files, and this process could leave one",
            fix="start it with LimitCORE=0 (ulimit -c 0)",
        )


def swap_is_on(swaps: Path = Path("/proc/swaps")) -> bool:
    """Whether memory could be written to a swap file or partition; its first line is a heading."""
    return len(swaps.read_text("ascii", errors="replace").splitlines()) > 1


def core_files_are_possible() -> bool:
    """Whether this process could leave a core file; a limit of one byte is too little for any."""
    return resource.getrlimit(resource.RLIMIT_CORE)[0] not in {0, 1}


def _check_window(order: Order, now: datetime) -> None:
    if not order.not_before <= now < order.not_after:
        raise PolicyError(
            Reason.OUTSIDE_WINDOW,
            f"order '{order.id}' runs from {order.not_before:%Y-%m-%d %H:%M} to {order.not_after:%Y-%m-%d %H:%M} UTC,"
            f" and it is {now:%Y-%m-%d %H:%M}",
            fix="wait for its window, check the clock, or have a new order signed",
        )
