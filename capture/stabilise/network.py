"""A small network that tells a moving head from a moving face, in the spirit of "Learning to Stabilize Faces" (2024).

It sees a person's neutral face and another state of it, both as the same points, and answers with the rigid motion of
the skull between them. It corrects what aligning the points that expressions move least (forehead, bridge of the nose,
temples) says; those move with brows, noses and cheeks, which is the error of that rule. Trained on our own synthetic
heads only (``capture.stabilise.train``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.errors import StudioError
from studio.heads.mediapipe_points import CONTOUR, EYE_CORNERS
from studio.rotations import axis_angle_to_matrix, rigid

WEIGHTS = Path(__file__).with_name("weights.safetensors")
# Points that expressions move least, on all of our head models: forehead, temples, bridge of the nose.
SKULL = (10, 151, 9, 8, 168, 6, 197, 195, 108, 337, 109, 338, 67, 297, 69, 299, 104, 333, 54, 284, 21, 251, 127, 356)
# Of MediaPipe's 468 points on the skin: every fourth (about) and those of the skull.
POINTS = tuple(sorted({*range(0, 468, 4), *SKULL, *EYE_CORNERS} - ({*CONTOUR} - {*SKULL})))
_HIDDEN = 112
_UNIT = 0.01  # metres: size of what the network sees of motion
_ANSWER = (0.05, 0.05, 0.05, 0.005, 0.005, 0.005)  # radians, metres: size of what it answers


def by_skull(neutral: Tensor, face: Tensor) -> Tensor:
    """Rigid motions [..., 4, 4] from the neutral to other states by the points of the skull (Umeyama 1991).

    Args:
        neutral: [..., P, 3] metres, the points of ``POINTS``.
        face: [..., P, 3] the same points in another state.
    """
    chosen = [POINTS.index(point) for point in SKULL]
    a, b = neutral[..., chosen, :], face[..., chosen, :]
    middle_a, middle_b = a.mean(-2, keepdim=True), b.mean(-2, keepdim=True)
    U, _, Vt = torch.linalg.svd((b - middle_b).transpose(-1, -2) @ (a - middle_a))
    flip = torch.ones_like(U[..., 0])
    flip[..., 2] = torch.det(U @ Vt).sign()
    rotation = (U * flip[..., None, :]) @ Vt
    return rigid(rotation, (middle_b - middle_a @ rotation.transpose(-1, -2))[..., 0, :])


@dataclass(frozen=True)
class Stabiliser:
    """The network: one hidden layer for the neutral face and the motion, one more, six numbers.

    Args:
        layers: weights and biases of the three layers.
    """

    layers: tuple[Tensor, ...]

    @staticmethod
    def fresh(seed: int) -> Stabiliser:
        """An untrained one, which answers that nothing is to be corrected."""
        generator = torch.Generator().manual_seed(seed)
        inputs, layers = 6 * len(POINTS), []
        for outputs in (_HIDDEN, _HIDDEN, 6):
            layers += [torch.randn(outputs, inputs, generator=generator) * (2 / inputs) ** 0.5, torch.zeros(outputs)]
            inputs = outputs
        layers[-2].zero_()
        return Stabiliser(tuple(layers))

    @staticmethod
    def load(path: Path = WEIGHTS) -> Stabiliser:
        """Raises StudioError when the file is missing or of another network."""
        try:
            stored = load_file(path)
        except (OSError, SafetensorError) as error:
            raise StudioError(f"cannot read the stabiliser {path}", got=error, next="train it anew") from error
        layers = tuple(stored.get(f"layer{index}", torch.empty(0)) for index in range(6))
        expected = Stabiliser.fresh(0).layers
        if [layer.shape for layer in layers] != [layer.shape for layer in expected]:
            raise StudioError(f"{path} holds another network", got=[tuple(layer.shape) for layer in layers])
        return Stabiliser(layers)

    def save(self, path: Path) -> None:
        save_file({f"layer{index}": layer.contiguous() for index, layer in enumerate(self.layers)}, path)

    def motion(self, neutral: Tensor, face: Tensor) -> Tensor:
        """Rigid motions [..., 4, 4] of the skull from the neutral to other states of the same person.

        Args:
            neutral: [..., P, 3] metres, the points of ``POINTS``, upright in a head frame (x to the subject's left, y
                up) whose origin does not matter.
            face: [..., P, 3] the same points in other states, anywhere.
        """
        neutral, face = torch.broadcast_tensors(neutral, face)
        about = neutral.mean(-2, keepdim=True)
        guess = by_skull(neutral - about, face)
        back = (face - guess[..., None, :3, 3]) @ guess[..., :3, :3]
        correction = self._correction(neutral - about, back)
        moved = guess @ correction
        shift = moved[..., :3, 3] - (moved[..., :3, :3] @ about[..., 0, :, None])[..., 0]
        return rigid(moved[..., :3, :3], shift)

    def stabilised(self, neutral: Tensor, faces: Tensor) -> Tensor:
        """Faces [T, P, 3] with the motion of their skull taken out: what is left is expression."""
        motion = self.motion(neutral, faces)
        return (faces - motion[..., None, :3, 3]) @ motion[..., :3, :3]

    def _correction(self, neutral: Tensor, back: Tensor) -> Tensor:
        """[..., 4, 4] where the skull really is, seen from where its points say it is."""
        seen = torch.cat(((back - neutral) / _UNIT, neutral / (5 * _UNIT)), dim=-1).flatten(-2)
        first, second, last = (self.layers[index : index + 2] for index in (0, 2, 4))
        hidden = torch.relu(torch.nn.functional.linear(seen, *first))
        hidden = hidden + torch.relu(torch.nn.functional.linear(hidden, *second))
        answer = torch.nn.functional.linear(hidden, *last) * torch.tensor(_ANSWER)
        return rigid(axis_angle_to_matrix(answer[..., :3]), answer[..., 3:])
