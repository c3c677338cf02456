"""Merkle trees of RFC 6962 (section 2) and RFC 9162 (section 2.1): hashes, growing roots, proofs.

Sans I/O: leaves go in one by one, memory grows with the logarithm of their number. What a leaf is, and who signs a
root, is not known here.
"""

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32


def leaf_hash(content: bytes) -> bytes:
    """The hash of a leaf; its prefix keeps it from ever being a node's (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two hashes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactTree:
    """A tree that forgets its leaves: it keeps one hash for each perfect subtree, largest and oldest first.

    It can follow one node while it grows: the siblings that the node meets on its way up are its proof.
    """

    __slots__ = ("_followed", "_met", "_subtrees", "size")

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []
        self._followed = -1  # its place among the subtrees
        self._met: list[bytes] = []

    def append(self, leaf: bytes, *, follow: bool = False) -> None:
        """Add a leaf by its hash; `follow` it from here on."""
        self._subtrees.append(leaf)
        self.size += 1
        if follow:
            self._followed, self._met = len(self._subtrees) - 1, []
        for _ in range(_trailing_zeros(self.size)):
            self._join_last()

    def fork(self) -> "CompactTree":
        """A tree that goes on from here by itself."""
        other = CompactTree()
        other.size, other._subtrees = self.size, list(self._subtrees)
        other._followed, other._met = self._followed, list(self._met)
        return other

    def root(self) -> bytes:
        """The root over all leaves so far; of no leaves, the hash of nothing."""
        if not self._subtrees:
            return hashlib.sha256().digest()
        root = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            root = node_hash(left, root)
        return root

    def path(self) -> list[bytes]:
        """Siblings from the followed node to the root, as of now."""
        if self._followed < 0:
            raise RuntimeError("no node is followed")
        path, followed, right = list(self._met), self._followed, self._subtrees[-1]
        for place in reversed(range(len(self._subtrees) - 1)):
            left = self._subtrees[place]
            if followed == place:
                path.append(right)
            elif followed == place + 1:
                path.append(left)
                followed = place
            right = node_hash(left, right)
        return path

    def _join_last(self) -> None:
        """Put the node over the last two subtrees in their place."""
        right, left = self._subtrees.pop(), self._subtrees.pop()
        place = len(self._subtrees)
        if self._followed == place:
            self._met.append(right)
        elif self._followed == place + 1:
            self._met.append(left)
            self._followed = place
        self._subtrees.append(node_hash(left, right))


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def root_of_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root of the tree of `size` in which `path` leads from this leaf up; None if no path has this shape."""
    if not 0 <= index < size or any(len(node) != HASH_BYTES for node in (leaf, *path)):
        return None
    # RFC 9162, 2.1.3.2, whose names are fn, sn and r.
    place, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            root = node_hash(sibling, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        place, last = place >> 1, last >> 1
    return root if last == 0 else None
