"""Devices that a suite can be planned for: what their makers' datasheets say, and what is assumed to be reached of it.

Peaks are dense: figures with structured sparsity, which datasheets print larger, are halved. float32 products run
without TF32, as PyTorch has them by default. Importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pdebench.plan.roofline import Rates

# Assumed shares of a peak that a kernel reaches, the same on every device: round figures, not measurements. Products
# and attention are held to the precision's own peak; transforms, scans and convolutions, which are float32 under
# any autocast, to float32's. Most of the latter are bound by memory in any case.
EFFICIENCY: dict[str, float] = {
    "linear": 0.6,
    "attention": 0.4,
    "fft": 0.2,
    "scan": 0.2,
    "conv": 0.2,
    "memory": 0.75,
}
# Mamba-1's scan has a decay and an input for every state and token to form, 3 FLOPs beside the 6 that are counted of
# any scan (`cost.py`): of those it reaches that much less.
SELECTIVE = 6 / 9
# Seconds of the smallest operation: the pace at which a host hands operators out in eager mode, not the GPU's. It
# comes from training steps of three small models on an H200 that waited for its host (`results/gpu_h200`).
LAUNCH = 2.5e-5
USABLE = 0.92  # assumed share of a device's memory: the rest is the context's, the libraries' and lost between blocks
ASSUMED = (
    "nothing is fused: every operation reads and writes memory",
    "scans take the time of one kernel each, as mamba-ssm and flash-linear-attention have them, and the memory of "
    "their PyTorch forms",
    "Mamba-1's scans take half as long again as others of the same FLOPs, for decays that are not counted",
    "float32 products without TF32",
    "waiting for data, starting a process and talking to other devices take no time",
)


@dataclass(frozen=True)
class Device:
    """What a training step is held against.

    Attributes:
        key: as `--device` takes it.
        name: the device's full name.
        memory: bytes that a model may take.
        recorded_as: what a record's `device` (of a CPU: `cpu`) contains if its cell ran on such a device.
        rates: what is reached, by `train.precision`.
        auto: the precision that `auto` means there, `fp32` or `bf16`.
        capability: the first digit of a GPU's compute capability; 0: a CPU.
        basis: where the rates come from, for those who read the plan.
    """

    key: str
    name: str
    memory: int
    recorded_as: str
    rates: Mapping[str, Rates]
    auto: str
    capability: int
    basis: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if self.capability else "cpu"

    def arithmetic(self, precision: str) -> str:
        """`fp32` or `bf16`, of a `train.precision`."""
        return self.auto if precision == "auto" else precision

    def about(self) -> dict[str, Any]:
        """Everything that a prediction rests on, as plain data."""
        return {
            "device": self.key,
            "name": self.name,
            "memory_bytes": self.memory,
            "recorded_as": self.recorded_as,
            "rates": {precision: asdict(rates) for precision, rates in self.rates.items()},
            "auto": self.auto,
            "capability": self.capability,
            **self.basis,
        }


@dataclass(frozen=True)
class Datasheet:
    """A maker's figures: dense FLOP/s of matrix products in bf16 and of float32 without TF32, bytes/s, bytes.

    `capability` is the first digit of the compute capability, in NVIDIA's list of GPUs.

    `models` are the names, without the maker's, of devices that have just these FLOP/s: another form of a chip, a part
    of one (MIG) and a laptop's have others, though `recorded_as` may be in their names too.
    """

    name: str
    bf16: float
    fp32: float
    bandwidth: float
    memory: float
    recorded_as: str
    source: str
    models: tuple[str, ...]
    capability: int

    def peak(self, precision: str) -> float:
        """Dense FLOP/s of products in `fp32` or `bf16`."""
        return {"fp32": self.fp32, "bf16": self.bf16}[precision]

    def device(self, key: str) -> Device:
        """The device with what is assumed to be reached of the figures."""
        basis = {
            "basis": "datasheet and assumed efficiencies",
            "datasheet": {
                **{name: getattr(self, name) for name in ("bf16", "fp32", "bandwidth", "memory")},
                "source": self.source,
            },
            "efficiency": EFFICIENCY,
            "launch_seconds": LAUNCH,
            "usable_memory": USABLE,
            "assumed": ASSUMED,
        }
        peaks = {"auto": self.bf16, "bf16": self.bf16, "fp32": self.fp32}
        rates = {precision: self._rates(peak) for precision, peak in peaks.items()}
        return Device(
            key, self.name, int(self.memory * USABLE), self.recorded_as, rates, "bf16", self.capability, basis
        )

    def _rates(self, peak: float) -> Rates:
        flops = {kind: self.fp32 * EFFICIENCY[kind] for kind in ("fft", "scan", "conv")}
        flops |= {kind: peak * EFFICIENCY[kind] for kind in ("linear", "attention")}
        flops["selective_scan"] = flops["scan"] * SELECTIVE
        return Rates(flops, self.bandwidth * EFFICIENCY["memory"], LAUNCH)


DATASHEETS: dict[str, Datasheet] = {
    # NVIDIA H100 Tensor Core GPU datasheet, column H100 SXM: BFLOAT16 1,979 TFLOPS with sparsity; FP32 67 TFLOPS;
    # 3.35 TB/s
    "h100": Datasheet(
        "NVIDIA H100 SXM 80 GB", 989.5e12, 67e12, 3.35e12, 80e9, "H100", "NVIDIA H100 datasheet", ("H100 80GB HBM3",), 9
    ),
    # NVIDIA H200 Tensor Core GPU datasheet, column H200 SXM: BFLOAT16 1,979 TFLOPS with sparsity; FP32 67 TFLOPS;
    # 141 GB; 4.8 TB/s
    "h200": Datasheet(
        "NVIDIA H200 SXM 141 GB", 989.5e12, 67e12, 4.8e12, 141e9, "H200", "NVIDIA H200 datasheet", ("H200",), 9
    ),
    # NVIDIA A100 Tensor Core GPU datasheet, column A100 80GB SXM: BFLOAT16 312 TFLOPS; FP32 19.5 TFLOPS; 2,039 GB/s.
    # Its columns of 40 GB and of PCIe have the same FLOP/s.
    "a100": Datasheet(
        "NVIDIA A100 SXM 80 GB", 312e12, 19.5e12, 2.039e12, 80e9, "A100", "NVIDIA A100 datasheet",
        ("A100-SXM4-80GB", "A100-SXM4-40GB", "A100 80GB PCIe", "A100-PCIE-40GB"), 8,
    ),
    # NVIDIA L40S datasheet: BFLOAT16 362.05 TFLOPS (733 with sparsity); FP32 91.6 TFLOPS; 864 GB/s
    "l40s": Datasheet(
        "NVIDIA L40S 48 GB", 362.05e12, 91.6e12, 0.864e12, 48e9, "L40S", "NVIDIA L40S datasheet", ("L40S",), 8
    ),
    # NVIDIA Ada GPU architecture whitepaper, appendix A, RTX 4090: BF16 with FP32 accumulate 165.2 TFLOPS; FP32 82.6
    # TFLOPS; 1008 GB/s
    "4090": Datasheet(
        "NVIDIA GeForce RTX 4090 24 GB", 165.2e12, 82.6e12, 1.008e12, 24e9, "4090",
        "NVIDIA Ada architecture whitepaper", ("GeForce RTX 4090",), 8,
    ),
}  # fmt: skip


def datasheet_of(device: str) -> Datasheet | None:
    """The datasheet of a device by the name that its driver has for it; None: no datasheet is known to be its own."""
    model = device.removeprefix("NVIDIA ")
    return next((sheet for sheet in DATASHEETS.values() if model in sheet.models), None)
