"""Training on a capture that grows."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch

from recon.avatars.splats import SplatAvatar
from recon.binding import compacted
from recon.corrections import CodeStatistics
from recon.footage import Progress
from recon.person import identity_of, person_of
from recon.replay import ReplayPool
from recon.splat_optimizer import make_optimizer
from recon.splat_session import SplatSession
from recon.states import copy_of, under
from recon.train_config import TrainConfig
from studio.code_range import measure_range
from studio.codes import CodeTrack
from studio.heads.model import HeadModel

_MEAN_REACH = 0.2  # of the steps so far: how far back the running mean of the parameters reaches
_MEAN_STEPS = 30  # and so many more, so that the first ones count at once
_CALMING = 400  # steps after which learning rates have fallen to half
_LEAST_RATE = 0.25
_RENEWED = "learned/weights."  # parameters that are replaced when more is known: their running mean says nothing


class OnlineSession(SplatSession):
    """Gaussians stay; the head under them, the codes and what the networks see of them are renewed."""

    def __init__(self, progress: Progress, head: HeadModel, config: TrainConfig, pool: int) -> None:
        super().__init__(progress.capture, progress.track, head, replace(config, validation=0.0, split="train"))
        self._whole_head = head
        self._identity = identity_of(progress.track, head)
        self._pool = ReplayPool(pool, config.seed)
        self.sampler = self._pool
        self._admit(progress.track, 0)
        self.steps = 0

    def renew(self, progress: Progress) -> None:
        """Take in what has been recorded since, and what is known better now."""
        track, before = progress.track, len(self.objective.codes.expression)
        person = person_of(track, self._whole_head)
        self.objective.codes = track.codes
        self.views.renew(progress.capture, person, track.codes)
        self._admit(track, before)
        identity = identity_of(track, self._whole_head)
        if not torch.equal(identity, self._identity):
            self._identity = identity
            self._reshape(track, person)

    def _admit(self, track: CodeTrack, before: int) -> None:
        """Train on the frames from ``before`` on, too."""
        self.keys = [(t, 0) for t in range(len(track.valid))]
        for frame in range(before, len(track.valid)):
            if bool(track.valid[frame]):
                self._pool.offer(frame)
        expression = track.codes.expression
        away = (expression - expression[track.valid].mean(0)).norm(dim=-1)
        self._pool.rank(torch.where(track.valid, away, -1.0).numpy())

    def _reshape(self, track: CodeTrack, person: HeadModel) -> None:
        """Another shape of the head under the same Gaussians, and networks that see the codes of all frames."""
        avatar, seen = self.avatar, track.codes[track.valid]
        statistics = CodeStatistics.fit(seen, person, self.config.model.components)
        before, after = avatar.statistics.components(seen), statistics.components(seen)
        learned = avatar.learned
        learned.weights = learned.weights.carried_over(before, after, statistics.sizes.tolist())
        small, _ = compacted(person, self._placed)
        code_range = measure_range(track)
        self.avatar = replace(avatar, head=small, statistics=statistics, code_range=code_range, learned=learned)
        known = self.optimizer.state
        self.optimizer = make_optimizer(learned, self.objective, self.config)
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in known:
                    self.optimizer.state[parameter] = known[parameter]
        now = copy_of(self.modules)
        self.mean = {name: value if name.startswith(_RENEWED) else self.mean[name] for name, value in now.items()}

    def train_once(self) -> float:
        """One step; returns the loss."""
        loss = self.step(self.steps)
        self.steps += 1
        return loss

    def _rate(self, step: int) -> float:
        return max(_LEAST_RATE, _CALMING / (_CALMING + step))

    def _reach(self, step: int) -> float:
        return _MEAN_STEPS + _MEAN_REACH * step

    def snapshot(self) -> SplatAvatar:
        """The avatar as it is now, by itself: training on does not change it."""
        learned = copy.deepcopy(self.avatar.learned)
        learned.load_state_dict(under("learned", self.mean))
        backdrop = self.objective.backdrop
        background = backdrop.image(0)
        if background is not None and not backdrop.random:
            background = self.mean["backdrop/images"][0].clamp(0, 1).cpu()
        return replace(self.avatar, learned=learned.requires_grad_(False), background=background)

    def result(self) -> tuple[SplatAvatar, dict[str, Any]]:
        """The avatar, and how many steps and frames it has seen."""
        return self.snapshot(), {"step": self.steps, "frames": len(self.keys), "pool": len(self._pool.frames())}
