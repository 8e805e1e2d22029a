"""Everything that the training of a splat avatar holds between two steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.binding import Binding, compacted
from recon.bust import interocular
from recon.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from recon.colors import initial_colors
from recon.corrections import CodeStatistics
from recon.detail import blending_weights, with_levels
from recon.field import SplatField
from recon.forecast import Outlook, step_work
from recon.frames import AHEAD, Draws, Key, Sampler, View, Views
from recon.growth import blame, grow, grown_mean, with_binding
from recon.held_colors import HeldColors
from recon.initialise import make_binding
from recon.objective import Objective
from recon.person import person_of
from recon.processes import ALONE, Processes
from recon.selection import Selection, front_camera, select, shuffled, spread
from recon.session import StoredSession
from recon.splat_optimizer import falling_rate, make_optimizer, set_rates, share_gradients
from recon.states import Best, copy_of, load_state, move_towards, named, state_of, under
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.code_range import measure_range
from studio.codes import CodeTrack
from studio.heads.model import HeadModel
from studio.kernels.backends import device_of

_INITIAL_VIEWS = 16  # photos that decide what is seen, what is hair and which colours to start with; and rare ones
_VALIDATION_VIEWS = 12
_BLAME_VIEWS = 24  # photos whose errors decide which Gaussians are split
_LEVEL_VIEWS, _LEVEL_STEPS = 24, 160  # photos that say what matters most; photos that a level is fitted to
_MEAN_EVERY = 10  # steps between updates of the running mean of the parameters
_MEAN_REACH = 0.15  # of all steps: how far back the mean reaches
_FORWARD = 0.5  # of the cost of a step: drawing without learning
_COPIES = (
    3  # of what is learned, besides itself, its momenta and its mean: the best state, and two at a time for a moment
)


class SplatSession(StoredSession):
    """See ``recon.loop.Session``. It begins on the CPU, the same everywhere, and goes on where the kernels work."""

    def __init__(
        self,
        capture: Capture,
        track: CodeTrack,
        head: HeadModel,
        config: TrainConfig,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.processes = config, processes
        selection = select(capture, track, config.split, config.validation)
        person = person_of(track, head)
        self.views = Views(capture, person, track.codes)
        # Rare expressions are drawn twice as often.
        self.keys: list[Key] = [*selection.keys, *selection.rare_keys]
        self.held_out = spread(selection.validation_keys, _VALIDATION_VIEWS)
        generator = torch.Generator().manual_seed(config.seed)
        count = config.growth.count(config.gaussians, 0, config.iterations)
        initial = spread(selection.keys, _INITIAL_VIEWS) + spread(selection.rare_keys, _INITIAL_VIEWS)
        samples = [self.views[key] for key in initial]
        self._placed = make_binding(person, track.codes, samples, count, generator)  # on the whole head
        avatar = _new_avatar(capture, track, person, head.hash, self._placed, selection, config, generator)
        initial_colors(avatar, track.codes, samples)
        self.device = device_of(config.kernels)
        self.avatar = replace(avatar.to(self.device), kernels=config.kernels)
        self.views.move(self.device)
        self.objective = Objective(self.views, track.codes, selection, self.avatar.learned.unit, config)
        self.held = HeldColors(self.avatar)
        self.sampler: Draws = Sampler(len(self.keys), config.seed)
        self.modules = {"learned": self.avatar.learned, **self.objective.modules()}
        self.optimizer = make_optimizer(self.avatar.learned, self.objective, config)
        self.best = Best()
        self.mean = copy_of(self.modules)

    def step(self, step: int) -> float:
        """One optimisation step; returns the loss."""
        rate = self._rate(step)
        set_rates(self.optimizer, rate, step / self.config.iterations)
        loss = self.objective.loss(self.avatar, *self._draw(step))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(self.optimizer, self.avatar.learned, self.processes)
        self.optimizer.step()
        self.held.pull(self.avatar, rate * self.config.hold)
        if step % _MEAN_EVERY == 0:
            move_towards(self.mean, self.modules, min(_MEAN_EVERY / self._reach(step), 1.0))
        if self.config.growth.due(step + 1, self.config.iterations):
            self._grow(step + 1)
        return float(loss.detach())

    def _draw(self, step: int) -> tuple[list[View], list[int]]:
        """This process's views of a step, and their numbers among all that were ever drawn."""
        batch, rank = self.config.batch, self.processes.rank
        total = batch * self.processes.size
        mine = range(rank * batch, (rank + 1) * batch)
        drawn = [self.sampler.next() for _ in range(total)]
        views = [self.views[self.keys[drawn[place]]] for place in mine]
        coming = self.sampler.coming(AHEAD * self.processes.size)
        self.views.expect(self.keys[index] for place, index in enumerate(coming) if place % total in mine)
        return views, [step * total + place for place in mine]

    def _rate(self, step: int) -> float:
        """Learning rates at a step, relative to the first."""
        return falling_rate(step, self.config.iterations)

    def _reach(self, step: int) -> float:
        """How many steps back the running mean of the parameters reaches."""
        return _MEAN_REACH * self.config.iterations

    def _grow(self, done: int) -> None:
        """Split Gaussians where the training photos are missed most. Earlier states are dropped: they have fewer."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + done)
        keys = shuffled(self.keys, _BLAME_VIEWS, generator)
        views = [self.views[keys[place]] for place in self.processes.share(len(keys))]
        blamed = self.processes.add(blame(self.avatar, self.objective.codes, views, self.objective.backdrop))
        count = self.config.growth.count(self.config.gaussians, done, self.config.iterations)
        self.avatar, splits = grow(self.avatar, self.optimizer, blamed, count, generator)
        self.held.split(splits)
        self.mean = grown_mean(self.mean, "learned/", splits)
        self.best = Best()

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Mean PSNR over the validation views; remembers the best state.

        What is judged and kept is the running mean of the parameters: single steps learn single frames by heart.
        """
        now = copy_of(self.modules)
        load_state(self.modules, self.mean)
        scores = self._scores()
        score = float(np.mean(scores)) if scores else float(step)  # nothing to validate with: the last state is best
        self.best.offer(score, step, self.modules)
        load_state(self.modules, now)
        return {"validation_psnr": score} if scores else {}

    def _scores(self) -> list[float]:
        """PSNR of the validation views, each judged by one process."""
        share = self.processes.share(len(self.held_out))
        scores = [self.objective.judge(self.avatar, self.views[self.held_out[place]]) for place in share]
        longest = -(-len(self.held_out) // self.processes.size)
        padded = torch.tensor([*scores, *[torch.nan] * (longest - len(scores))], dtype=torch.float64)
        by_process = torch.stack(self.processes.gathered(padded))
        return [float(score) for score in by_process.T.flatten() if not score.isnan()]

    @property
    def finished(self) -> bool:
        """Whether validation has not improved for long."""
        return self.best.stale >= self.config.patience

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
        state = sum(value.nbytes for value in self.mean.values()) * config.gaussians // len(self.avatar.learned)
        return Outlook(work, reads, held + _COPIES * state)

    def result(self) -> tuple[SplatAvatar, dict[str, Any]]:
        """The avatar in its best state, with its background."""
        load_state(self.modules, self.best.tensors)
        front = self.views.capture.cameras.ids.index(self.avatar.camera.ids[0])
        avatar = replace(self._with_levels(), background=self.objective.backdrop.image(front))
        made: dict[str, Any] = {"step": self.best.step, "validation_psnr": self.best.score}
        if self.config.camera_colors or self.config.camera_motions:
            made["cameras"] = self.objective.rig.report()
        return avatar, made

    def _with_levels(self) -> SplatAvatar:
        """The avatar with its sparser levels, fitted to training photos."""
        counts = tuple(count for count in self.config.levels if count < len(self.avatar.learned))
        if not counts:
            return self.avatar
        views = [self.views[key] for key in spread(self.keys, _LEVEL_VIEWS)]
        weights = blending_weights(self.avatar, self.objective.codes, views)
        order = Sampler(len(self.keys), self.config.seed)
        keys = [self.keys[order.next()] for _ in range(_LEVEL_STEPS)]

        def loss(level: SplatAvatar, step: int) -> Tensor:
            return self.objective.loss(level, [self.views[keys[step]]], [step])

        return with_levels(self.avatar, counts, weights, loss, _LEVEL_STEPS)

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        tensors = {
            **named("now", state_of(self.modules)),
            **named("mean", self.mean),
            **named("best", self.best.tensors),
            **named("binding", vars(self.avatar.binding)),
            **optimizer_tensors(self.optimizer),
            "first_colors": self.held.values,
        }
        return Checkpoint(tensors, {"drawn": self.sampler.drawn, **self.best.numbers()})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a ``state``."""
        tensors, numbers = checkpoint.tensors, checkpoint.numbers
        self.avatar = with_binding(self.avatar, self.optimizer, Binding(**under("binding", tensors)))
        load_state(self.modules, under("now", tensors))
        restore_optimizer(self.optimizer, tensors)
        self.held.values = tensors["first_colors"].to(self.avatar.device)
        self.mean = {name: value.to(self.avatar.device) for name, value in under("mean", tensors).items()}
        self.best = Best.of(numbers, under("best", tensors))
        self.sampler.drawn = int(numbers["drawn"])


def _new_avatar(
    capture: Capture,
    track: CodeTrack,
    person: HeadModel,
    head_hash: str,
    placed: Binding,  # on the person's head
    selection: Selection,
    config: TrainConfig,
    generator: torch.Generator,
) -> SplatAvatar:
    """An avatar that has learned nothing yet."""
    seen = list(selection.timesteps)
    statistics = CodeStatistics.fit(track.codes[seen], person, config.model.components)
    small, binding = compacted(person, placed)
    learned = SplatField(binding, interocular(person), statistics.sizes.tolist(), config.model, generator)
    code_range = measure_range(replace(track, codes=track.codes[seen], valid=track.valid[seen]))
    camera = capture.cameras[front_camera(capture, track, selection.cameras)]
    parts = (small, head_hash, binding, learned, statistics, code_range, camera)
    return SplatAvatar(*parts, shape=person.template)
