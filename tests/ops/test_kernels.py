"""Optional kernels: what counts as present, and what is said of an absent one. The packages are stand-ins."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from pdebench.models.backbone import create_model
from pdebench.models.registry import FAMILIES
from pdebench.ops import kernels


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was looked for before, nothing is installed, and what a test finds is forgotten."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"mamba_ssm", "causal_conv1d", "fla"}]:
        monkeypatch.delitem(sys.modules, name)
    for top in ("mamba_ssm", "selective_scan_cuda", "causal_conv1d", "fla"):
        monkeypatch.setitem(sys.modules, top, None)
    cached = kernels.find, kernels.load  # a test may patch them
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def install(monkeypatch: pytest.MonkeyPatch, what: str, version: str = "2.2.4") -> object:
    """Stand-in modules as the package of `what` lays them out; returns the function."""
    kernel = kernels.KERNELS[what]
    path = kernel.module.split(".")
    for i in range(len(path)):
        name = ".".join(path[: i + 1])
        if sys.modules.get(name) is None:
            module = ModuleType(name)
            module.__path__ = []
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules[path[0]], "__version__", version, raising=False)
    if kernel.compiled is not None:
        monkeypatch.setitem(sys.modules, kernel.compiled, ModuleType(kernel.compiled))

    def function() -> None: ...

    monkeypatch.setattr(sys.modules[kernel.module], kernel.function, function, raising=False)
    return function


@pytest.mark.parametrize("what", kernels.KERNELS)
def test_a_kernel_that_imports_is_used_and_named_with_its_version(
    monkeypatch: pytest.MonkeyPatch, cuda: None, what: str
) -> None:
    function = install(monkeypatch, what)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.load(what) is function
        kernel = kernels.KERNELS[what]
        assert kernels.described(what, "slowly") == f"{kernel.package} 2.2.4 {kernel.function}"


@pytest.mark.parametrize("what", kernels.KERNELS)
def test_without_a_cuda_device_no_kernel_is_imported_or_missed(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    install(monkeypatch, what)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.load(what) is None
        assert kernels.described(what, "slowly") == "slowly"
    assert kernels.find.cache_info().currsize == 0


@pytest.mark.parametrize("what", kernels.KERNELS)
def test_a_slow_path_is_told_once_with_the_way_to_the_kernel(cuda: None, what: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert kernels.load(what) is None
        assert kernels.load(what) is None
        assert kernels.described(what, "slowly") == "slowly"
    (warning,) = told
    kernel, text = kernels.KERNELS[what], str(warning.message)
    assert kernel.function in text
    assert "not installed" in text
    assert kernel.instead in text
    assert kernel.remedy in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["mamba_ssm", "selective_scan_cuda"])
def test_a_missing_package_and_a_package_with_a_missing_part_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def import_module(module: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(kernels.importlib, "import_module", import_module)
    reason = kernels.find("selective_scan").reason
    assert reason == ("not installed" if name == "mamba_ssm" else f"needs the module {name}, which is not installed")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("selective_scan_cuda.so: undefined symbol: _ZN3c10\nmore"),
        OSError("libcudart.so.11.0: cannot open shared object file"),
        RuntimeError("built for sm_80"),
        AttributeError("module 'triton' has no attribute 'jit'"),
        SyntaxError(""),
    ],
)
def test_a_broken_build_is_an_absence_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, cuda: None, error: Exception
) -> None:
    def import_module(module: str) -> ModuleType:
        raise error

    monkeypatch.setattr(kernels.importlib, "import_module", import_module)
    with pytest.warns(UserWarning, match=f"import fails with {type(error).__name__}"):
        assert kernels.load("selective_scan") is None
    reason = kernels.find("selective_scan").reason
    assert (str(error).splitlines() or [""])[0] in reason
    assert "\n" not in reason


def test_a_package_that_was_installed_without_its_compiled_part_is_an_absence(
    monkeypatch: pytest.MonkeyPatch, cuda: None
) -> None:
    """mamba-ssm built without CUDA imports, and fails when it is called."""
    install(monkeypatch, "selective_scan")
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", None)
    with pytest.warns(UserWarning, match="needs the module selective_scan_cuda, which is not installed"):
        assert kernels.load("selective_scan") is None


def test_a_package_without_the_function_is_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "ssd")
    monkeypatch.setattr(sys.modules["mamba_ssm.ops.triton.ssd_combined"], "mamba_chunk_scan_combined", None)
    assert kernels.find("ssd").function is None
    assert "is None" in kernels.find("ssd").reason
    kernels.find.cache_clear()
    monkeypatch.delattr(sys.modules["mamba_ssm.ops.triton.ssd_combined"], "mamba_chunk_scan_combined")
    assert "mamba_chunk_scan_combined" in kernels.find("ssd").reason


def test_an_import_on_the_meta_device_keeps_its_constants(
    monkeypatch: pytest.MonkeyPatch, cuda: None, tmp_path: Path
) -> None:
    """Models are counted on the meta device, and a package that is imported meanwhile serves the real one after."""
    monkeypatch.delitem(sys.modules, "causal_conv1d")
    (tmp_path / "causal_conv1d.py").write_text(
        "import torch\nONE = torch.ones(1)\ndef causal_conv1d_fn(): return ONE\n__version__ = '1.5'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with torch.device("meta"):
        function = kernels.load("causal_conv1d")
    assert function is not None
    assert function().item() == 1
    del sys.modules["causal_conv1d"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_says_which_kernels_a_family_uses(monkeypatch: pytest.MonkeyPatch, cuda: None, family: str) -> None:
    for what in kernels.KERNELS:
        install(monkeypatch, what)
    asked = []
    find = kernels.find
    monkeypatch.setattr(kernels, "find", lambda what: asked.append(what) or find(what))
    with torch.device("meta"):
        model = create_model(f"{family}-XXS/4")
    uses = [what for what, kernel in kernels.KERNELS.items() if family in kernel.families]
    assert set(asked) == set(uses)
    for what in uses:
        assert kernels.KERNELS[what].function in model.mixer_implementation


def test_the_table_needs_no_torch() -> None:
    script = "import sys, pdebench.ops.kernels; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_kernels_are_for_cuda_tensors_of_at_most_32_bits() -> None:
    def tensor(is_cuda: bool, dtype: torch.dtype) -> SimpleNamespace:
        return SimpleNamespace(is_cuda=is_cuda, element_size=lambda: dtype.itemsize)

    assert kernels.suit(tensor(True, torch.bfloat16))
    assert kernels.suit(tensor(True, torch.float32))
    assert not kernels.suit(tensor(True, torch.float64))
    assert not kernels.suit(torch.zeros(1))


@pytest.mark.parametrize("what", kernels.KERNELS)
def test_an_old_version_whose_arguments_may_differ_is_an_absence(
    monkeypatch: pytest.MonkeyPatch, cuda: None, what: str
) -> None:
    install(monkeypatch, what, version="0.2.9")
    with pytest.warns(UserWarning, match=r"version 0\.2\.9 is too old, .* or newer is needed") as told:
        assert kernels.load(what) is None
    assert f">={kernels.KERNELS[what].least}'" in str(told[0].message)
