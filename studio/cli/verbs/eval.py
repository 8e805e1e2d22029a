"""``studio eval``: how good an avatar is on what it was not trained on, or how good a driver's motion is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.progress import count_bar
from studio.cli.rooms import trained_on
from studio.cli.verbs.drive import make_driver
from studio.errors import StudioError
from studio.folders import Manifest, next_free, read_manifest, require_new, write_folder
from studio.logs import say

if TYPE_CHECKING:
    from recon.perceptual import PerceptualConfig
    from studio.captures import Split


def run(config: Config) -> None:
    """Judge the driver where there is one, else the avatar of a run on each held-out split."""
    if config.optional_path("compare") is not None:
        _compare(config)
    elif config.values["submission"]["task"] is not None:
        _submission(config)
    elif config.values["driver"]["source"] is not None:
        _driver(config)
    elif config.optional_path("run") is not None:
        _run(config)
    else:
        raise StudioError(
            "studio eval needs something to judge", got="nothing", expected="run=…, driver=… or compare=[…]"
        )


def _driver(config: Config) -> None:
    """Figures of a driver's motion, as it is or on an avatar, printed and written to a folder."""
    from reenact.audio.jaw import heard_opening
    from reenact.drive import drive
    from reenact.judge.report import judge, read_reference
    from studio.folders import write_json

    values = config.values["driver"]
    out = config.optional_path("out") or next_free(Path("outputs") / f"{Path(str(values['source'])).stem}_judged")
    require_new(out)
    driver = make_driver(values)
    avatar, reference = config.optional_path("avatar"), config.optional_path("reference")
    truth = read_reference(reference, config.get("track", str | None)) if reference is not None else None
    if avatar is not None:
        from recon.avatars import load_avatar

        driving = drive(load_avatar(avatar, config.text("kernels")), driver)
    else:
        driving = driver.drive()
    # A mouth that was made by the network is not judged by the same network.
    made = str(driving.track.provenance.get("expression", "")).startswith("speech network")
    found = judge(driving, truth, jaw=None if made else heard_opening)
    for name, value in found["figures"].items():
        print(f"{name:<36} {value:.4g}" if isinstance(value, float) else f"{name:<36} {value}")
    manifest = Manifest(
        "evaluation", parents=dict(driving.parents), body={"provenance": dict(driving.track.provenance)}
    )
    with write_folder(out, manifest) as temporary:
        write_json(temporary / "metrics.json", found)
    finish(out)


def _run(config: Config) -> None:
    """Evaluate the avatar of a run on each held-out split; every split gets a folder."""
    from recon.perceptual import PerceptualConfig

    folder = config.path("run")
    capture, track = trained_on(folder)
    capture = config.optional_path("capture") or capture
    track = config.get("track", str | None) or track
    out = config.optional_path("out") or folder / "eval"
    perceptual = config.build(PerceptualConfig, "perceptual")
    named = config.get("protocol", str | None)
    if named is not None and config.values["split"] is not None:
        raise StudioError("both a split and a protocol", got=named, next="give one of them")
    chosen = _protocol(folder, capture, named) if named is not None else None
    splits = held_out(capture, track) if config.values["split"] is None else (config.text("split"),)
    written = []
    for split in splits if named is None else (named,):
        target = next_free(out / split)
        avatar, kernels = folder / "avatar", config.text("kernels")
        show(split, evaluate_split(avatar, capture, track, split, target, kernels, perceptual, chosen))
        written += [target / "report.html", target]
    finish(*written, next="drive", avatar=folder / "avatar", driver="other.mp4")


def _protocol(run: Path, capture_folder: Path, name: str) -> tuple[str, Split]:
    """What a protocol holds out, and that training did not see it."""
    from recon.protocols import held_out_keys
    from studio.captures import open_capture

    capture = open_capture(capture_folder)
    trained = read_manifest(run, kind="run").body.get("config", {}).get("split", "train")
    seen = capture.splits.get(str(trained)) if trained_on(run)[0].resolve() == capture_folder.resolve() else None
    return name, held_out_keys(name, capture, seen)


