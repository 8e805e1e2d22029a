"""What can be told from the calibration and the sizes of the pictures alone."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Finding, Verdict
from capture.checking.words import listed
from capture.checks import Check

_OFF_CENTER = 0.2  # of the picture's size: how far from the middle a principal point may lie
_ASPECT = 0.1  # by which fx and fy may differ
_VIEW = (np.radians(2.0), np.radians(130.0))  # usual fields of view
_SAME_PLACE = 1e-3  # of the rig's size


def ask(evidence: Evidence) -> Verdict:
    findings = [*_sizes(evidence), *_intrinsics(evidence), *_rotations(evidence), *_same_poses(evidence)]
    cameras = evidence.capture.cameras
    said = f"{len(cameras)} cameras of {cameras.width}x{cameras.height} pixels, as the pictures are"
    return Verdict(findings or [Finding("ok", "", said)])


def _named(evidence: Evidence, chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(np.array(evidence.names)[chosen].tolist())


def _sizes(evidence: Evidence) -> list[Finding]:
    cameras = evidence.capture.cameras
    expected, found = (cameras.width, cameras.height), []
    sizes = [{row[c].size for row in evidence.looks if not row[c].problem} for c in range(len(cameras))]
    wrong = np.array([bool(size - {expected}) for size in sizes])
    if wrong.any():
        seen = sorted({size for each in sizes for size in each if size != expected})
        text = f"pictures of {listed([f'{w}x{h}' for w, h in seen])}, calibrated for {expected[0]}x{expected[1]}"
        if (seen[0][1], seen[0][0]) == expected:
            advice = "the pictures are turned by 90 degrees: turn them, or calibrate them as they are"
        else:
            advice = (
                f"multiply fx and cx by {seen[0][0] / expected[0]:.4g}, fy and cy by {seen[0][1] / expected[1]:.4g}"
            )
        found.append(Finding("bad", "image_size", text, advice, _named(evidence, wrong)))
    return found


def _intrinsics(evidence: Evidence) -> list[Finding]:
    cameras = evidence.capture.cameras
    Ks, size = cameras.Ks.double().numpy(), np.array([cameras.width, cameras.height])
    findings = []
    off = np.abs(Ks[:, :2, 2] / size - 0.5).max(1) > _OFF_CENTER
    if off.any():
        center = np.median(Ks[off][:, :2, 2], axis=0)
        text = f"the principal point lies at ({center[0]:.0f}, {center[1]:.0f}) in pictures of {size[0]}x{size[1]}"
        likely = np.rint(2 * center).astype(int)
        advice = f"K seems to belong to pictures of about {likely[0]}x{likely[1]}: scale it, or crop it as they were"
        findings.append(Finding("bad", "principal_point", text, advice, _named(evidence, off)))
    focal = Ks[:, (0, 1), (0, 1)]
    odd = np.abs(np.log(np.abs(focal[:, 0] / focal[:, 1]))) > np.log1p(_ASPECT)
    if odd.any():
        text = f"fx and fy differ by {100 * np.abs(focal[odd, 0] / focal[odd, 1] - 1).max():.0f} %"
        advice = "pixels of today's cameras are square: were the pictures scaled in one direction?"
        findings.append(Finding("note", "aspect", text, advice, _named(evidence, odd)))
    view = 2 * np.arctan(0.5 * size.max() / np.abs(focal).max(1))
    strange = (focal <= 0).any(1) | (view < _VIEW[0]) | (view > _VIEW[1])
    if strange.any():
        text = f"a field of view of {np.degrees(view[strange][0]):.1f} degrees"
        advice = "is K in pixels, and of pictures of this size?"
        findings.append(Finding("bad", "focal_length", text, advice, _named(evidence, strange)))
    return findings


def _rotations(evidence: Evidence) -> list[Finding]:
    turns = evidence.capture.cameras.viewmats[:, :3, :3].double().numpy()
    skew = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max((1, 2)) > 1e-2
    findings = []
    if skew.any():
        advice = "world_to_camera must hold a rotation: was it transposed, scaled or rounded?"
        text = f"{int(skew.sum())} matrices are no rotations"
        findings.append(Finding("bad", "rotation", text, advice, _named(evidence, skew)))
    mirrored = ~skew & (np.linalg.det(turns) < 0)
    if mirrored.any():
        advice = "the world is left-handed: negate one axis of the world (a column of the rotations), and of all tracks"
        text = f"{int(mirrored.sum())} rotations mirror the world (determinant -1)"
        findings.append(Finding("bad", "handedness", text, advice, _named(evidence, mirrored)))
    return findings


def _same_poses(evidence: Evidence) -> list[Finding]:
    cameras = evidence.capture.cameras
    centers, looks = cameras.centers.double().numpy(), cameras.viewmats[:, 2, :3].double().numpy()
    between = np.linalg.norm(centers[:, None] - centers, axis=-1)
    reach = max(float(between.max()), 1e-9)
    same = (between < _SAME_PLACE * reach) & (looks @ looks.T > 1 - 1e-6)
    pairs = [(a, b) for a, b in np.argwhere(np.triu(same, 1))]
    if not pairs:
        return []
    text = "the same pose for cameras " + listed([f"{evidence.names[a]} and {evidence.names[b]}" for a, b in pairs])
    advice = "a pose was copied: calibrate the camera, or leave it out"
    involved = tuple(evidence.names[index] for index in sorted({int(i) for pair in pairs for i in pair}))
    return [Finding("bad", "same_pose", text, advice, involved)]


CHECK = Check(30, "Calibration file", "Do K and the poses make sense, and fit the pictures' size?", ask)
