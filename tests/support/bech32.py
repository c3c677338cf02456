"""The 32 bytes of an age identity, to look for them; by BIP 173, without its checksum: pyrage checks that."""

from lfr_edge.crypto.sealed import SealIdentity

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def secret_bytes(identity: SealIdentity) -> bytes:
    """As they would lie in memory."""
    symbols = identity.secret.lower().rpartition("1")[2][:-6]
    bits = "".join(f"{_ALPHABET.index(symbol):05b}" for symbol in symbols)
    return int(bits[:256], 2).to_bytes(32, "big")
