"""`lfr-edge van keygen`: the keys that belong to one van. Private halves never leave it."""

import argparse
from pathlib import Path

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    keygen = actions.add_parser("keygen", help="make the key that signs alerts and the key that opens one deployment")
    keygen.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the key files go")


def run(options: argparse.Namespace) -> int:
    """Write the key files; refuses to overwrite any."""
    options.out.mkdir(parents=True, exist_ok=True, mode=0o700)
    alert, deployment = SigningKey.generate(), SealIdentity.generate()
    alert.to_file(options.out / "alert.key")
    alert.public.to_file(options.out / "alert.pub")
    deployment.to_file(options.out / "deployment.age")
    print(f"{options.out}/alert.key       signs this van's alerts; never leaves it")
    print(f"{options.out}/alert.pub       give it to the control room")
    print(f"{options.out}/deployment.age  opens this van's watchlist; never leaves it")
    print(f"{deployment.recipient}  give this to the watchlist office")
    return 0
