"""`lfr-edge provision`: make this machine a van. So far its keys; private halves never leave it."""

import argparse
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.provisioning.identity import KeyPair, provide_signing_key, provide_trial_deployment_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--identity-only", action="store_true", help="make or mend this van's keys, and nothing else")
    parser.add_argument(
        "--out", type=Path, default=Path("/etc/lfr-edge/keys"), metavar="DIR", help="the keys' folder: %(default)s"
    )
    parser.add_argument(
        "--trial-deployment-key",
        action="store_true",
        help="also a lasting key that opens watchlists, for demos and trials; prekeys are what deployments use",
    )


def run(options: argparse.Namespace) -> int:
    """Make what is missing, mend what can be, and say so."""
    if not options.identity_only:
        raise ConfigError(
            Reason.VALUE_INVALID,
            "provisioning a whole van, with its certificates and its service, is not there yet",
            fix="make its keys with --identity-only, and write its configuration by hand (docs/configuration.md)",
        )
    signing = provide_signing_key(options.out)
    _show(signing)
    print(f"{signing.private}: signs this van's alerts, prekeys, receipts and log; it never leaves the van")
    print(f"{signing.public}: give it to the control room, the watchlist office and auditors")
    if options.trial_deployment_key:
        deployment = provide_trial_deployment_key(options.out)
        _show(deployment)
        print(f"{deployment.private}: opens watchlists for trials; it never leaves the van")
        print(f"{deployment.public}: give it to the watchlist office, for its orders")
    return 0


def _show(pair: KeyPair) -> None:
    for change in pair.changes or (f"{pair.private.name}, {pair.public.name}: there, and as they should be",):
        print(change)
