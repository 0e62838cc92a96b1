"""Mistakes in the clipping of gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from engine.clipping import ClipByNorm, ClipByValue, norm
from engine.mistakes.computation import Answer, Case, Computation, Numbers, layer_keys
from engine.rules import About, Array

By = Literal["norm", "value"]
Limit = Literal["1", "5", "0.5", "0.1"]


@dataclass(frozen=True, slots=True)
class ClippingLeftOut:
    """The update takes the gradients as they are before clipping.

    The clipped gradients are computed, or clipped in a copy, and the others used.

    Source: Pascanu et al. 2012, arXiv:1211.5063; torch.nn.utils.clip_grad_norm_.
    """

    kind: Literal["clipping_left_out"] = "clipping_left_out"
    about: ClassVar = About("Clipping left out", r"g \text{ for } g \min(1, c / \lVert g \rVert)")

    def applies(self, case: Case) -> bool:
        return case.clipping is not None and case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        return c._replace(clipped=lambda n, gradients: gradients)


@dataclass(frozen=True, slots=True)
class ClippingPerLayer:
    """Each layer's gradients, or each parameter's, clipped by their own norm in place of the norm of all together.

    It changes the direction of the step; clipping by the global norm keeps it.

    Source: Pascanu et al. 2012, arXiv:1211.5063; torch.nn.utils.clip_grad_norm_.
    """

    kind: Literal["clipping_per_layer"] = "clipping_per_layer"
    per: Literal["layer", "parameter"] = "layer"
    about: ClassVar = About("Clipping per layer", r"g_l \min(1, c / \lVert g_l \rVert)")

    def applies(self, case: Case) -> bool:
        return isinstance(case.clipping, ClipByNorm) and case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        rule = case.clipping
        assert rule is not None

        def clipped(n: Numbers, gradients: list[Array]) -> list[Array]:
            groups: dict[Any, list[int]] = {}
            for k, (i, name) in enumerate(n.computation.trained(case)):
                groups.setdefault(i if self.per == "layer" else (i, name), []).append(k)
            result = list(gradients)
            for group in groups.values():
                own = [gradients[k] for k in group]
                for k, gradient in zip(group, rule.clip(own, norm(own)), strict=True):
                    result[k] = gradient
            return result

        return c._replace(clipped=clipped)


@dataclass(frozen=True, slots=True)
class ClippingMixedUp:
    """Clipping of another kind.

    `form` says which: the weights alone are counted and clipped, and biases are not (weights_alone); each number is
    limited where the norm is to be, or the norm where each number is (other_kind); the norm's square is taken for the
    norm (root_left_out).

    Source: torch.nn.utils.clip_grad_norm_ and clip_grad_value_.
    """

    kind: Literal["clipping_mixed_up"] = "clipping_mixed_up"
    form: Literal["weights_alone", "other_kind", "root_left_out"] = "weights_alone"
    about: ClassVar = About("Clipping mixed up", r"g \min(1, c / \lVert g_W \rVert) \text{ or } \max(-c, \min(c, g))")

    def applies(self, case: Case) -> bool:
        if case.optimizer is None or case.clipping is None:
            return False
        if self.form == "weights_alone":
            return {name for _, name in case.trained} == {"weights", "bias"}
        return self.form == "other_kind" or isinstance(case.clipping, ClipByNorm)

    def alter(self, c: Computation, case: Case) -> Computation:
        rule: Any = case.clipping
        other = (
            ClipByValue(max_value=rule.max_norm)
            if isinstance(rule, ClipByNorm)
            else ClipByNorm(max_norm=rule.max_value)
        )

        def clipped(n: Numbers, gradients: list[Array]) -> list[Array]:
            if self.form == "other_kind":
                return other.clip(gradients, norm(gradients))
            if self.form == "root_left_out":
                length = norm(gradients)
                return list(rule.clip(gradients, length * length))
            names = [name for _, name in n.computation.trained(case)]
            own = [g for name, g in zip(names, gradients, strict=True) if name == "weights"]
            weights = iter(rule.clip(own, norm(own)))
            return [next(weights) if name == "weights" else g for name, g in zip(names, gradients, strict=True)]

        return c._replace(clipped=clipped)


@dataclass(frozen=True, slots=True)
class ClippingNotAskedFor:
    """Gradients clipped before the update, where the request does not clip them.

    It stands in the training loop, with one of the usual limits. `by` says whether the norm of all gradients is limited
    or each number.

    Source: Pascanu et al. 2012, arXiv:1211.5063; torch.nn.utils.clip_grad_norm_ and clip_grad_value_.
    """

    kind: Literal["clipping_not_asked_for"] = "clipping_not_asked_for"
    by: By = "norm"
    limit: Limit = "1"
    about: ClassVar = About("Clipping not asked for", r"g \min(1, c / \lVert g \rVert) \text{ for } g")

    def alter(self, c: Computation, case: Case) -> Computation:
        limit = float(self.limit)
        rule: Any = ClipByNorm(max_norm=limit) if self.by == "norm" else ClipByValue(max_value=limit)
        return c._replace(clipped=lambda n, gradients: rule.clip(gradients, norm(gradients)))


def clippings(case: Case) -> Iterator[ClippingNotAskedFor]:
    """The clippings to try where there is none."""
    if case.clipping is None and case.optimizer is not None:
        yield from (ClippingNotAskedFor(by=by, limit=limit) for by in get_args(By) for limit in get_args(Limit))


@dataclass(frozen=True, slots=True)
class GradientsAfterClipping:
    """The gradients given are those after clipping; here, gradients are those before.

    Clipping in place overwrites them.

    Source: torch.nn.utils.clip_grad_norm_, which works in place.
    """

    kind: Literal["gradients_after_clipping"] = "gradients_after_clipping"
    about: ClassVar = About("Gradients given after clipping", r"g \min(1, c / \lVert g \rVert) \text{ for } g")

    def applies(self, case: Case) -> bool:
        return case.clipping is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        rule = case.clipping
        assert rule is not None

        def clipped(answer: Answer) -> Answer:
            keys = [layer_keys(i).by[name] for i, name in case.trained]
            gradients = [answer[key] for key in keys]
            return answer | dict(zip(keys, rule.clip(gradients, norm(gradients)), strict=True))

        return c.rewritten(clipped)
