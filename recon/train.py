"""Training of a drivable splat avatar: from a capture, its code track and a head model to an avatar folder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.backdrop import Backdrop, Behind
from recon.binding import Binding, compacted
from recon.bust import has_torso, interocular, with_bust
from recon.cameras_fit import RigResiduals
from recon.checkpoints import Checkpoint, load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from recon.colors import initial_colors
from recon.corrections import CodeStatistics
from recon.detail import blending_weights, with_levels
from recon.field import FieldConfig, SplatField
from recon.forecast import Outlook, step_work
from recon.frames import Draws, Key, Sampler, View, Views
from recon.growth import GrowthConfig, blame, grow, grown_mean, inherit, with_binding
from recon.initialise import make_binding
from recon.loop import OnStep, fit
from recon.losses import LossConfig, image_loss
from recon.metrics import psnr
from recon.refinement import PoseResiduals
from studio.captures import Capture
from studio.code_range import measure_range
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.heads.model import JOINTS, HeadModel

_INITIAL_VIEWS = 16  # photos that decide what is seen, what is hair and which colours to start with
_VALIDATION_VIEWS = 12
_RARE = 0.2  # share of the training frames with the strongest expressions: they are drawn twice as often
_BLAME_VIEWS = 24  # photos whose errors decide which Gaussians are split
_LEVEL_VIEWS, _LEVEL_STEPS = 24, 160  # photos that say what matters most; photos that a level is fitted to
_CAMERAS_MOVE = 0.25  # share of all steps before cameras of a rig begin to move
_MEAN_EVERY = 10  # steps between updates of the running mean of the parameters
_MEAN_REACH = 0.15  # of all steps: how far back the mean reaches
_FORWARD = 0.5  # of the cost of a step: drawing without learning
_COPIES = (
    3  # of what is learned, besides itself, its momenta and its mean: the best state, and two at a time for a moment
)
_INSIDE = ("teeth_upper", "teeth_lower", "tongue", "gums", "mouth_interior", "eye_left", "eye_right")
_LAST_RATE = 0.05  # of the first: learning rates fall along a half cosine


@dataclass(frozen=True)
class RateConfig:
    """Adam's learning rates; lengths are in inter-ocular distances, colours sRGB 0..1.

    ``eps`` is what Adam adds to the size of a gradient: enough that what is hidden (the inside of a closed mouth) does
    not drift on rounding errors, too little to slow what is seen. ``decay`` shrinks the corrections (decoupled weight
    decay, Loshchilov and Hutter 2019), so that those of states seen once fade.
    """

    offsets: float = 3e-3
    quats: float = 4e-3
    log_scales: float = 8e-3
    opacity_logits: float = 4e-2
    colors: float = 6e-3
    bases: float = 3e-3
    weights: float = 2e-3
    residuals: float = 1e-2
    camera_colors: float = 6e-3
    camera_motions: float = 3e-3
    images: float = 3e-3
    eps: float = 1e-7
    decay: float = 0.7


@dataclass(frozen=True)
class TrainConfig:
    """How an avatar is trained.

    Args:
        gaussians: how many.
        iterations: steps of one image each.
        split: which part of the capture is trained on.
        validation: share of its timesteps, a block in the middle, that only choose the best state.
        check_every: steps between validations.
        patience: validations without improvement after which training stops.
        checkpoint_every: steps between checkpoints.
        behind: what is behind the person, see ``recon.backdrop``.
        refine: small pose corrections of the training frames, see ``recon.refinement``.
        camera_colors: affine colours of each camera of a rig, see ``recon.cameras_fit``.
        camera_motions: small motions of each camera of a rig.
        growth: whether all Gaussians are there from the beginning, see ``recon.growth``.
        levels: numbers of Gaussians of the sparser versions that the avatar brings, where it has more itself.
        hold: share of their way back to their first colours that teeth, tongue and eyeballs take each step.
        jitter: noise on the code components (which have unit variance): corrections become smooth functions of them.
        seed: of everything random.
        kernels: "auto", "cuda" or "cpu".
    """

    gaussians: int = 30_000
    iterations: int = 2_000
    split: str = "train"
    validation: float = 0.05
    check_every: int = 250
    patience: int = 4
    checkpoint_every: int = 500
    behind: Behind = "auto"
    refine: bool = False
    camera_colors: bool = False
    camera_motions: bool = False
    hold: float = 2e-3
    jitter: float = 0.25
    levels: tuple[int, ...] = (8_000, 20_000, 50_000, 100_000)
    growth: GrowthConfig = field(default_factory=GrowthConfig)
    seed: int = 0
    kernels: str = "auto"
    model: FieldConfig = field(default_factory=FieldConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    rates: RateConfig = field(default_factory=RateConfig)


def train(
    capture: Capture,
    track: CodeTrack,
    head: HeadModel,
    config: TrainConfig,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
) -> Path:
    """Train an avatar.

    Args:
        capture: photos, mattes and cameras.
        track: the codes of every timestep; ``extras["identity"]`` holds the person's identity parameters.
        head: the head model that the track was made with.
        config: see ``TrainConfig``.
        run_folder: made by this function: config, checkpoints, metrics.jsonl and the avatar.
        on_step: called after every step.
        resume: continue in ``run_folder`` from its newest checkpoint, with the same result bit by bit.

    Returns:
        The avatar folder, ``run_folder``/avatar.

    Raises:
        StudioError: the run exists (without ``resume``) or is of another configuration, capture, track or head model;
            the split has no usable frame.
        KeyboardInterrupt: after Ctrl-C, when the state is stored.
    """
    inputs = {"track": track.hash, "head model": head.hash}
    return fit(lambda: SplatSession(capture, track, head, config), capture, config, run_folder, on_step, resume, inputs)


class SplatSession:
    """Everything that training holds between two steps."""

    def __init__(self, capture: Capture, track: CodeTrack, head: HeadModel, config: TrainConfig) -> None:
        self.config, self.codes = config, track.codes
        self.timesteps, held_out, cameras = _parts(capture, track, config)
        identity = torch.from_numpy(np.asarray(track.extras.get("identity", np.zeros(head.num_identity)))).float()
        person = head.with_identity(identity)
        person = person if has_torso(person) else with_bust(person)
        self.views = Views(capture, person, track.codes)
        self.keys: list[Key] = [(t, c) for t in self.timesteps for c in cameras]
        self.held_out = _spread([(t, c) for t in held_out for c in cameras], _VALIDATION_VIEWS)
        generator = torch.Generator().manual_seed(config.seed)
        rare = _rare(track.codes[list(self.timesteps)])
        unusual = [key for key in self.keys if rare[self.timesteps.index(key[0])]]
        samples = [self.views[key] for key in _spread(self.keys, _INITIAL_VIEWS) + _spread(unusual, _INITIAL_VIEWS)]
        count = config.growth.count(config.gaussians, 0, config.iterations)
        binding = make_binding(person, track.codes, samples, count, generator)
        self._placed = binding  # on the whole head
        small, binding = compacted(person, binding)
        statistics = CodeStatistics.fit(track.codes[list(self.timesteps)], person, config.model.components)
        self.keys += [key for key in self.keys if rare[self.timesteps.index(key[0])]]
        learned = SplatField(binding, interocular(person), statistics.sizes.tolist(), config.model, generator)
        trained = replace(track, codes=track.codes[list(self.timesteps)], valid=track.valid[list(self.timesteps)])
        camera = capture.cameras[_front_camera(capture, track, cameras)]
        self.avatar = SplatAvatar(
            small, head.hash, binding, learned, statistics, measure_range(trained), camera, None, config.kernels
        )
        self.residuals = PoseResiduals(len(self.timesteps), learned.unit)
        self.rig = RigResiduals(capture.cameras[cameras], learned.unit, config.camera_colors, config.camera_motions)
        self.backdrop = Backdrop(self.views, cameras, self.timesteps, config.behind, config.seed)
        initial_colors(self.avatar, self.codes, samples)
        self._first_colors = self.avatar.learned.colors.detach().clone()
        self.sampler: Draws = Sampler(len(self.keys), config.seed)
        self.optimizer = self._new_optimizer()
        self._best_psnr, self._best_step, self._stale = -math.inf, 0, 0
        self._best: dict[str, Tensor] = {}
        self._mean = self._copied("mean")

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self._groups(), eps=self.config.rates.eps, weight_decay=0.0, fused=True)

    def _groups(self) -> list[dict[str, object]]:
        rates = self.config.rates
        learned = self.avatar.learned
        groups: list[dict[str, object]] = [
            {"params": [getattr(learned, name)], "rate": getattr(rates, name)}
            for name in ("offsets", "quats", "log_scales", "opacity_logits", "colors", "bases")
        ]
        groups[-1]["weight_decay"] = rates.decay
        groups.append({"params": list(learned.weights.parameters()), "rate": rates.weights})
        if self.config.refine:
            groups.append({"params": [self.residuals.values], "rate": rates.residuals})
        if self.config.camera_colors:
            groups.append({"params": [self.rig.colors], "rate": rates.camera_colors})
        if self.config.camera_motions:
            # Before the avatar shows anybody its errors would push the cameras of a perfect rig about.
            groups.append({"params": [self.rig.motions], "rate": rates.camera_motions, "start": _CAMERAS_MOVE})
        if not self.backdrop.random:
            # Adam divides by the size of the gradient: where nothing is ever seen it would amplify rounding errors.
            groups.append({"params": [self.backdrop.images], "rate": rates.images, "eps": 1e-6})
        return [{**group, "lr": group["rate"]} for group in groups]

    def modules(self) -> dict[str, torch.nn.Module]:
        """What is learned, by name."""
        return {"learned": self.avatar.learned, "residuals": self.residuals, "rig": self.rig, "backdrop": self.backdrop}

    def step(self, step: int) -> float:
        """One optimisation step; returns the loss."""
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * rate
        index = self.sampler.next()
        view = self.views[self.keys[index]]
        loss = self.loss(self.avatar, view, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self._settle(rate * self.config.hold)
        if step % _MEAN_EVERY == 0:
            pace = min(_MEAN_EVERY / self._reach(step), 1.0)
            for name, value in self._state("mean").items():
                self._mean[name].lerp_(value.detach(), pace)
        if self.config.growth.due(step + 1, self.config.iterations):
            self._grow(step + 1)
        return float(loss.detach())

    @torch.no_grad()
    def _settle(self, share: float) -> None:
        """What is inside of mouth and eyes goes a share of its way back to the colours it began with.

        Adam makes as large a step of a glimpse between lips as of what is always seen: teeth and tongue would be
        speckled with the colours of lips. Against gradients that agree such a share is nothing.
        """
        inside = self.avatar.head.region_faces(*_INSIDE)[self.avatar.binding.faces]
        self.avatar.learned.colors.lerp_(self._first_colors, share * inside[:, None])

    def _rate(self, step: int) -> float:
        """Learning rates at a step, relative to the first."""
        progress = step / max(self.config.iterations - 1, 1)
        return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))

    def _reach(self, step: int) -> float:
        """How many steps back the running mean of the parameters reaches."""
        return _MEAN_REACH * self.config.iterations

    def _grow(self, done: int) -> None:
        """Split Gaussians where the training photos are missed most. Earlier states are dropped: they have fewer."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + done)
        views = [self.views[key] for key in _random(self.keys, _BLAME_VIEWS, generator)]
        blamed = blame(self.avatar, self.codes, views, self.backdrop)
        count = self.config.growth.count(self.config.gaussians, done, self.config.iterations)
        self.avatar, splits = grow(self.avatar, self.optimizer, blamed, count, generator)
        self._first_colors = inherit(self._first_colors, splits)
        self._mean = grown_mean(self._mean, "mean/learned/", splits)
        self._best_psnr, self._best_step, self._stale, self._best = -math.inf, 0, 0, {}

    def loss(self, avatar: SplatAvatar, view: View, step: int) -> Tensor:
        """The loss of a training view, drawn by the avatar in training or a sparser level of it."""
        codes = self.codes[view.key[0]]
        gaussians = avatar.head_gaussians(codes, self._jitter(step))
        if self.config.refine:
            gaussians = self.residuals(gaussians, _torso(avatar), self.timesteps.index(view.key[0]))
        output = avatar.render_gaussians(self.rig.placed(view.camera), gaussians, codes.head_to_world)
        output = self.rig.colored(output, view.camera)
        behind, target = self.backdrop(view, step)
        return image_loss(output, behind, target, view, self.config.loss)

    def _jitter(self, step: int) -> Tensor:
        """[D] noise on the code components, the same whenever a step is repeated."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        return self.config.jitter * torch.randn(self.avatar.statistics.projection.shape[1], generator=generator)

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Mean PSNR over the validation views, driven by plain tracked codes; remembers the best state.

        What is judged and kept is the running mean of the parameters: single steps learn single frames by heart.
        """
        now, scores = self._copied("now"), []
        self._load("mean", self._mean)
        for key in self.held_out:
            view = self.views[key]
            behind, target = self.backdrop(view, -1)
            output = self.avatar.render(self.rig.placed(view.camera), self.codes[key[0]])
            image = self.rig.colored(output, view.camera).over(behind)[0].clamp(0, 1)
            scores.append(psnr(image, target))
        score = float(np.mean(scores)) if scores else float(step)  # nothing to validate with: the last state is best
        self._stale += 1
        if score > self._best_psnr:
            self._best_psnr, self._best_step, self._stale = score, step, 0
            self._best = self._copied("best")
        self._load("now", now)
        return {"validation_psnr": score} if scores else {}

    @property
    def reading(self) -> tuple[int, float]:
        """How many images were read, and the seconds it took."""
        return self.views.reads, self.views.read_seconds

    def outlook(self, done: int) -> Outlook:
        """What is left after a number of steps."""
        config, camera = self.config, self.avatar.camera
        pixels = camera.width * camera.height
        unit = step_work(len(self.avatar.learned), pixels)
        steps = range(done, config.iterations)
        counts = [config.growth.count(config.gaussians, step, config.iterations) for step in steps]
        rounds = sum(config.growth.due(step, config.iterations) for step in range(done + 1, config.iterations))
        checks = config.iterations // config.check_every - done // config.check_every
        work = sum(step_work(count, pixels) / unit for count in counts)
        work += _LEVEL_STEPS * sum(
            step_work(count, pixels) / unit for count in config.levels if count < config.gaussians
        )
        work += _FORWARD * (checks * len(self.held_out) + rounds * _BLAME_VIEWS)
        reads, held = self.views.ahead([*self.keys, *self.held_out], len(counts) / len(self.keys))
        state = sum(value.nbytes for value in self._mean.values()) * config.gaussians // len(self.avatar.learned)
        return Outlook(work, reads, held + _COPIES * state)

    @property
    def finished(self) -> bool:
        """Whether validation has not improved for long."""
        return self._stale >= self.config.patience

    def result(self) -> tuple[SplatAvatar, dict[str, Any]]:
        """The avatar in its best state, with its background."""
        self._load("best", self._best)
        front = self.views.capture.cameras.ids.index(self.avatar.camera.ids[0])
        avatar = replace(self._with_levels(), background=self.backdrop.image(front))
        made: dict[str, Any] = {"step": self._best_step, "validation_psnr": self._best_psnr}
        if self.config.camera_colors or self.config.camera_motions:
            made["cameras"] = self.rig.report()
        return avatar, made

    def _with_levels(self) -> SplatAvatar:
        """The avatar with its sparser levels, fitted to training photos."""
        counts = tuple(count for count in self.config.levels if count < len(self.avatar.learned))
        if not counts:
            return self.avatar
        views = [self.views[key] for key in _spread(self.keys, _LEVEL_VIEWS)]
        weights = blending_weights(self.avatar, self.codes, views)
        shuffled = Sampler(len(self.keys), self.config.seed)
        keys = [self.keys[shuffled.next()] for _ in range(_LEVEL_STEPS)]

        def loss(level: SplatAvatar, step: int) -> Tensor:
            return self.loss(level, self.views[keys[step]], step)

        return with_levels(self.avatar, counts, weights, loss, _LEVEL_STEPS)

    def _state(self, prefix: str) -> dict[str, Tensor]:
        return {f"{prefix}/{m}/{n}": v for m, module in self.modules().items() for n, v in module.state_dict().items()}

    def _copied(self, prefix: str) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._state(prefix).items()}

    def _load(self, prefix: str, tensors: dict[str, Tensor]) -> None:
        for name, module in self.modules().items():
            start = f"{prefix}/{name}/"
            module.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})

    def store(self, folder: Path, step: int) -> None:
        """Write a checkpoint."""
        tensors = {**self._state("now"), **self._mean, **self._best, **optimizer_tensors(self.optimizer)}
        tensors["first_colors"] = self._first_colors
        tensors |= {f"binding/{name}": value for name, value in vars(self.avatar.binding).items()}
        numbers = {
            "drawn": self.sampler.drawn,
            "best_psnr": self._best_psnr if self._best else None,
            "best_step": self._best_step,
            "stale": self._stale,
        }
        save_checkpoint(folder, step, Checkpoint(tensors, numbers))

    def restore(self, folder: Path) -> int:
        """Continue from the newest checkpoint, if there is one; returns the steps done."""
        checkpoint = load_checkpoint(folder)
        if checkpoint is None:
            return 0
        tensors, numbers = dict(checkpoint.tensors), checkpoint.numbers
        binding = {n.removeprefix("binding/"): value for n, value in tensors.items() if n.startswith("binding/")}
        self.avatar = with_binding(self.avatar, self.optimizer, Binding(**binding))
        self._first_colors = tensors["first_colors"]
        self._load("now", tensors)
        restore_optimizer(self.optimizer, tensors)
        self._best = {name: value for name, value in tensors.items() if name.startswith("best/")}
        self._mean = {name: value for name, value in tensors.items() if name.startswith("mean/")}
        self.sampler.drawn = int(numbers["drawn"])
        self._best_psnr = -math.inf if numbers["best_psnr"] is None else float(numbers["best_psnr"])
        self._best_step, self._stale = int(numbers["best_step"]), int(numbers["stale"])
        return int(numbers["step"])


