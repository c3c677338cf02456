"""May this van carry out this package? Every question is asked here, before a camera opens.

A refusal is one error; nothing was decrypted, nothing is kept. The state machine over a deployment's life is the
deployment issue's; today a deployment is loaded by `run`, and ends with it.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

from lfr_edge.biometrics.arena import Arena
from lfr_edge.config import VanConfig
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.order import Order, VanAssignment, open_order
from lfr_edge.watchlist.container import read_watchlist
from lfr_edge.watchlist.package import Package, open_package
from lfr_edge.watchlist.references import Watchlist


@dataclass(frozen=True, slots=True)
class Deployment:
    """A verified order and the package it belongs to."""

    order: Order
    package: Package
    assignment: VanAssignment  # this van's part of the order

    def unseal(self, identity: SealIdentity, engine_set: EngineSet, arena: Arena) -> Watchlist:
        """Decrypt the list into leased memory. ConfigError if it was not sealed to this key.

        The digest is checked again, of the bytes that were decrypted: the file may have changed since `load`, anybody
        can seal a list to this van, and only the order says which one was signed.
        """
        if identity.recipient != self.assignment.recipient:
            raise ConfigError(
                Reason.WRONG_RECIPIENT,
                f"the list of order '{self.order.id}' was sealed to another deployment key than this van's",
                fix="name the key whose public half the office got as keys.deployment, or have the list sealed again",
            )
        dimension = engine_set.dimension
        sealed = self.package.watchlist()
        reader = cast(BinaryIO, sealed)  # decryption reads it, nothing else
        watchlist = read_watchlist(reader, identity, arena, contract=engine_set.contract, dimension=dimension)
        if sealed.sha256_to_end() != self.order.watchlist_sha256:
            watchlist.wipe()
            raise _not_signed("watchlist.age", self.order)
        return watchlist


def load(path: Path, config: VanConfig, engine_set: EngineSet, now: datetime) -> Deployment:
    """The deployment, if its order is signed by enough trusted officers and allows this van, here and now."""
    package = open_package(path)
    try:
        trusted = [VerifyKey.from_file(signer) for signer in config.keys.trusted_order_signers]
        order = open_order(package.order, trusted, threshold=config.keys.order_signatures)
        _check_members(order, package)
        assignment = _check_van(order, config)
        _check_engines(order, engine_set)
        _check_window(order, now)
    except BaseException:
        package.close()
        raise
    return Deployment(order, package, assignment)


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


def _check_window(order: Order, now: datetime) -> None:
    if not order.not_before <= now < order.not_after:
        raise PolicyError(
            Reason.OUTSIDE_WINDOW,
            f"order '{order.id}' runs from {order.not_before:%Y-%m-%d %H:%M} to {order.not_after:%Y-%m-%d %H:%M} UTC,"
            f" and it is {now:%Y-%m-%d %H:%M}",
            fix="wait for its window, check the clock, or have a new order signed",
        )
