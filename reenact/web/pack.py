"""A splat avatar packed for a browser: one block of bytes, and a table that says what lies where.

Numbers of each Gaussian take 16 bits between the ends of their channel, its corrections 8 (see ``recon.storage``);
shapes of the mesh are kept for the vertices that they move, in 16 bits. All else is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.storage import quantised
from studio.codes import JOINT_SIZES, Codes
from studio.heads.model import JOINTS
from studio.kernels.drive import CHANNELS

_KINDS = {np.dtype(code): code[1:] if code[0] == "<" else code for code in ("<f4", "<u4", "<u2", "<i2", "u1")}
_STEPS = 65_535


class Block:
    """Arrays one after the other, each on a multiple of 4 bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.table: dict[str, dict[str, Any]] = {}

    def add(self, name: str, values: np.ndarray | Tensor, dtype: str = "<f4") -> None:
        """An array as it is."""
        array = np.ascontiguousarray(values.detach().numpy() if isinstance(values, Tensor) else values).astype(dtype)
        self.table[name] = {"kind": _KINDS[array.dtype], "offset": self.place(array.tobytes()), "length": array.size}

    def add_packed(self, name: str, values: Tensor) -> None:
        """An array [N, C] or [N] in 16 bits for each number, between the ends of its channel."""
        rows = values.detach().double().reshape(len(values), -1).numpy()
        low, high = rows.min(axis=0), rows.max(axis=0)
        step = np.maximum(high - low, 1e-12) / _STEPS
        self.add(name, np.rint((rows - low) / step), "<u2")
        self.table[name] |= {"low": low.tolist(), "step": step.tolist()}

    def place(self, data: bytes) -> int:
        """Append bytes; returns where they begin."""
        self.data += bytes(-len(self.data) % 4)
        self.data += data
        return len(self.data) - len(data)


def pack(avatar: SplatAvatar) -> tuple[Block, dict[str, Any]]:
    """The avatar's arrays and the numbers that the worker needs beside them."""
    block, learned, binding = Block(), avatar.learned, avatar.binding
    _add_mesh(block, avatar)
    kind = "<u2" if len(avatar.head.template) <= 65536 else "<u4"
    block.add("corners", avatar.head.faces[binding.faces], kind)
    block.add_packed("bary", binding.bary[:, :2])
    block.add("part", binding.parts, "u1")
    names = {"offsets": learned.offsets, "quats": learned.quats, "logScales": learned.log_scales}
    names |= {"opacityLogits": learned.opacity_logits, "colors": learned.colors}
    for name, values in names.items():
        block.add_packed(name, values)
    _add_bases(block, learned.bases.detach(), len(learned))
    for name in ("mean", "projection", "low", "high"):
        block.add(name, getattr(avatar.statistics, name))
    networks = learned.weights.layers()
    for index, network in enumerate(networks):
        for name, value in network.items():  # "0.weight", "0.bias", "2.weight" …: every other layer is SiLU
            layer, kind = name.split(".")
            block.add(f"network{index}/{int(layer) // 2}/{kind}", value)
    joints = list(JOINT_SIZES)
    return block, {
        "gaussians": len(learned),
        "channels": list(avatar.space.channels),
        "parts": len(networks),
        "bases": learned.config.bases,
        "sizes": avatar.statistics.sizes.tolist(),
        "gains": learned.gains._asdict(),
        "torso": JOINTS.index("torso"),
        "neckTranslation": sum(JOINT_SIZES[name] for name in joints[: joints.index("neck_translation")]),
    }


def _add_mesh(block: Block, avatar: SplatAvatar) -> None:
    head, size = avatar.head, len(avatar.space) + sum(JOINT_SIZES.values())
    block.add("template", head.template)
    block.add("skin", head.skin_weights)
    block.add("pivots", head.joint_positions)
    # One entry of ``Codes.vector`` at a time: the joints' turns are linear in it.
    single = Codes.neutral(avatar.space, (size,)).with_vector(torch.eye(size))
    block.add("turns", head.joint_turns(single).flatten(1))
    moved = head.expression_basis.abs().amax(-1) > 0  # [E, V]
    scales = head.expression_basis.abs().amax((1, 2)).clamp(min=1e-12) / 32767
    block.add("moveFirst", np.concatenate(([0], moved.sum(1).cumsum(0).numpy())), "<u4")
    block.add("moveVertices", moved.nonzero()[:, 1], "<u4")
    block.add("moves", (head.expression_basis / scales[:, None, None])[moved].round(), "<i2")
    block.add("moveScales", scales)


def _add_bases(
    block: Block,
    bases: Tensor,  # [K, N * CHANNELS]
    count: int,
) -> None:
    """Codes [N, K, CHANNELS], so that what a Gaussian needs lies together; low and step [K, CHANNELS]."""
    if not len(bases):
        codes, low, step = torch.zeros(0), torch.zeros(0), torch.zeros(0)
    else:
        codes, low, step = quantised(bases, CHANNELS)
        codes = codes.reshape(len(bases), count, CHANNELS).transpose(0, 1)
    block.add("basisCodes", codes, "u1")
    block.add("basisLow", low)
    block.add("basisStep", step)
