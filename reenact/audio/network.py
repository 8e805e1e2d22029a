"""The network that hears phones and movements in sound: causal convolutions over features, read 100 ms later.

It only looks back; the short look-ahead that speech needs is had by asking, at each moment, for what was said 100 ms
before. What each layer remembers is carried from call to call, so that pieces give what the whole gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from reenact.audio.articulation import MOVEMENTS
from reenact.audio.features import FRAMES_PER_SECOND, SIZE
from reenact.audio.phones import NAMES
from studio.errors import StudioError

STRIDE = 2
OUTPUTS_PER_SECOND = FRAMES_PER_SECOND // STRIDE
DELAY = 5  # outputs: what is said at output t is told at output t + DELAY
_DROPPED = 0.1  # share of channels left out in training
SHIPPED = Path(__file__).with_name("speech.safetensors")
State = list[Tensor]  # what each convolution remembers


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network.

    Args:
        width: channels of all layers.
        dilations: of the blocks, in outputs.
    """

    width: int = 160
    dilations: Sequence[int] = (1, 2, 4, 8, 1, 2, 4, 8)


class _Causal(nn.Conv1d):
    """A convolution that sees the past only; its past comes from the call before."""

    def after(self, past: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [B, T / stride, C] of inputs [B, T, C], and the past for the next call.

        As one product of matrices, which is 1.5 times as fast on processors as ``conv1d``, training included.
        """
        x = x.bfloat16() if torch.is_autocast_enabled("cpu") else x  # before it is copied for each tap
        taps, step, stride = self.kernel_size[0], self.dilation[0], self.stride[0]
        size = (taps - 1) * step + 1 - stride
        x = torch.cat((x.new_zeros(len(x), size, x.shape[2]) if past is None else past.to(x), x), dim=1)
        reach = x.shape[1] - (taps - 1) * step
        seen = torch.cat([x[:, k * step : k * step + reach : stride] for k in range(taps)], dim=2)
        weight = self.weight.permute(0, 2, 1).flatten(1)
        return functional.linear(seen, weight, self.bias), x[:, x.shape[1] - size :]


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = _Causal(width, width, 3, dilation=dilation)
        self.point = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        y, past = self.wide.after(past, self.norm(x))
        y = functional.gelu(y)
        if self.training:  # whole channels of an example, which is stricter and much cheaper than single values
            y = y * functional.dropout(y.new_ones(len(y), 1, y.shape[2]), _DROPPED)
        return x + functional.linear(y, self.point.weight[:, :, 0], self.point.bias), past


class SpeechNetwork(nn.Module):
    """Features [B, T, SIZE] at 100 Hz -> phone logits [B, T / 2, NAMES], movements [B, T / 2, MOVEMENTS] at 50 Hz."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        width = self.config.width
        self.stem = _Causal(SIZE, width, 6, stride=STRIDE)
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in self.config.dilations)
        self.norm = nn.LayerNorm(width)
        self.phones = nn.Linear(width, len(NAMES))
        self.moved = nn.Linear(width, len(MOVEMENTS))

    def forward(
        self,
        features: Tensor,  # [B, T, SIZE], T even
        state: State | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """Logits, movements, hidden features [B, T / 2, width], and the state to continue with."""
        pasts: list[Tensor | None] = list(state) if state else [None] * (len(self.blocks) + 1)
        x, past = self.stem.after(pasts[0], features)
        kept = [past]
        for block, before in zip(self.blocks, pasts[1:], strict=True):
            x, past = block(x, before)
            kept.append(past)
        hidden = self.norm(x)
        return self.phones(hidden), self.moved(hidden), hidden, kept


def save_network(path: Path, network: SpeechNetwork, about: Mapping[str, object]) -> None:
    """Write the weights in half precision with what is to be known ``about`` them."""
    tensors = {name: value.detach().half().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path, {"network": json.dumps(asdict(network.config)), "about": json.dumps(about)})


def load_network(path: Path = SHIPPED) -> SpeechNetwork:
    """A network of a file, ready to listen.

    Raises:
        StudioError: no such file, or it holds no such network.
    """
    if not path.is_file():
        raise StudioError(f"no such network: {path}", expected="a .safetensors file of reenact.audio.train")
    try:
        with safe_open(path, framework="pt") as file:
            config = NetworkConfig(**json.loads(file.metadata()["network"]))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
        network = SpeechNetwork(config)
        network.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StudioError(f"{path} holds no speech network", got=error, next="use the one that was shipped") from error
    return network.eval().requires_grad_(False)


@lru_cache
def shipped_network() -> SpeechNetwork:
    """The network that comes with the project."""
    return load_network()
