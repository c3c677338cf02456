"""`lfr-edge van keygen`: the keys that belong to one van. Private halves never leave it."""

import argparse
from pathlib import Path

from lfr_edge.cli.key_folder import new_key_files
from lfr_edge.crypto.key_files import PUBLIC, write_new
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    keygen = actions.add_parser("keygen", help="make the key that signs alerts and the key that opens one deployment")
    keygen.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the key files go")


def run(options: argparse.Namespace) -> int:
    """Write the key files; refuses to overwrite any."""
    paths = new_key_files(options.out, ["alert.key", "alert.pub", "deployment.age", "deployment.recipient"])
    alert_key, alert_pub, deployment_key, recipient = paths
    alert, deployment = SigningKey.generate(), SealIdentity.generate()
    alert.to_file(alert_key)
    alert.public.to_file(alert_pub)
    deployment.to_file(deployment_key)
    write_new(recipient, f"{deployment.recipient}\n".encode("ascii"), mode=PUBLIC)
    print(f"{alert_key}: signs this van's alerts; keep it here\n{alert_pub}: give it to the control room")
    print(f"{deployment_key}: opens this van's watchlist; keep it here")
    print(f"{recipient}: give it to the watchlist office, for its orders")
    return 0
