"""All parts of the head joined into one mesh, with the weights that bind it to the joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.heads.procedural import covering, eyes, mouth
from studio.heads.procedural.atlas import place, skin_uv
from studio.heads.procedural.ears import ear
from studio.heads.procedural.layout import Ints
from studio.heads.procedural.parts import Part
from studio.heads.procedural.skin import Skin, build_skin
from studio.heads.procedural.skull import Array, smoothstep

# Order and names of studio.heads.model.JOINTS; millimetres.
JOINTS: dict[str, tuple[float, float, float]] = {
    "head": (0.0, -20.0, -75.0),
    "torso": (0.0, -98.0, -90.0),
    "jaw": (0.0, -18.0, -78.0),
    "eye_left": (32.0, 0.0, 0.0),
    "eye_right": (-32.0, 0.0, 0.0),
}
REGIONS = (
    *("face", "scalp", "neck", "mouth_interior", "eye_left", "eye_right", "ear_left", "ear_right"),
    *("teeth_upper", "teeth_lower", "gums", "tongue", "hair", "brows", "lashes", "torso"),
)


@dataclass
class Mesh:
    """The neutral head in millimetres.

    Args:
        vertices: [V, 3].
        faces: [F, 3].
        face_region: [F] indices into REGIONS.
        uvs, faces_uv: [U, 2] and [F, 3].
        weights: [V, 5] in the order of JOINTS.
        spans: the vertices of each part.
        skin: the first part, with its loops.
    """

    vertices: Array
    faces: Ints
    face_region: Ints
    uvs: Array
    faces_uv: Ints
    weights: Array
    spans: dict[str, slice]
    skin: Skin


def _parts() -> dict[str, Part]:
    """Everything but the skin, by name."""
    left = {"ear_left": ear(), "brow_left": covering.brow(), "lashes_left": covering.lashes()}
    parts = {"eye_left": eyes.eyeball(1.0, "eye_left"), "eye_right": eyes.eyeball(-1.0, "eye_right")}
    for name, part in left.items():
        parts[name] = part
        parts[name.replace("left", "right")] = part.mirrored(part.region.replace("left", "right"))
    for upper, row in ((True, "upper"), (False, "lower")):
        parts[f"teeth_{row}"] = mouth.teeth(upper)
        parts[f"gums_{row}"] = mouth.gums(upper)
    parts["tongue"] = mouth.tongue()
    parts["hair"] = covering.hair()
    parts["garment"] = covering.garment()
    return parts


def build_mesh() -> Mesh:
    """The neutral head."""
    skin = build_skin()
    uvs, faces_uv = skin_uv(skin)
    vertices, faces, uv_list, faces_uv_list = [skin.vertices], [skin.faces], [uvs], [faces_uv]
    regions, weights = [_skin_regions(skin)], [_skin_weights(skin)]
    spans, count, uv_count = {"skin": slice(0, len(skin.vertices))}, len(skin.vertices), len(uvs)
    for name, part in _parts().items():
        spans[name] = slice(count, count + len(part.vertices))
        vertices.append(part.vertices)
        faces.append(part.faces + count)
        uv_list.append(place(part.region, part.uv))
        faces_uv_list.append(part.faces + uv_count)
        regions.append(np.full(len(part.faces), REGIONS.index(part.region)))
        weights.append(_part_weights(part))
        count += len(part.vertices)
        uv_count += len(part.uv)
    return Mesh(
        np.concatenate(vertices),
        np.concatenate(faces),
        np.concatenate(regions),
        np.concatenate(uv_list),
        np.concatenate(faces_uv_list),
        np.concatenate(weights),
        spans,
        skin,
    )


def _skin_regions(skin: Skin) -> Ints:
    level, angle = skin.level[skin.faces].mean(1), np.abs(skin.angle[skin.faces]).mean(1)
    region = np.full(len(skin.faces), REGIONS.index("face"))
    region[level < covering.hairline(angle)] = REGIONS.index("scalp")
    region[level > 14.5] = REGIONS.index("neck")
    region[skin.inner_faces] = REGIONS.index("mouth_interior")
    return region


def _weights(count: int, **joints: Array | float) -> Array:
    weights = np.zeros((count, len(JOINTS)))
    for name, value in joints.items():
        weights[:, list(JOINTS).index(name)] = value
    weights[:, 0] = 1.0 - weights[:, 1:].sum(1)
    return weights


def _part_weights(part: Part) -> Array:
    count = len(part.vertices)
    if part.region in ("eye_left", "eye_right"):
        return _weights(count, **{part.region: 1.0})
    if part.region == "torso":
        return _weights(count, torso=1.0)
    return _weights(count, jaw=0.0 if part.jaw is None else part.jaw)


def _skin_weights(skin: Skin) -> Array:
    torso = smoothstep(14.6, 17.2, skin.level)
    return _weights(len(skin.vertices), torso=torso, jaw=jaw_weights(skin) * (1.0 - torso))


def jaw_weights(skin: Skin) -> Array:
    """How far each point of the skin [V] follows the jaw: by its angle round the jaw joint, split at the lips."""
    x, y, z = skin.vertices.T
    pivot = JOINTS["jaw"]
    angle = np.degrees(np.arctan2(y - pivot[1], z - pivot[2]))
    soft = smoothstep(-14.0, -42.0, angle) * smoothstep(-72.0, -38.0, z) * smoothstep(16.2, 13.0, skin.level)
    lower = np.where(y < mouth.MOUTH_LINE, 1.0, 0.0)
    loops = skin.mouth_loops
    lower[loops[1:]] = 0.5 - 0.5 * eyes.is_upper(loops.shape[1])
    reach = np.sqrt(np.clip(1.0 - (x / (mouth.CORNER_X + 1.0)) ** 2, 0.0, 1.0)) * smoothstep(-30.0, -5.0, z)
    reach *= smoothstep(-112.0, -100.0, y)
    weight = soft + reach * (lower - soft)
    count = loops.shape[1]
    bowl = 0.5 - 0.5 * np.sqrt(np.clip(1.0 - mouth.loop_x(count) ** 2, 0.0, 1.0)) * eyes.is_upper(count)
    for loop, depth in zip(loops[mouth.CONTACT_LOOP + 1 :], (0.0, 0.2, 0.5, 0.8, 1.0, 1.0)):
        weight[loop] = bowl + depth * 0.15 * (0.5 - bowl)
    return weight
