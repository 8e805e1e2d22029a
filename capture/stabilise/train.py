"""Train the stabiliser, and compare it with the points of the skull on people that it never saw.

    python -m capture.stabilise.train [--steps 1500] [--out capture/stabilise/weights.safetensors]
    python -m capture.stabilise.train --judge                 # only compare the one that is shipped

Pairs are drawn from the built-in head and, where it is found, ICT-FaceKit: a new batch for each step.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from capture.stabilise.network import POINTS, SKULL, WEIGHTS, Stabiliser, by_skull
from capture.stabilise.pairs import FacePoints, Pairs, draw, identities
from capture.synthetic.script import perform
from studio.assets import find_asset
from studio.heads import load_head
from studio.logs import progress, say
from studio.rotations import matrix_to_axis_angle, rigid_inverse, transform_points

_BATCH, _RATE = 192, 2e-3
_HELD_OUT = 40  # people of each model that it is judged on
_SEED, _JUDGES_SEED = 0, 10_000


def sources() -> dict[str, FacePoints]:
    """The head models that there are."""
    names = ["procedural", *(["ict"] if find_asset("ict_facekit") else [])]
    return {name: FacePoints.of(load_head(name)) for name in names}


def train(models: Mapping[str, FacePoints], steps: int, seed: int = _SEED) -> Stabiliser:
    """Learn from ``steps`` batches; the loss is how far the points of the skull end up from where they are."""
    network = Stabiliser.fresh(seed)
    for layer in network.layers:
        layer.requires_grad_(True)
    optimizer = torch.optim.Adam(network.layers, lr=_RATE, fused=True)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    drawn = list(models.values())
    for step in progress(range(steps), "stabiliser"):
        points = drawn[step % len(drawn)]
        pairs = draw(points, identities(points, _BATCH, generator), generator)
        loss = skull_errors(pairs, network.motion(pairs.neutral, pairs.face)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        falling.step()
    return Stabiliser(tuple(layer.detach() for layer in network.layers))


def skull_errors(pairs: Pairs, motion: Tensor) -> Tensor:
    """[B] mean distance in metres of the skull's points, moved by found and by true motions [B, 4, 4]."""
    skull = pairs.neutral[:, [POINTS.index(point) for point in SKULL]]
    return (transform_points(motion, skull) - transform_points(pairs.motion, skull)).norm(dim=-1).mean(-1)


def sequence(points: FacePoints, person: Tensor, seed: int, frames: int = 100) -> Pairs:
    """A performance of one person [I], with the motion of its head, as pairs with its neutral face."""
    codes = perform("mixed", frames, 25.0, seed).codes
    neutral = points.person(person[None])
    face = transform_points(codes.head_to_world, neutral + points.moved(codes.expression))
    return Pairs(neutral.expand_as(face), face, codes.head_to_world)


def judge(network: Stabiliser, points: FacePoints, people: int = _HELD_OUT) -> list[dict[str, object]]:
    """Errors of both ways on people and performances that were not trained on."""
    generator = torch.Generator().manual_seed(_JUDGES_SEED)
    persons = identities(points, people, generator)
    discrete = draw(points, persons.repeat(10, 1), generator)
    films = [sequence(points, person, _JUDGES_SEED + index) for index, person in enumerate(persons[:8])]
    rows: list[dict[str, object]] = []
    for name, find in (("points of the skull", by_skull), ("network", network.motion)):
        found = [(pairs, find(pairs.neutral, pairs.face)) for pairs in (discrete, *films)]
        errors = [1000 * skull_errors(pairs, motion) for pairs, motion in found]
        turns = [matrix_to_axis_angle((rigid_inverse(p.motion) @ m)[:, :3, :3]) for p, m in found]
        degrees = [torch.rad2deg(turn.norm(dim=-1)) for turn in turns]
        # What is left of the skull's motion, from frame to frame, in what should rest.
        left = [(rigid_inverse(m) @ p.motion)[:, :3, 3].diff(dim=0).norm(dim=-1).mean() for p, m in found[1:]]
        rows.append(
            {
                "by": name,
                "expressions, mm": float(errors[0].mean()),
                "degrees": float(degrees[0].mean()),
                "sequences, mm": float(torch.cat(errors[1:]).mean()),
                "degrees, sequences": float(torch.cat(degrees[1:]).mean()),
                "unrest, mm": 1000 * float(torch.stack(left).mean()),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--judge", action="store_true")
    chosen = parser.parse_args()
    models = sources()
    if chosen.judge:
        network = Stabiliser.load(chosen.out)
    else:
        network = train(models, chosen.steps)
        network.save(chosen.out)
    for name, points in models.items():
        for row in judge(network, points):
            say(f"{name}: " + ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