def _parts(
    capture: Capture, track: CodeTrack, config: TrainConfig
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Training timesteps, validation timesteps, cameras."""
    split = capture.split(config.split)
    usable = [t for t in split.timesteps if bool(track.valid[t])]
    if not usable:
        raise StudioError(
            f"nothing to train on in {capture.folder}",
            got=f"no valid frame in {config.split}",
            expected="tracked frames",
        )
    held_out = min(int(config.validation * len(usable)), len(usable) - 1)
    first = (len(usable) - held_out) // 2
    after = first + held_out
    return tuple(usable[:first] + usable[after:]), tuple(usable[first:after]), split.cameras


def _rare(
    codes: Codes,  # batch [T], the training frames
) -> Tensor:
    """[T] bool: the frames whose expression is farthest from the mean: wide mouths, blinks."""
    distance = (codes.expression - codes.expression.mean(0)).norm(dim=-1)
    return distance > torch.quantile(distance, 1 - _RARE)


def _spread(keys: list[Key], count: int) -> list[Key]:
    """At most ``count`` of the keys, evenly spread."""
    if len(keys) <= count:
        return keys
    return [keys[int(index)] for index in np.linspace(0, len(keys) - 1, count).round()]


def _torso(avatar: SplatAvatar) -> Tensor:
    """[N] how much each Gaussian follows the torso."""
    head, binding = avatar.head, avatar.binding
    weights = head.skin_weights[:, JOINTS.index("torso")]
    return (weights[head.faces[binding.faces]] * binding.bary).sum(1)


def _random(keys: list[Key], count: int, generator: torch.Generator) -> list[Key]:
    """At most ``count`` of the keys."""
    return [keys[index] for index in torch.randperm(len(keys), generator=generator)[:count].tolist()]


def _front_camera(capture: Capture, track: CodeTrack, cameras: tuple[int, ...]) -> int:
    """The training camera that sees the face most from the front, over the clip."""
    forward = track.codes.head_to_world[:, :3, 2].mean(0)
    middle = track.codes.head_to_world[:, :3, 3].mean(0)
    towards = torch.nn.functional.normalize(capture.cameras.centers[list(cameras)] - middle, dim=-1)
    return cameras[int((towards @ forward).argmax())]
