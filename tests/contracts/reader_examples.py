"""Small sources of every format, written as the format's own programs write them, with what a reader must find.

Nothing of the project's readers or writers is used: cameras are turned by numpy and scipy, files written by json,
struct, cv2, av, torch.save and h5py.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT = 44, 64
CAMERAS, FRAMES = 3, 4
FPS = 25
SERIALS = ("222200042", "222200037", "222200045")


@dataclass(frozen=True)
class Example:
    """A source and the truth.

    Args:
        source: what is given to the reader.
        viewmats: [C, 4, 4] world to camera, OpenCV; None where the world may be turned or the head moves instead.
        Ks: [C, 3, 3].
        ids: of the cameras.
        images: [T][C] [H, W, 3] uint8.
        mattes: [T][C] [H, W] or None.
        fps: 0 for a still subject.
        head: [T, 4, 4] FLAME's skull seen from the camera (of one camera), None without FLAME.
        expression: [T, E] or None.
        jaw: [T, 3] or None.
        tolerance: of the images, in levels: 0 for lossless files.
        hostile: files inside of the source whose mutations mean most.
    """

    source: Path
    viewmats: np.ndarray | None
    Ks: np.ndarray
    ids: tuple[str, ...]
    images: list[list[np.ndarray]]
    mattes: list[list[np.ndarray]] | None = None
    fps: float = FPS
    head: np.ndarray | None = None
    expression: np.ndarray | None = None
    jaw: np.ndarray | None = None
    tolerance: float = 0.0
    hostile: list[Path] = field(default_factory=list)


def picture(time: int, view: int) -> np.ndarray:
    """[H, W, 3]: smooth, so that video codecs keep it, and different for each camera and time."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green, blue = 40 + 3 * x, 30 + 2 * y, np.full_like(x, 60 + 40 * view + 10 * time)
    return np.stack((red, green, blue), axis=-1).clip(0, 255).astype(np.uint8)


def matte(time: int, view: int) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return (255 * (np.hypot(x - WIDTH / 2, y - HEIGHT / 2) < 14 + time + view)).astype(np.uint8)


def all_pictures(cameras: int = CAMERAS, frames: int = FRAMES) -> list[list[np.ndarray]]:
    return [[picture(time, view) for view in range(cameras)] for time in range(frames)]


def all_mattes(cameras: int = CAMERAS, frames: int = FRAMES) -> list[list[np.ndarray]]:
    return [[matte(time, view) for view in range(cameras)] for time in range(frames)]


def rig(count: int = CAMERAS) -> np.ndarray:
    """World-to-camera matrices [C, 4, 4]: upright cameras a metre away that look at the origin, y up."""
    poses = []
    for angle in np.linspace(-0.6, 0.6, count):
        center = np.array([math.sin(angle), 0.1, math.cos(angle)])
        forward = -center / np.linalg.norm(center)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        c2w = np.eye(4)
        c2w[:3, :3] = np.stack((right, np.cross(forward, right), forward), axis=1)
        c2w[:3, 3] = center
        poses.append(np.linalg.inv(c2w))
    return np.stack(poses)


def intrinsics(count: int = CAMERAS) -> np.ndarray:
    """[C, 3, 3], with a principal point that is not in the middle."""
    return np.stack(
        [[[90.0 + view, 0, WIDTH / 2 + 1.5], [0, 91.0 + view, HEIGHT / 2 - 2.5], [0, 0, 1]] for view in range(count)]
    )


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def write_video(path: Path, pictures: list[np.ndarray], fps: int = FPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "4", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        for pixels in pictures:
            colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(colour), format="rgb24")))
        container.mux(stream.encode())


def write_json(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=4))
    return path


def opengl(viewmat: np.ndarray) -> list[list[float]]:
    """Camera-to-world with OpenGL axes of a world-to-camera matrix with OpenCV axes."""
    c2w = np.linalg.inv(viewmat)
    c2w[:3, 1:3] *= -1
    return c2w.tolist()


