"""The 52 ARKit shapes of the built-in head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from studio.codes import ARKIT_CHANNELS
from studio.heads.procedural import shapes_eyes as lids
from studio.heads.procedural import shapes_mouth as lips
from studio.heads.procedural.mesh import Mesh
from studio.heads.procedural.skull import Array
from studio.heads.procedural.stage import Stage, prepare

Shape = Callable[[Stage, float], Array]  # (stage, 1 for left, -1 for right, 0 for both) -> [V, 3] mm

# Shapes that exist for each side: "Left" and "Right" are appended to the name.
_SIDED: dict[str, Shape] = {
    "eyeBlink": lids.blink,
    "eyeLookDown": lids.look_down,
    "eyeLookIn": partial(lids.look_sideways, outward=-1.0),
    "eyeLookOut": partial(lids.look_sideways, outward=1.0),
    "eyeLookUp": lids.look_up,
    "eyeSquint": lids.squint,
    "eyeWide": lids.wide,
    "jaw": lips.jaw_sideways,
    "mouth": lips.mouth_sideways,
    "mouthSmile": lips.smile,
    "mouthFrown": lips.frown,
    "mouthDimple": lips.dimple,
    "mouthStretch": lips.stretch,
    "mouthPress": lips.press,
    "mouthLowerDown": lips.lower_down,
    "mouthUpperUp": lips.upper_up,
    "browDown": lids.brow_down,
    "browOuterUp": lids.brow_outer_up,
    "cheekSquint": lids.cheek_squint,
    "noseSneer": lids.sneer,
}
_WHOLE: dict[str, Shape] = {
    "jawForward": lips.jaw_forward,
    "jawOpen": lips.jaw_open,
    "mouthClose": lips.mouth_close,
    "mouthFunnel": lips.funnel,
    "mouthPucker": lips.pucker,
    "mouthRollLower": lips.roll_lower,
    "mouthRollUpper": lips.roll_upper,
    "mouthShrugLower": lips.shrug_lower,
    "mouthShrugUpper": lips.shrug_upper,
    "browInnerUp": lids.brow_inner_up,
    "cheekPuff": lips.cheek_puff,
    "tongueOut": lips.tongue_out,
}


def expression_basis(mesh: Mesh) -> Array:
    """What each ARKit channel at 1 adds to the neutral vertices: [52, V, 3] mm, in the order of ARKIT_CHANNELS."""
    stage = prepare(mesh)
    rows = []
    for name in ARKIT_CHANNELS:
        if name in _WHOLE:
            rows.append(_WHOLE[name](stage, 0.0))
        elif name.endswith("Left"):
            rows.append(_SIDED[name.removesuffix("Left")](stage, 1.0))
        else:
            rows.append(_SIDED[name.removesuffix("Right")](stage, -1.0))
    return np.array(rows)
