"""In modules that hold leases, no call may make an array or bytes outside the arena."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "lfr_edge"
HOLDERS = sorted(
    path
    for folder in ("biometrics", "vision", "watchlist", "pipeline", "adapters")
    for path in (PACKAGE / folder).rglob("*.py")
)
# Methods and functions that return a fresh array or bytes, whatever they are called on.
ALWAYS = {"copy", "deepcopy", "tobytes", "astype", "flatten", "save", "savez", "tofile", "imwrite", "dump", "dumps"}
# numpy functions that do unless they are told where to write.
WITHOUT_OUT = {
    "stack",
    "hstack",
    "vstack",
    "dstack",
    "concatenate",
    "array",
    "ascontiguousarray",
    "where",
    "pad",
    "tile",
    "repeat",
}
IMPORTS = {"pickle", "shelve", "marshal"}

# Each with the reason why it holds no passer-by.
ALLOWED = {
    ("watchlist/container.py", "save"): "safetensors at the office: templates of enrolled people",
    (
        "adapters/evidence.py",
        "ascontiguousarray",
    ): "the sanctioned copy out: the matched person's sample, an obscured context",
    ("adapters/evidence.py", "save"): "the same, as JPEG",
}


def violations(source: str) -> set[str]:
    """Banned names used in the source."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            has_out = any(keyword.arg == "out" for keyword in node.keywords)
            if name in ALWAYS or (name in WITHOUT_OUT and not has_out):
                found.add(name)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.List | ast.Compare | ast.Call):
            if not isinstance(node.ctx, ast.Store) and not _is_annotation(node) and not _is_slice_call(node.slice):
                found.add("fancy indexing")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found |= {str(name) for name in names & IMPORTS}
    return found


def _is_annotation(node: ast.Subscript) -> bool:
    base = node.value
    return isinstance(base, ast.Name) and base.id in {"Callable", "Literal", "Annotated"}


def _is_slice_call(index: ast.expr) -> bool:
    return (
        isinstance(index, ast.Call)
        and isinstance(index.func, ast.Name)
        and index.func.id in {"slice", "int", "len", "min", "max"}
    )


@pytest.mark.parametrize("path", HOLDERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_that_holds_leases_copies_out_of_them(path: Path) -> None:
    relative = str(path.relative_to(PACKAGE))
    found = {name for name in violations(path.read_text(encoding="utf-8")) if (relative, name) not in ALLOWED}
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


def test_every_exception_is_still_needed() -> None:
    for relative, name in ALLOWED:
        assert name in violations((PACKAGE / relative).read_text(encoding="utf-8")), f"{relative} no longer uses {name}"