def _submission(config: Config) -> None:
    """Render a sequence of the NeRSemble benchmark into a submission folder, and zip what is there."""
    from recon.avatars import load_avatar
    from recon.submission import pack, task_named, write_submission
    from studio.captures import open_capture

    wanted = config.group("submission")
    task = task_named(wanted.text("task"))
    folder = config.optional_path("run")
    if folder is None:
        raise StudioError("a submission needs a run", got="nothing", expected="run=…")
    trained, track = trained_on(folder)
    capture = open_capture(config.optional_path("capture") or trained)
    name = config.get("track", str | None) or track
    if name is None:
        raise StudioError("a submission needs an avatar that is driven", got="a run without a track")
    out = config.optional_path("out") or Path("outputs") / f"{wanted.text('task')}_submission"
    avatar, person, sequence = load_avatar(folder / "avatar", config.text("kernels")), *_place(wanted)
    calibration = wanted.path("calibration")
    with count_bar("submission") as on_step:
        write_submission(avatar, capture, capture.track(name), calibration, task, person, sequence, out, on_step)
    archive, missing = pack(out, task, next_free(out.with_name(f"{out.name}.zip")))
    if missing:
        say(f"the server would miss {len(missing)} videos: {', '.join(missing[:4])}{' …' if len(missing) > 4 else ''}")
    finish(archive, out)


def _place(wanted: Config) -> tuple[str, str]:
    return wanted.text("person").zfill(3), wanted.text("sequence")


def _compare(config: Config) -> None:
    """A table over evaluations, printed and written."""
    from recon.comparison_table import compare, read_metrics

    given = [item.strip() for item in config.text("compare").strip("[] ").split(",")]
    listed = list(dict.fromkeys(item for item in given if item))
    if len(listed) < 2:
        raise StudioError("a comparison needs two evaluations", got=len(listed), expected="compare=[runs/a,runs/b]")
    named = {name: read_metrics(Path(name).expanduser()) for name in listed}
    out = config.optional_path("out") or next_free(Path("outputs") / "comparison")
    require_new(out)
    markdown, latex = compare(named)
    print(markdown)
    with write_folder(out, Manifest("comparison", body={"of": listed})) as folder:
        (folder / "table.md").write_text(markdown, encoding="utf-8")
        (folder / "table.tex").write_text(latex, encoding="utf-8")
    finish(out / "table.md", out / "table.tex")


def held_out(capture_folder: Path, track_name: str | None) -> tuple[str, ...]:
    """The splits of a capture that training does not see and in which the track has a face."""
    from studio.captures import open_capture

    capture = open_capture(capture_folder)
    valid = capture.track(track_name).valid.tolist() if track_name else [True] * len(capture)
    names = [name for name in capture.splits if name != "train"]
    shown = tuple(name for name in names if any(valid[index] for index in capture.splits[name].timesteps))
    for name in set(names) - set(shown):
        say(f"{name} is not judged: no frame of it shows a face")
    return shown


def evaluate_split(
    avatar: Path,
    capture: Path,
    track: str | None,
    split: str,
    out: Path,
    kernels: str,
    perceptual: PerceptualConfig | None = None,
    protocol: tuple[str, Split] | None = None,
) -> dict[str, Any]:
    """Evaluate an avatar folder on one split, or by a protocol, into a new folder; returns its metrics."""
    from recon.avatars import load_avatar
    from recon.evaluate import evaluate
    from recon.perceptual import load_perceptual
    from studio.captures import open_capture

    opened = open_capture(capture)
    codes = opened.track(track) if track else None
    with count_bar(f"eval {split}") as on_step:
        measure = load_perceptual(perceptual) if perceptual else None
        return evaluate(load_avatar(avatar, kernels), opened, codes, split, out, on_step, measure, protocol)


def show(split: str, metrics: dict[str, Any]) -> None:
    """One line for each region that was seen."""
    for region, values in metrics["regions"].items():
        if values["pixels"]:
            told = {name: value for name, value in values.items() if isinstance(value, int | float)}
            listed = ", ".join(f"{name} {value:.4g}" for name, value in told.items())
            print(f"{split:<21} {region:<22} {listed}")
    flicker = metrics["flicker"] if isinstance(metrics["flicker"], dict) else {}
    for region, values in flicker.items():
        if region != "what" and values["pixels"]:
            print(f"{split:<21} flicker, {region:<13} source {values['source']:.3g}, render {values['render']:.3g}")