def nerfstudio(root: Path) -> Example:
    viewmats, Ks = rig(), intrinsics()
    frames = []
    for view in range(CAMERAS):
        write_png(root / "images" / f"frame_{view:05d}.png", picture(0, view))
        write_png(root / "masks" / f"frame_{view:05d}.png", matte(0, view))
        frames.append(
            {
                "file_path": f"images/frame_{view:05d}.png",
                "mask_path": f"masks/frame_{view:05d}.png",
                **{"fl_x": Ks[view, 0, 0], "fl_y": Ks[view, 1, 1], "cx": Ks[view, 0, 2], "cy": Ks[view, 1, 2]},
                **{"w": WIDTH, "h": HEIGHT, "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0},
                "transform_matrix": opengl(viewmats[view]),
            }
        )
    path = write_json(root / "transforms.json", {"camera_model": "OPENCV", "frames": frames})
    names = tuple(f"frame_{view:05d}" for view in range(CAMERAS))
    return Example(root, viewmats, Ks, names, all_pictures(frames=1), all_mattes(frames=1), fps=0, hostile=[path])


def instant_ngp(root: Path) -> Example:
    """As instant-NGP's synthetic scenes: only a field of view, no suffixes, RGBA images."""
    viewmats, fov = rig(), 2 * math.atan(WIDTH / (2 * 90.0))
    frames = []
    for view in range(CAMERAS):
        bgra = np.dstack((picture(0, view)[..., ::-1], matte(0, view)))
        (root / "train").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / "train" / f"r_{view}.png"), bgra)
        frames.append({"file_path": f"./train/r_{view}", "rotation": 0.01, "transform_matrix": opengl(viewmats[view])})
    path = write_json(root / "transforms.json", {"camera_angle_x": fov, "frames": frames})
    K = np.array([[90.0, 0, WIDTH / 2], [0, 90.0, HEIGHT / 2], [0, 0, 1]])
    Ks, names = np.stack([K] * CAMERAS), tuple(f"r_{view}" for view in range(CAMERAS))
    return Example(root, viewmats, Ks, names, all_pictures(frames=1), all_mattes(frames=1), fps=0, hostile=[path])


