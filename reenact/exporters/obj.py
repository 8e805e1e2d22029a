"""One state as Wavefront OBJ with its texture: what every program opens, without motion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from reenact.exporters import Subject
from reenact.mesh.puppet import puppet_of
from studio.media.whole_files import whole_file
from studio.provenance.seal import seal


@dataclass(frozen=True)
class Obj:
    """OBJ with its material (.mtl) and texture (.png) beside it.

    Args:
        texture: width and height of the texture.
    """

    texture: int = 1024
    endings: ClassVar[tuple[str, ...]] = (".obj",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the state that the subject is in, in the world."""
        material, image = out.with_suffix(".mtl"), out.with_suffix(".png")
        puppet = puppet_of(subject, self.texture, "obj")
        vertices = puppet.head.vertices(torch.zeros(0), subject.codes).numpy()
        faces, faces_uv = puppet.head.faces.numpy() + 1, puppet.head.faces_uv.numpy() + 1
        lines = [f"# {subject.claim.statement}", f"mtllib {material.name}", "usemtl head"]
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
        lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in puppet.head.uvs.numpy()]
        for region, name in enumerate(puppet.head.region_names):
            chosen = (puppet.head.face_region == region).numpy()
            lines += [f"g {name}"] if chosen.any() else []
            lines += [
                f"f {a}/{ta} {b}/{tb} {c}/{tc}" for (a, b, c), (ta, tb, tc) in zip(faces[chosen], faces_uv[chosen])
            ]
        with whole_file(image) as temporary:
            temporary.write_bytes(puppet.texture_file(".png"))
        seal(image, subject.claim)
        with whole_file(material) as temporary:
            temporary.write_text(f"newmtl head\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {image.name}\n")
        with whole_file(out) as temporary:
            temporary.write_text("\n".join([*lines, ""]))


EXPORTER = Obj
