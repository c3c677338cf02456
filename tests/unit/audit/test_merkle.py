"""Trees and proofs, against the published vectors and against the definitions of RFC 6962, written down once more."""

import hashlib
import json
from pathlib import Path

import pytest

from lfr_edge.audit.merkle import CompactTree, leaf_hash, node_hash, root_of_inclusion

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc6962" / "merkle.json").read_text("utf-8"))
PUBLISHED = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
LARGEST = 34  # past 2 ** 5, so that every shape of a right edge is there
LEAVES = [f"leaf {number}".encode() for number in range(LARGEST)]


def split(size: int) -> int:
    """The largest power of two smaller than the size."""
    return 1 << ((size - 1).bit_length() - 1)


def root_by_definition(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + root_by_definition(leaves[:k]) + root_by_definition(leaves[k:])).digest()


def path_by_definition(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path_by_definition(index, leaves[:k]), root_by_definition(leaves[k:])]
    return [*path_by_definition(index - k, leaves[k:]), root_by_definition(leaves[:k])]


def tree_of(leaves: list[bytes], *, follow: int | None = None) -> CompactTree:
    tree = CompactTree()
    for index, leaf in enumerate(leaves):
        tree.append(leaf_hash(leaf), follow=index == follow)
    return tree


def damaged(nodes: list[bytes]) -> list[list[bytes]]:
    """Every proof that is one step away from this one."""
    flipped = [[*nodes[:i], bytes([n[0] ^ 8]) + n[1:], *nodes[i + 1 :]] for i, n in enumerate(nodes)]
    dropped = [[*nodes[:i], *nodes[i + 1 :]] for i in range(len(nodes))]
    more = [[*nodes, b"\x00" * 32], [b"\x00" * 32, *nodes], [*nodes, b""]]
    return [*flipped, *dropped, *more, *([nodes[::-1]] if nodes != nodes[::-1] else [])]


def test_the_published_roots() -> None:
    assert CompactTree().root().hex() == VECTORS["empty_root"]
    for size, root in enumerate(VECTORS["roots"], 1):
        assert tree_of(PUBLISHED[:size]).root().hex() == root == root_by_definition(PUBLISHED[:size]).hex()


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=str)
def test_the_published_inclusion_proofs(vector: dict[str, int]) -> None:
    index, leaves = vector["index"], PUBLISHED[: vector["size"]]
    path = tree_of(leaves, follow=index).path()
    assert [node.hex() for node in path] == vector["path"]
    assert path == path_by_definition(index, leaves)
    root = root_of_inclusion(leaf_hash(leaves[index]), index, len(leaves), path)
    assert root is not None
    assert root.hex() == VECTORS["roots"][len(leaves) - 1]


def test_roots_and_proofs_of_every_size_are_those_of_the_definition() -> None:
    for size in range(1, LARGEST + 1):
        leaves = LEAVES[:size]
        root = root_by_definition(leaves)
        assert tree_of(leaves).root() == root
        for index in range(size):
            path = tree_of(leaves, follow=index).path()
            assert path == path_by_definition(index, leaves)
            assert root_of_inclusion(leaf_hash(leaves[index]), index, size, path) == root


def test_no_damaged_inclusion_proof_leads_to_the_root() -> None:
    for size in range(1, 14):
        root = root_by_definition(LEAVES[:size])
        for index in range(size):
            leaf, path = leaf_hash(LEAVES[index]), path_by_definition(index, LEAVES[:size])
            for wrong in damaged(path):
                assert root_of_inclusion(leaf, index, size, wrong) != root
            for other in {*range(-1, size + 2), index ^ 2} - {index}:
                assert root_of_inclusion(leaf, other, size, path) != root
            assert root_of_inclusion(leaf_hash(b"another"), index, size, path) != root
            assert root_of_inclusion(LEAVES[index], index, size, path) is None


def test_a_leaf_is_never_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_a_tree_of_many_leaves_remembers_few_hashes() -> None:
    tree = tree_of([b"x"] * 5_000, follow=77)
    assert len(tree._subtrees) <= 13
    assert len(tree._met) <= 13


def test_a_fork_leaves_its_origin_alone() -> None:
    tree = tree_of(LEAVES[:3], follow=1)
    before = tree.root(), tree.path()
    tree.fork().append(leaf_hash(b"more"))
    assert (tree.root(), tree.path()) == before
    assert tree.size == 3


def test_without_a_followed_node_there_is_no_path() -> None:
    with pytest.raises(RuntimeError):
        tree_of(LEAVES[:3]).path()