def _colmap(root: Path, binary: bool) -> Example:
    viewmats, Ks = rig(), intrinsics()
    model = root / "sparse" / "0"
    model.mkdir(parents=True)
    quaternions = [Rotation.from_matrix(viewmat[:3, :3]).as_quat(scalar_first=True) for viewmat in viewmats]
    for view in range(CAMERAS):
        write_png(root / "images" / f"IMG_{view}.png", picture(0, view))
        write_png(root / "masks" / f"IMG_{view}.png.png", matte(0, view))
    if binary:
        data = struct.pack("<Q", CAMERAS)
        for view, K in enumerate(Ks):
            data += struct.pack("<iiQQ4d", view + 1, 1, WIDTH, HEIGHT, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        (model / "cameras.bin").write_bytes(data)
        data = struct.pack("<Q", CAMERAS)
        for view in range(CAMERAS):
            data += struct.pack("<i7di", view + 1, *quaternions[view], *viewmats[view, :3, 3], view + 1)
            data += f"IMG_{view}.png".encode() + b"\0" + struct.pack("<Q", 1) + struct.pack("<2dq", 3.0, 4.0, -1)
        (model / "images.bin").write_bytes(data)
        (model / "points3D.bin").write_bytes(struct.pack("<Q", 0))
    else:
        rows = [f"{v + 1} PINHOLE {WIDTH} {HEIGHT} {K[0, 0]} {K[1, 1]} {K[0, 2]} {K[1, 2]}" for v, K in enumerate(Ks)]
        (model / "cameras.txt").write_text("# Camera list\n#   CAMERA_ID, MODEL\n" + "\n".join(rows) + "\n")
        text = "# Image list\n#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n"
        for view in range(CAMERAS):
            pose = " ".join(map(repr, [*quaternions[view].tolist(), *viewmats[view, :3, 3].tolist()]))
            points = "3.0 4.0 -1" if view else ""  # an image without points has an empty line
            text += f"{view + 1} {pose} {view + 1} IMG_{view}.png\n{points}\n"
        (model / "images.txt").write_text(text)
    names = tuple(f"IMG_{view}" for view in range(CAMERAS))
    hostile = sorted(model.glob("[ci]*"))
    return Example(root, viewmats, Ks, names, all_pictures(frames=1), all_mattes(frames=1), fps=0, hostile=hostile)


def colmap_text(root: Path) -> Example:
    return _colmap(root, binary=False)


def colmap_binary(root: Path) -> Example:
    return _colmap(root, binary=True)


def calibrated_videos(root: Path) -> Example:
    viewmats, Ks, names = rig(), intrinsics(), ("left", "middle", "right")
    for view, name in enumerate(names):
        write_video(root / f"{name}.mp4", [picture(time, view) for time in range(FRAMES)])
        write_png(root / "background" / f"{name}.png", picture(9, view))
    cameras = [
        {"id": name, "K": Ks[view].tolist(), "world_to_camera": viewmats[view].tolist()}
        for view, name in enumerate(names)
    ]
    cameras[1] = {"id": "middle", "file": "middle.mp4", "K": Ks[1].tolist(), "distortion": [0, 0, 0, 0]}
    cameras[1] |= {"R": viewmats[1, :3, :3].tolist(), "t": viewmats[1, :3, 3].tolist()}
    path = write_json(root / "calibration.json", {"width": WIDTH, "height": HEIGHT, "cameras": cameras})
    return Example(root, viewmats, Ks, names, all_pictures(), tolerance=4, hostile=[path, root / "left.mp4"])


def calibrated_photos(root: Path) -> Example:
    viewmats, Ks = rig(), intrinsics()
    frames = []
    for view in range(CAMERAS):
        write_png(root / "images" / f"{view:05d}.png", picture(0, view))
        pose = {"R_world_to_cam": viewmats[view, :3, :3].tolist(), "t": viewmats[view, :3, 3].tolist()}
        frames.append({"file": f"images/{view:05d}.png", "K": Ks[view].tolist(), **pose})
    path = write_json(root / "cameras.json", {"frames": frames})
    names = tuple(f"{view:05d}" for view in range(CAMERAS))
    return Example(root, viewmats, Ks, names, all_pictures(frames=1), fps=0, hostile=[path])


def flame(seed: int, frames: int = FRAMES, expressions: int = 100) -> dict[str, np.ndarray]:
    """Random FLAME parameters with VHAP's names and shapes, stacked, float32."""
    rng = np.random.default_rng(seed)
    sizes = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "expr": expressions}
    made = {name: (0.2 * rng.normal(size=(frames, size))).astype(np.float32) for name, size in sizes.items()}
    return made | {"shape": rng.normal(size=300).astype(np.float32)}


def skulls(parameters: dict[str, np.ndarray]) -> np.ndarray:
    """[T, 4, 4]: FLAME's global transform and its neck about the project's assumed pivot."""
    frames = len(parameters["expr"])
    body, neck = np.tile(np.eye(4), (2, frames, 1, 1))
    pivot = np.array([0.0, -0.12, -0.08])
    body[:, :3, :3] = Rotation.from_rotvec(parameters["rotation"]).as_matrix()
    body[:, :3, 3] = parameters["translation"]
    neck[:, :3, :3] = Rotation.from_rotvec(parameters["neck_pose"]).as_matrix()
    neck[:, :3, 3] = pivot - neck[:, :3, :3] @ pivot
    return body @ neck


def _vhap_frames(root: Path, viewmats: np.ndarray, Ks: np.ndarray, parameters: dict[str, np.ndarray]) -> list[dict]:
    frames = []
    for time in range(FRAMES):
        own = {name: value[[time]] for name, value in parameters.items() if name != "shape"}
        (root / "flame_param").mkdir(parents=True, exist_ok=True)
        np.savez(root / "flame_param" / f"{time:05d}.npz", **own, shape=parameters["shape"])
        for view in range(CAMERAS):
            write_png(root / "images" / f"{time:05d}_{view:02d}.png", picture(time, view))
            write_png(root / "fg_masks" / f"{time:05d}_{view:02d}.png", matte(time, view))
            K = Ks[view]
            frames.append(
                {
                    **{"timestep_index": time, "timestep_index_original": time, "timestep_id": f"frame_{time:05d}"},
                    **{"camera_index": view, "camera_id": SERIALS[view], "cx": K[0, 2], "cy": HEIGHT - K[1, 2]},
                    **{"fl_x": K[0, 0], "fl_y": K[1, 1], "h": HEIGHT, "w": WIDTH},
                    "camera_angle_x": math.atan(WIDTH / (K[0, 0] * 2)) * 2,
                    "camera_angle_y": math.atan(HEIGHT / (K[1, 1] * 2)) * 2,
                    "transform_matrix": opengl(viewmats[view]),
                    "file_path": f"images/{time:05d}_{view:02d}.png",
                    "fg_mask_path": f"fg_masks/{time:05d}_{view:02d}.png",
                    "flame_param_path": f"flame_param/{time:05d}.npz",
                }
            )
    canonical = {name: np.zeros_like(value[:1]) for name, value in parameters.items() if name != "shape"}
    np.savez(root / "canonical_flame_param.npz", **canonical, shape=parameters["shape"])
    return frames


