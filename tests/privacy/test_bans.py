"""In modules that hold leases, no call may make an array or bytes outside the arena.

This reads the syntax tree, which knows names but neither types nor values. It does not see arithmetic without `out=`
(`crop * 2`), what detection gathers boxes with (`np.take`, `np.compress`, `tolist`) on pixels, an array as an index
whose name comes from elsewhere, a function under another name (`keep = np.stack`), or what a library does inside.
`test_allocations` sees those: it records every allocation while pictures are recognised, whoever makes it. But it sees
only what that run executes, and this sees the rest. `evaluation/` is not read: it works on clips and stills at the
office, never in a van.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "lfr_edge"
HOLDERS = sorted(
    path
    for folder in ("biometrics", "vision", "watchlist", "pipeline", "adapters", "van")
    for path in (PACKAGE / folder).rglob("*.py")
)
# Methods and functions that return a fresh array or bytes, whatever they are called on.
ALWAYS = {
    "copy",
    "deepcopy",
    "tobytes",
    "astype",
    "flatten",
    "save",
    "savez",
    "tofile",
    "imwrite",
    "dump",
    "dumps",
}
# numpy functions that do unless they are told where to write.
WITHOUT_OUT = {
    "stack",
    "hstack",
    "vstack",
    "dstack",
    "concatenate",
    "column_stack",
    "block",
    "array",
    "ascontiguousarray",
    "asfortranarray",
    "where",
    "pad",
    "tile",
    "repeat",
}
IMPORTS = {"pickle", "shelve", "marshal"}

# numpy's ways to say which elements. What they return is a mask or a list of places, and to index with it is to copy.
CHOOSING = {
    "argpartition",
    "argsort",
    "argwhere",
    "flatnonzero",
    "isfinite",
    "isin",
    "lexsort",
    "logical_and",
    "logical_not",
    "logical_or",
    "nonzero",
    "where",
}
CHOOSING_TYPE = re.compile(r"NDArray\[np\.(intp|bool_|u?int(16|32|64))\]")

# How often, and the reason why it holds no passer-by.
ALLOWED = {
    ("watchlist/container.py", "save"): (1, "safetensors at the office: templates of enrolled people"),
    ("adapters/evidence.py", "ascontiguousarray"): (
        1,
        "the sanctioned copy out: the matched person's sample, an obscured context",
    ),
    ("adapters/evidence.py", "save"): (1, "the same, as JPEG"),
}


def violations(source: str) -> Counter[str]:
    """Banned names in the source, and how often each is used."""
    tree = ast.parse(source)
    choosing, types = set(_choosing_names(tree)), set(_annotations(tree))
    found: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _called(node)
            has_out = any(keyword.arg == "out" for keyword in node.keywords)
            if name in ALWAYS or (name in WITHOUT_OUT and not has_out):
                found[name] += 1
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Store) and node not in types:
            indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if any(_chooses(index) or ast.unparse(index) in choosing for index in indices):
                found["fancy indexing"] += 1
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found.update(str(name) for name in names & IMPORTS)
    return found


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _chooses(index: ast.expr) -> bool:
    """Whether the expression, used as an index, is a list, a mask, or whatever a call returns."""
    if isinstance(index, ast.Call):
        return not _is_slice_call(index)
    return isinstance(index, ast.List | ast.Compare) or _is_mask(index)


def _is_mask(value: ast.expr) -> bool:
    inverted = isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Invert)
    return inverted or (isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitAnd | ast.BitOr))


def _choosing_names(tree: ast.Module) -> Iterator[str]:
    """Names and attributes that hold a mask or places, by what is assigned to them or by their annotation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.NamedExpr):
            value = node.value
            if isinstance(value, ast.Compare) or _is_mask(value) or _called_in(value) in CHOOSING:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    yield from map(ast.unparse, target.elts if isinstance(target, ast.Tuple) else [target])
        elif isinstance(node, ast.arg | ast.AnnAssign) and CHOOSING_TYPE.search(_annotation(node)):
            yield node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)


def _annotation(node: ast.arg | ast.AnnAssign) -> str:
    return "" if node.annotation is None else ast.unparse(node.annotation)


def _called_in(value: ast.expr) -> str:
    """The function that is called; of `np.nonzero(...)[0]` too."""
    while isinstance(value, ast.Subscript):
        value = value.value
    return _called(value) if isinstance(value, ast.Call) else ""


def _annotations(tree: ast.Module) -> Iterator[ast.AST]:
    """Everything that stands where a type does: `dict[str, A | B]` is no mask."""
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if (annotation := getattr(node, field, None)) is not None:
                yield from ast.walk(annotation)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in {"Callable", "Literal", "Annotated"}:
            yield node


def _is_slice_call(index: ast.expr) -> bool:
    return (
        isinstance(index, ast.Call)
        and isinstance(index.func, ast.Name)
        and index.func.id in {"slice", "int", "len", "min", "max"}
    )


@pytest.mark.parametrize("path", HOLDERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_that_holds_leases_copies_out_of_them(path: Path) -> None:
    relative = str(path.relative_to(PACKAGE))
    allowed = Counter({name: count for (file, name), (count, _) in ALLOWED.items() if file == relative})
    found = violations(path.read_text(encoding="utf-8")) - allowed
    assert not found, f"{relative} uses {sorted(found)}: write into a lease with out= instead"


@pytest.mark.parametrize(
    "planted",
    [
        "kept = frame.copy()",
        "kept = frame.image.pixels.tobytes()",
        "kept = crop.astype('float32')",
        "kept = np.stack([crop, mirrored])",
        "kept = features[features > 0]",
        "kept = pixels[[1, 2, 3]]",
        "kept = pixels[:, [1, 2, 3]]",
        "mask = features > 0\nkept = features[mask]",
        "kept = features[mask] if (mask := features > 0).any() else None",
        "kept = features[~silent]",
        "kept = features[wide & tall]",
        "best = np.argsort(scores)[::-1]\nkept = features[best]",
        "rows, columns = np.nonzero(mask)\nkept = pixels[rows, columns]",
        "self.places = scores.argsort()\nkept = features[self.places]",
        "def keep(features, places: NDArray[np.intp]): return features[places]",
        "import pickle",
        "from pickle import dumps",
        "cv2.imwrite('x.png', crop)",
    ],
)
def test_a_planted_copy_is_found(planted: str) -> None:
    assert violations(planted)


def test_writing_into_a_lease_is_allowed() -> None:
    assert not violations(
        "np.take(pixels, index, axis=0, out=crop, mode='clip'); np.concatenate(parts, out=lease.array)"
    )


def test_an_exception_is_for_so_many_uses_and_no_more() -> None:
    evidence = (PACKAGE / "adapters/evidence.py").read_text(encoding="utf-8")
    assert violations(evidence + "\npicture.save(path)\n")["save"] > ALLOWED["adapters/evidence.py", "save"][0]


def test_every_exception_is_still_needed() -> None:
    for (relative, name), (count, _) in ALLOWED.items():
        used = violations((PACKAGE / relative).read_text(encoding="utf-8"))[name]
        assert used == count, f"{relative} uses {name} {used} times"


def test_an_index_that_is_a_number_is_no_alarm() -> None:
    assert not violations("best = int(np.argmax(scores)); entry = entries[best]; face = crops[index * 2, ..., axis]")
