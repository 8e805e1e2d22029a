"""What the avatars that are radiance fields have in common on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from recon.head_field import HeadField, HeadFieldShape
from recon.radiance import RadianceField
from recon.storage import grouped, load_weights, reading_avatar
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.folders import Manifest, read_manifest, write_folder
from studio.kernels.march import OccupancyGrid
from studio.media.images import write_image

_WEIGHTS, _PREVIEW = "weights.safetensors", "preview.png"
Groups = dict[str, dict[str, Tensor]]
Made = TypeVar("Made")


def save_field(
    folder: Path,
    manifest: Manifest,
    kind: str,
    avatar: Avatar,
    field: HeadField | RadianceField,
    groups: Groups,
    body: Mapping[str, Any],
) -> None:
    """Write an avatar folder. Raises StudioError if it exists and is not empty.

    Args:
        manifest: brings provenance.
        groups: tensors besides those of the field and the camera, by group and name.
        body: what the manifest says besides.
    """
    box, camera = field.occupancy, avatar.camera
    groups = {
        "field": {name: value.detach() for name, value in field.parameters.items()},
        "box": {"lower": box.lower, "upper": box.upper, "occupied": box.occupied},
        "camera": {"viewmats": camera.viewmats, "Ks": camera.Ks},
        **groups,
    }
    tensors = {f"{g}/{n}": v.detach().clone().contiguous() for g, group in groups.items() for n, v in group.items()}
    shown = {"width": camera.width, "height": camera.height, "ids": list(camera.ids)}
    own = {"kind": kind, "code_space_hash": avatar.space.hash, "shape": asdict(field.shape), "step": field.step}
    manifest = replace(
        manifest,
        kind="avatar",
        code_space=avatar.space.name,
        synthetic=True,
        body={**manifest.body, **own, "camera": shown, **body},
    )
    preview = avatar.render(camera, avatar.codes).pixels(torch.ones(3))[0]
    with write_folder(folder, manifest) as temporary:
        save_file(tensors, temporary / _WEIGHTS)
        write_image(temporary / _PREVIEW, preview)


def save_head(
    folder: Path,
    manifest: Manifest,
    kind: str,
    avatar: Avatar,
    field: HeadField,
    groups: Groups,
    body: Mapping[str, Any],
) -> None:
    """``save_field`` of a moving head."""
    limits = {"least_alpha": field.least_alpha, "least_reached": field.least_reached}
    save_field(folder, manifest, kind, avatar, field, groups, {**limits, **body})


def load_field(folder: Path, make: Callable[[Manifest, Groups, OccupancyGrid, Camera], Made]) -> Made:
    """Open an avatar folder: ``make`` gets the manifest, all tensors by group, the box and the camera.

    Raises:
        StudioError: it is missing or damaged.
    """
    manifest = read_manifest(folder, kind="avatar")
    with reading_avatar(folder):
        groups = grouped(load_weights(folder / _WEIGHTS))
        box, shown = groups["box"], manifest.body["camera"]
        occupancy = OccupancyGrid(box["lower"], box["upper"], box["occupied"].float(), box["occupied"])
        camera = Camera(**groups["camera"], width=shown["width"], height=shown["height"], ids=tuple(shown["ids"]))
        return make(manifest, groups, occupancy, camera)


def load_head(folder: Path, kernels: str, make: Callable[[Manifest, Groups, HeadField, Camera], Made]) -> Made:
    """``load_field`` of a moving head: ``make`` gets its field instead of the box.

    Raises:
        StudioError: it is missing or damaged.
    """

    def with_field(manifest: Manifest, groups: Groups, occupancy: OccupancyGrid, camera: Camera) -> Made:
        body = manifest.body
        step, alpha, reached = (float(body[name]) for name in ("step", "least_alpha", "least_reached"))
        field = HeadField(groups["field"], HeadFieldShape(**body["shape"]), occupancy, step, alpha, reached, kernels)
        return make(manifest, groups, field, camera)

    return load_field(folder, with_field)