def vhap(root: Path) -> Example:
    viewmats, Ks, parameters = rig(), intrinsics(), flame(1)
    frames = _vhap_frames(root, viewmats, Ks, parameters)
    shared = {name: frames[-1][name] for name in ("cx", "cy", "fl_x", "fl_y", "h", "w")}
    indices = {"timestep_indices": list(range(FRAMES)), "camera_indices": list(range(CAMERAS))}
    path = write_json(root / "transforms.json", {"frames": frames, **shared, **indices})
    return Example(
        root,
        viewmats,
        Ks,
        SERIALS,
        all_pictures(),
        all_mattes(),
        head=viewmats[0] @ skulls(parameters),
        expression=parameters["expr"],
        jaw=parameters["jaw_pose"],
        hostile=[path, root / "flame_param" / "00001.npz"],
    )


def vhap_union(root: Path) -> Example:
    """A union: transforms_train and _val (one camera held out) name the files of a sibling folder."""
    viewmats, Ks, parameters = rig(), intrinsics(), flame(2)
    frames = _vhap_frames(root / "306_EMO-1", viewmats, Ks, parameters)
    for frame in frames:
        del frame["timestep_index_original"], frame["timestep_id"]
        for name in ("file_path", "fg_mask_path", "flame_param_path"):
            frame[name] = f"../306_EMO-1/{frame[name]}"
    union, held = root / "UNION_306", CAMERAS - 1
    for part, cameras in (("train", list(range(held))), ("val", [held])):
        chosen = [frame for frame in frames if frame["camera_index"] in cameras]
        listed = {"timestep_indices": list(range(FRAMES)), "camera_indices": cameras}
        write_json(union / f"transforms_{part}.json", {"frames": chosen, **listed})
    np.savez(union / "canonical_flame_param.npz", shape=parameters["shape"])
    return Example(
        union,
        viewmats,
        Ks,
        SERIALS,
        all_pictures(),
        all_mattes(),
        head=viewmats[0] @ skulls(parameters),
        expression=parameters["expr"],
        jaw=parameters["jaw_pose"],
        hostile=[union / "transforms_train.json"],
    )


def _shared_rig() -> tuple[dict[str, list], np.ndarray, np.ndarray]:
    """world_2_cam, the K of NeRSemble's full size, and the same for our images."""
    full = np.array([[8000.0, 0, 1130.0], [0, 8010.0, 1580.0], [0, 0, 1]])
    scaled = np.diag([WIDTH / 2200, HEIGHT / 3208, 1]) @ full
    poses = {serial: viewmat.tolist() for serial, viewmat in zip(SERIALS, rig(), strict=True)}
    return poses, full, np.stack([scaled] * CAMERAS)


