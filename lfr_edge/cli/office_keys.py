"""`office setup` and `office keygen`: the office's own files, and keys that sign orders."""

import argparse
import getpass
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lfr_edge.cli.key_folder import new_key_files
from lfr_edge.crypto.key_files import read
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.files import new_file
from lfr_edge.messages.erasure import ErasureReceipt
from lfr_edge.messages.fields import IDENTIFIER
from lfr_edge.messages.prekey import Prekeys
from lfr_edge.office.desk import LOG_KEY, LOG_PUBLIC, OFFICE_FILE, WORKSPACE_KEY, new_office_file, read_desk

_SHORTEST = 12
_Signed = TypeVar("_Signed", Prekeys, ErasureReceipt)


def run(args: argparse.Namespace) -> int:
    """Make what was asked for."""
    return _setup(args) if args.action == "setup" else _keygen(args)


def ask_passphrase(path: Path) -> str:
    """Ask for the passphrase of a locked key, without showing it."""
    return _ask(f"passphrase of {path}: ")


def read_of_van(
    path: Path, option: str, force: str, opened: Callable[[bytes, VerifyKey], _Signed]
) -> tuple[_Signed, bytes]:
    """What a van signed, and its bytes: of this force, and of the van whose key it is, for no key vouches for others.

    `option` is that of --van-key, VAN=FILE. ConfigError if it is not, UntrustedInputError for another file.
    """
    van, separator, key = option.partition("=")
    if not (separator and key and re.fullmatch(IDENTIFIER, van)):
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"--van-key {option} does not name a van and its key",
            fix="write VAN=FILE, such as van-1=van-1-alert.pub",
        )
    fix = "give that van's file and that van's key, the alert.pub that 'lfr-edge provision' made there"
    try:
        content = read(path)
        signed = opened(content, VerifyKey.from_file(Path(key)))
    except UntrustedInputError as error:
        if error.reason is not Reason.SIGNER_UNKNOWN:
            raise
        raise UntrustedInputError(
            error.reason, f"{path} was not signed with the key of van '{van}', {key}", fix=fix
        ) from error
    if (signed.force, signed.van) != (force, van):
        raise UntrustedInputError(
            Reason.WRONG_VAN,
            f"{path} says that it is of van '{signed.van}' of '{signed.force}', not of '{van}' of '{force}'",
            fix=fix,
        )
    return signed, content


def _setup(args: argparse.Namespace) -> int:
    if not re.fullmatch(IDENTIFIER, args.force):
        raise ConfigError(
            Reason.VALUE_INVALID, f"'{args.force}' is not an id", fix="use lower-case letters, digits and hyphens"
        )
    names = [OFFICE_FILE, LOG_KEY, LOG_PUBLIC, WORKSPACE_KEY]
    with new_key_files(args.out, names) as (office, log_key, log_public, workspace_key):
        locked_with = None if args.no_passphrase else _new_passphrase("references")
        key = SigningKey.generate()
        # Not locked: every command appends to the log, and its key proves nothing but that this office wrote it.
        key.to_file(log_key)
        key.public.to_file(log_public)
        SealIdentity.generate().to_file(workspace_key, locked_with=locked_with)
        with new_file(office) as file:
            file.write(new_office_file(args.force).encode())
    read_desk(office)
    print(f"{office}: adapt its vocabulary to your policy")
    print(f"{log_public}: for whoever audits the office's log")
    print(f"{workspace_key}: opens references; back it up with the office's other keys")
    return 0


def _keygen(args: argparse.Namespace) -> int:
    with new_key_files(args.out, ["order.key", "order.pub"]) as (private, public):
        key = SigningKey.generate()
        key.to_file(private, locked_with=None if args.no_passphrase else _new_passphrase("order.key"))
        key.public.to_file(public)
    print(f"{private}: signs orders; it stays with its officer\n{public}: for every van's trusted_order_signers")
    print(f"key id {key.public.key_id}")
    return 0


def _new_passphrase(what: str) -> str:
    first = _ask(f"new passphrase for {what} (at least {_SHORTEST} characters): ")
    if len(first) < _SHORTEST:
        raise ConfigError(
            Reason.VALUE_INVALID, "this passphrase is too short", fix=f"use {_SHORTEST} characters or more: some words"
        )
    if _ask("once more: ") != first:
        raise ConfigError(Reason.VALUE_INVALID, "the two passphrases differ", fix="try again")
    return first


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            Reason.VALUE_INVALID,
            "a passphrase is needed, and there is no terminal to ask on",
            fix="run it in a terminal; keys made with --no-passphrase need none",
        )
    return getpass.getpass(prompt)