def affine(view: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = [[1.1, 0.02, 0], [0.0, 0.9, 0.01 * view], [0.03, 0, 1.0]]
    matrix[:3, 3] = [0.01, -0.02, 0.03]
    return matrix


def _affine_corrected(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    rgb = np.clip(pixels / 255 @ matrix[:3, :3] + matrix[:3, 3], 0, 1)
    return np.round(rgb * 255).astype(np.uint8)


def nersemble(root: Path) -> Example:
    poses, full, Ks = _shared_rig()
    person = root / "030"
    for time in range(FRAMES):
        frame = person / "sequences" / "EMO-1" / f"frame_{3 * time:05d}"
        for view, serial in enumerate(SERIALS):
            write_png(frame / "images-2x-73fps" / f"cam_{serial}.png", picture(time, view))
            write_png(frame / "alpha_map-73fps" / f"cam_{serial}.png", matte(time, view))
    for view, serial in enumerate(SERIALS):
        colours = person / "annotations" / "EMO-1" / "color_correction" / f"{serial}.npy"
        colours.parent.mkdir(parents=True, exist_ok=True)
        np.save(colours, affine(view))
    path = write_json(person / "camera_params.json", {"world_2_cam": poses, "intrinsics": full.tolist()})
    images = [[_affine_corrected(picture(t, v), affine(v)) for v in range(CAMERAS)] for t in range(FRAMES)]
    source = person / "sequences" / "EMO-1"
    return Example(source, rig(), Ks, SERIALS, images, all_mattes(), fps=73, tolerance=1, hostile=[path, colours])


def nersemble_vhap(root: Path) -> Example:
    """The layout of NeRSemble v1 that VHAP expects."""
    poses, full, Ks = _shared_rig()
    for time in range(FRAMES):
        for view, serial in enumerate(SERIALS):
            write_png(root / "030" / "EMO-1" / "images" / f"cam_{serial}_{time:05d}.png", picture(time, view))
            write_png(root / "030" / "EMO-1" / "alpha_maps" / f"cam_{serial}_{time:05d}.png", matte(time, view))
    calibration = {"world_2_cam": poses, "intrinsics": full.tolist(), "height": 3208, "width": 2200}
    path = write_json(root / "camera_params" / "030" / "camera_params.json", calibration)
    images = all_pictures()
    return Example(root / "030" / "EMO-1", rig(), Ks, SERIALS, images, all_mattes(), fps=73, hostile=[path])


def ccm(view: int) -> np.ndarray:
    """[3, 10] a colour correction matrix for R G B RG RB GB RR GG BB 1."""
    matrix = np.zeros((3, 10))
    matrix[:, :3] = np.diag([1.05, 0.9, 0.95])
    matrix[0, 3], matrix[1, 6], matrix[2, 9] = 0.05, 0.04, 0.01 * view
    return matrix


def ccm_corrected(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """As colour-science's functions do it, in float64."""
    v = pixels / 255.0
    r, g, b = np.moveaxis(np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4), -1, 0)
    terms = np.stack([r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, np.ones_like(r)], axis=-1)
    linear = np.clip(terms @ matrix.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


def nersemble_v2(root: Path) -> Example:
    poses, full, Ks = _shared_rig()
    person = root / "018"
    source = person / "sequences" / "EXP-1-head"
    for view, serial in enumerate(SERIALS):
        write_video(source / "images" / f"cam_{serial}.mp4", [picture(t, view) for t in range(FRAMES)], fps=73)
        plate = person / "sequences" / "BACKGROUND" / f"image_{serial}.jpg"
        plate.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(plate), picture(9, view)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    calibration = person / "calibration"
    path = write_json(calibration / "camera_params.json", {"world_2_cam": poses, "intrinsics": full.tolist()})
    colours = {serial: ccm(view).tolist() for view, serial in enumerate(SERIALS)}
    images = [[ccm_corrected(picture(t, v), ccm(v)) for v in range(CAMERAS)] for t in range(FRAMES)]
    hostile = [
        path,
        write_json(calibration / "color_calibration.json", colours),
        source / "images" / f"cam_{serial}.mp4",
    ]
    return Example(source, rig(), Ks, SERIALS, images, fps=73, tolerance=5, hostile=hostile)


def nersemble_benchmark(root: Path) -> Example:
    person, Ks, parameters = root / "mono_flame_avatar" / "393", intrinsics(), flame(3)
    source = person / "sequences" / "EXP-2-eyes"
    for view, serial in enumerate(SERIALS):
        write_video(source / "images" / f"cam_{serial}.mp4", [picture(t, view) for t in range(FRAMES)])
        write_video(source / "alpha_maps" / f"cam_{serial}.mp4", [matte(t, view) for t in range(FRAMES)])
    calibration = {
        "world_2_cam": {serial: viewmat.tolist() for serial, viewmat in zip(SERIALS, rig(), strict=True)},
        "intrinsics": {serial: K.tolist() for serial, K in zip(SERIALS, Ks, strict=True)},
    }
    path = write_json(person / "calibration" / "camera_params.json", calibration)
    rotations = Rotation.from_rotvec(parameters["rotation"])
    tracking = source / "tracking" / "flame2023_tracking_v2.npz"
    tracking.parent.mkdir(parents=True)
    np.savez(
        tracking,
        shape=parameters["shape"][None],
        expression=parameters["expr"],
        rotation=rotations.as_euler("XYZ").astype(np.float32),
        rotation_matrices=rotations.as_matrix().astype(np.float32),
        translation=parameters["translation"],
        jaw=parameters["jaw_pose"],
        frames=np.arange(FRAMES),
        scale=np.full((1, 1), 1.03, np.float32),
        neck=parameters["neck_pose"],
        eyes=parameters["eyes_pose"],
    )
    return Example(
        source,
        rig(),
        Ks,
        SERIALS,
        all_pictures(),
        all_mattes(),
        head=rig()[0] @ skulls(parameters),
        expression=parameters["expr"],
        jaw=parameters["jaw_pose"],
        tolerance=6,
        hostile=[path, tracking],
    )


def moving_camera(frames: int = FRAMES) -> np.ndarray:
    """World-to-camera [T, 4, 4] with OpenCV axes of a camera that moves about a head at the origin."""
    return rig(frames)


def _six(rotvec: np.ndarray) -> np.ndarray:
    """[..., 6] the first two rows of rotation matrices, as PyTorch3D flattens them."""
    return Rotation.from_rotvec(rotvec).as_matrix()[..., :2, :].reshape(*rotvec.shape[:-1], 6).astype(np.float32)


def write_checkpoints(folder: Path, parameters: dict[str, np.ndarray], viewmats: np.ndarray, K: np.ndarray) -> None:
    """metrical-tracker's checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    for time, viewmat in enumerate(viewmats):
        eyes = _six(parameters["eyes_pose"][time].reshape(2, 3)).reshape(1, 12)
        frame = {
            "flame": {
                "exp": parameters["expr"][[time]],
                "shape": parameters["shape"][None],
                "tex": np.zeros((1, 140), np.float32),
                "sh": np.zeros((1, 9, 3), np.float32),
                "eyes": eyes,
                "eyelids": np.full((1, 2), 0.25, np.float32),
                "jaw": _six(parameters["jaw_pose"][[time]]),
            },
            "camera": {
                "R": _six(np.zeros((1, 3))),
                "t": np.zeros((1, 3)),
                "fl": np.ones((1, 1)),
                "pp": np.zeros((1, 2)),
            },
            "opencv": {"R": viewmat[None, :3, :3], "t": viewmat[None, :3, 3], "K": K[None]},
            "img_size": np.array([HEIGHT, WIDTH]),
            "frame_id": f"{time:05d}",
            "global_step": 7 * time,
        }
        torch.save(frame, folder / f"{time:05d}.frame")


def _resting(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of trackers that leave FLAME's body at rest."""
    zero = np.zeros((len(parameters["expr"]), 3), np.float32)
    return parameters | {"rotation": zero, "translation": zero, "neck_pose": zero}


def _monocular(root: Path, images: list[np.ndarray], parameters: dict[str, np.ndarray], **more: object) -> Example:
    return Example(
        root,
        None,
        intrinsics(1),
        ("0",),
        [[image] for image in images],
        head=moving_camera() @ skulls(parameters),
        expression=parameters["expr"],
        jaw=parameters.get("jaw_pose"),
        **more,
    )


def metrical_tracker(root: Path) -> Example:
    parameters = _resting(flame(4))
    write_checkpoints(root / "checkpoint", parameters, moving_camera(), intrinsics()[0])
    for time in range(FRAMES):
        write_png(root / "input" / f"{time:05d}.png", picture(time, 0))
    images = [picture(time, 0) for time in range(FRAMES)]
    return _monocular(root, images, parameters, hostile=[root / "checkpoint" / "00001.frame"])


def insta(root: Path) -> Example:
    parameters, K, frames = _resting(flame(5)), intrinsics()[0], []
    parameters["jaw_pose"] = np.zeros((FRAMES, 3), np.float32)  # not in INSTA's files
    for time, viewmat in enumerate(moving_camera()):
        (root / "images").mkdir(parents=True, exist_ok=True)
        bgra = np.dstack((picture(time, 0)[..., ::-1], matte(time, 0)))
        assert cv2.imwrite(str(root / "images" / f"{time:05d}.png"), bgra)
        exp = root / "flame" / "exp" / f"{time:05d}.txt"
        exp.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(exp, parameters["expr"][time], fmt="%.8f")
        frames.append(
            {
                "transform_matrix": np.linalg.inv(viewmat).tolist(),
                "file_path": f"images/{time:05d}.png",
                "mesh_path": f"meshes/{time:05d}.obj",
                "exp_path": f"flame/exp/{time:05d}.txt",
                "depth_path": f"depth/{time:05d}.png",
                "seg_mask_path": f"seg_mask/{time:05d}.png",
            }
        )
    frames = [frames[index] for index in (2, 0, 3, 1)]  # INSTA's threads write them in any order
    values = {"w": WIDTH, "h": HEIGHT, "cx": K[0, 2], "cy": K[1, 2], "fl_x": K[0, 0], "fl_y": K[1, 1]}
    values |= {"integer_depth_scale": 0.001, "x_fov": 20.0, "y_fov": 30.0}
    path = write_json(root / "transforms.json", {**values, "frames": frames})
    images = [picture(time, 0) for time in range(FRAMES)]
    mattes = [[matte(time, 0)] for time in range(FRAMES)]
    return _monocular(root, images, parameters, mattes=mattes, hostile=[path, exp])


def flashavatar(root: Path) -> Example:
    """The image of checkpoint t is t + 1."""
    parameters, home = _resting(flame(6)), root / "dataset" / "obama"
    write_checkpoints(
        root / "metrical-tracker" / "output" / "obama" / "checkpoint", parameters, moving_camera(), intrinsics()[0]
    )
    for time in range(FRAMES + 1):
        for folder, pixels in (("imgs", picture(time, 0)), ("alpha", matte(time, 0))):
            (home / folder).mkdir(parents=True, exist_ok=True)
            stored = pixels[..., ::-1] if pixels.ndim == 3 else pixels
            assert cv2.imwrite(str(home / folder / f"{time:05d}.jpg"), stored, [cv2.IMWRITE_JPEG_QUALITY, 100])
    images = [picture(time + 1, 0) for time in range(FRAMES)]
    mattes = [[matte(time + 1, 0)] for time in range(FRAMES)]
    checkpoint = root / "metrical-tracker" / "output" / "obama" / "checkpoint" / "00002.frame"
    return _monocular(home, images, parameters, mattes=mattes, tolerance=5, hostile=[checkpoint])


def imavatar(root: Path) -> Example:
    """FLAME four times as large before a camera with OpenGL axes, fx negative."""
    parameters, K, frames = flame(7, expressions=50), intrinsics()[0], []
    parameters["translation"] = np.zeros((FRAMES, 3), np.float32)
    for time, viewmat in enumerate(moving_camera()):
        write_png(root / "image" / f"{time + 1}.png", picture(time, 0))
        write_png(root / "mask" / f"{time + 1}.png", matte(time, 0))
        world_mat = viewmat[:3].copy()
        world_mat[:, 3] *= 4
        world_mat[1:] *= -1
        pose = np.concatenate([parameters[n][time] for n in ("rotation", "neck_pose", "jaw_pose", "eyes_pose")])
        frames.append(
            {
                "file_path": f"./image/{time + 1}",
                "world_mat": world_mat.tolist(),
                "expression": parameters["expr"][time].tolist(),
                "pose": pose.tolist(),
                "bbox": [-0.5, -0.5, 0.5, 0.5],
                "flame_keypoints": [[0.0, 0.0]] * 68,
            }
        )
    intrinsic = [-K[0, 0] / WIDTH, K[1, 1] / HEIGHT, K[0, 2] / WIDTH, K[1, 2] / HEIGHT]
    data = {"frames": frames, "intrinsics": intrinsic, "shape_params": parameters["shape"][:100].tolist()}
    path = write_json(root / "flame_params.json", data)
    images = [picture(time, 0) for time in range(FRAMES)]
    return _monocular(root, images, parameters, mattes=[[matte(time, 0)] for time in range(FRAMES)], hostile=[path])


def multiface(root: Path) -> Example:
    viewmats, Ks, names = rig(), intrinsics(), ("400002", "400013", "400053")
    text = ""
    for view, name in enumerate(names):
        extrinsic = viewmats[view, :3].copy()
        extrinsic[:, 3] *= 1000  # millimetres
        rows = [*Ks[view].tolist(), [0.0] * 5, *extrinsic.tolist()]
        text += name + "\n" + "\n".join(" ".join(map(repr, row)) for row in rows) + "\n\n"
        for time in range(FRAMES):
            write_png(root / "images" / "E001_Neutral" / name / f"{102 + time:06d}.png", picture(time, view))
    (root / "KRT").write_text(text)
    return Example(root, viewmats, Ks, names, all_pictures(), fps=30, hostile=[root / "KRT"])


def renderme360(root: Path) -> Example:
    """A raw part with images and an anno part with calibration, masks and FLAME; RT is camera-to-world."""
    import h5py

    viewmats, Ks, names, parameters = rig(), intrinsics(), ("00", "01", "02"), flame(8, expressions=50)
    root.mkdir(parents=True, exist_ok=True)
    raw, anno = root / "0026_e1_raw.smc", root / "0026_e1_anno.smc"

    def encoded(pixels: np.ndarray) -> np.ndarray:
        return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].reshape(-1)

    with h5py.File(raw, "w") as colours, h5py.File(anno, "w") as notes:
        for view, name in enumerate(names):
            for time in range(FRAMES):
                colours[f"Camera/{name}/color/{time}"] = encoded(picture(time, view))
                notes[f"Camera/{name}/mask/{time}"] = encoded(matte(time, view))
            notes[f"Calibration/{name}/K"] = Ks[view]
            notes[f"Calibration/{name}/D"] = np.zeros(5)
            notes[f"Calibration/{name}/RT"] = np.linalg.inv(viewmats[view])
        for time in range(FRAMES):
            frame = f"FLAME/{time}"
            notes[f"{frame}/global_pose"] = parameters["rotation"][time].astype(np.float64)
            notes[f"{frame}/trans"] = parameters["translation"][time].astype(np.float64)
            for name in ("neck_pose", "jaw_pose"):
                notes[f"{frame}/{name}"] = parameters[name][time].astype(np.float64)
            notes[f"{frame}/left_eye_pose"] = parameters["eyes_pose"][time, :3].astype(np.float64)
            notes[f"{frame}/right_eye_pose"] = parameters["eyes_pose"][time, 3:].astype(np.float64)
            notes[f"{frame}/shape"] = parameters["shape"][:100].astype(np.float64)
            notes[f"{frame}/exp"] = parameters["expr"][time].astype(np.float64)
            notes[f"{frame}/verts"] = np.zeros((5023, 3))
    return Example(
        raw,
        viewmats,
        Ks,
        names,
        all_pictures(),
        all_mattes(),
        fps=30,
        head=viewmats[0] @ skulls(parameters),
        expression=parameters["expr"],
        jaw=parameters["jaw_pose"],
        hostile=[anno, raw],
    )


# Name of the example -> (the reader that must recognise it, the writer).
EXAMPLES: dict[str, tuple[str, Callable[[Path], Example]]] = {
    "nerfstudio": ("nerfstudio", nerfstudio),
    "instant_ngp": ("nerfstudio", instant_ngp),
    "colmap_text": ("colmap", colmap_text),
    "colmap_binary": ("colmap", colmap_binary),
    "calibrated_videos": ("calibrated_videos", calibrated_videos),
    "calibrated_photos": ("calibrated_photos", calibrated_photos),
    "vhap": ("vhap", vhap),
    "vhap_union": ("vhap", vhap_union),
    "nersemble": ("nersemble", nersemble),
    "nersemble_vhap": ("nersemble", nersemble_vhap),
    "nersemble_v2": ("nersemble_v2", nersemble_v2),
    "nersemble_benchmark": ("nersemble_benchmark", nersemble_benchmark),
    "metrical_tracker": ("metrical_tracker", metrical_tracker),
    "insta": ("insta", insta),
    "flashavatar": ("flashavatar", flashavatar),
    "imavatar": ("imavatar", imavatar),
    "multiface": ("multiface", multiface),
    "renderme360": ("renderme360", renderme360),
}
