"""Decides whether a new version is promoted, rolled back, paused or watched longer, by what it and the running one did.

A pure function: the counters of both and a policy go in, a decision with its figures comes out. docs/deploy.md says in
words what is tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from bots.deploy import prometheus
from bots.deploy.checks import Check, list_failed
from bots.stats import significance

if TYPE_CHECKING:
    from bots.deploy.prometheus import ServiceCounters
    from bots.settings import Canary

# Errors, refusals, two quantiles and the scores share the policy's risk (Bonferroni); half of the errors' part is for
# looking at them again and again before the end, and half of the scores' part for the classes, where there are several.
TESTS = 5
QUANTILES = (0.95, 0.99)
# Below this chance, were it exactly at the limit, what was seen is likelier beyond the limit than within it.
EVEN = 0.5


class CanaryDecision(Struct, frozen=True):
    """What to do with a canary. `action` ends the watch except for `wait`; `words` say why in a line.

    `judged` says whether everything was tested, which takes a part of the policy's risk.
    """

    action: Literal["promote", "roll back", "pause", "wait"]
    words: str
    checks: list[Check]
    judged: bool = False


@dataclass(frozen=True)
class CanaryObservation:
    """What was seen since the canary got its share of the requests, which is `seconds` ago.

    `restarts` are the canary's; `alive` is whether it runs and calls itself ready. `allowed` is the shift of scores
    that the review already saw between the two models on the same rows of the holdout, and `allowed_called` that of the
    classes which these rows are called, where there are several. `judged` is how often everything was tested before,
    the last time with `judged_at` of the canary's requests; `watches` is how often it was watched, with this time.
    `last` is whether this watch ends now. A `shadow`'s latency is not judged: it gets the processor that the others
    leave, and nobody waits for it.
    """

    canary: ServiceCounters
    stable: ServiceCounters
    seconds: float
    restarts: int = 0
    alive: bool = True
    allowed: float = 0.0
    allowed_called: float = 0.0
    judged: int = 0
    judged_at: int = 0
    watches: int = 1
    last: bool = False
    shadow: bool = False


def decide_canary(seen: CanaryObservation, policy: Canary) -> CanaryDecision:
    """Decide about a canary. What cannot wait is checked each time, the rest once enough requests came.

    The rest is tested again whenever the requests have doubled, and at the end of the first watch: each time, and each
    watch, at half of the risk of the time before, so that all together stay within the policy's risk however long it is
    paused.
    """
    looks = max(1, math.ceil(policy.seconds / policy.every))
    part = policy.risk / TESTS / 2
    urgent = [
        _check_alive(seen),
        _check_log(seen),
        _check_errors(seen, policy, part / looks / 2**seen.watches),
    ]
    if wrong := list_failed(urgent):
        return CanaryDecision("roll back", _join_words(wrong), urgent)
    requests = seen.canary.requests
    last = seen.last or seen.seconds >= policy.seconds
    if requests < policy.requests:
        return _decide_quiet(seen, policy, urgent, last=last)
    closing = last and seen.watches == 1 and requests > seen.judged_at
    if seen.judged and requests < 2 * seen.judged_at and not closing:
        words = (
            f"{requests} requests, and it was judged with {seen.judged_at}: judged again with twice as many"
        )
        return CanaryDecision("pause" if last else "wait", words, urgent)
    checks = _check_everything(seen, policy)
    if wrong := list_failed(checks):
        return CanaryDecision("roll back", _join_words(wrong), checks, judged=True)
    if unclear := [check for check in checks if check.passed is None]:
        words = f"cannot tell after {requests} requests: {_join_words(unclear)}"
        return CanaryDecision("pause" if last else "wait", words, checks, judged=True)
    words = f"nothing speaks against it in {requests} requests and {seen.seconds:.0f} s"
    return CanaryDecision("promote", words, checks, judged=True)


def _decide_quiet(
    seen: CanaryObservation, policy: Canary, urgent: list[Check], *, last: bool
) -> CanaryDecision:
    """Decide while fewer requests came than the policy wants: wait, and in the end what `quiet` says."""
    requests = seen.canary.requests
    if not last:
        words = f"{requests} of {policy.requests} requests in {seen.seconds:.0f} s"
        return CanaryDecision("wait", words, urgent)
    few = f"only {requests} of {policy.requests} requests came in {seen.seconds:.0f} s"
    if policy.quiet == "pause":
        return CanaryDecision("pause", f"cannot tell: {few}", urgent)
    checks = _check_everything(seen, policy)
    if wrong := list_failed(checks):
        return CanaryDecision("roll back", _join_words(wrong), checks, judged=True)
    if doubtful := [check for check in checks if check.passed is None and check.figures]:
        return CanaryDecision("pause", f"cannot tell: {few}; {_join_words(doubtful)}", checks, judged=True)
    if policy.quiet == "roll back":
        words = f"{few}; release.canary.quiet says to roll back then"
        return CanaryDecision("roll back", words, checks, judged=True)
    words = f"{few}, and none speaks against it; release.canary.quiet says to promote then"
    return CanaryDecision("promote", words, checks, judged=True)


def _check_everything(seen: CanaryObservation, policy: Canary) -> list[Check]:
    """Check all there is, at this time's part of the risk: a half, then a quarter, and so on."""
    risk = policy.risk / TESTS / 2 ** (seen.judged + 1)
    several = bool(seen.canary.classes or seen.stable.classes)
    shifts = [_check_scores(seen, policy, risk / 2 if several else risk)]
    if several:
        shifts.append(_check_classes(seen, policy, risk / 2))
    return [
        _check_alive(seen),
        _check_log(seen),
        _check_errors(seen, policy, risk / 2),
        _check_refusals(seen, policy, risk),
        *(_check_latency(seen, policy, q, risk=risk) for q in QUANTILES if not seen.shadow),
        *shifts,
    ]


def _join_words(wrong: list[Check]) -> str:
    return "; ".join(f"{check.name}: {check.words}" for check in wrong)


def _check_alive(seen: CanaryObservation) -> Check:
    figures = {"restarts": float(seen.restarts)}
    if seen.restarts:
        return Check(
            "alive", passed=False, words=f"it was restarted {_format_times(seen.restarts)}", figures=figures
        )
    if not seen.alive:
        return Check(
            "alive", passed=False, words="it does not run, or is not ready any more", figures=figures
        )
    return Check("alive", passed=True, words="it runs and is ready", figures=figures)


def _check_log(seen: CanaryObservation) -> Check:
    """Check for lost log entries. A full disk loses the running version's too; then it is not the canary's fault."""
    lost, before = seen.canary.lost, seen.stable.lost
    figures = {"lost": float(lost), "lost_by_running": float(before)}
    words = f"{lost} log entries lost, {before} by the running version"
    return Check("prediction log", passed=not (lost and not before), words=words, figures=figures)


def _check_errors(seen: CanaryObservation, policy: Canary, part: float) -> Check:
    bad = seen.canary.errors, seen.stable.errors
    return _compare_shares("errors", seen, bad, matters=policy.errors, part=part)


def _check_refusals(seen: CanaryObservation, policy: Canary, risk: float) -> Check:
    bad = seen.canary.refused, seen.stable.refused
    return _compare_shares("refusals", seen, bad, matters=policy.refusals, part=risk)


def _compare_shares(
    name: str, seen: CanaryObservation, counts: tuple[int, int], *, matters: float, part: float
) -> Check:
    """Compare the share of bad requests; `counts` of the canary and of the running version.

    It is worse when the share rose beyond chance (p below `part`) and by at least `matters`; as large a rise that may
    be chance leaves it open.
    """
    bad, before = counts
    total, total_before = seen.canary.requests, seen.stable.requests
    if not total or not total_before:
        return Check(name, passed=None, words=f"no requests to compare ({total} and {total_before})")
    rate, rate_before = bad / total, before / total_before
    p = significance.compute_rise_p(bad, total, bad_before=before, total_before=total_before)
    words = f"{rate:.2%} of {total} requests, {rate_before:.2%} of {total_before} at the running version"
    figures = {"share": rate, "share_of_running": rate_before, "p": p}
    return _conclude(name, words, figures, beyond=rate - rate_before >= matters and bad > 0, shown=p < part)


def _check_latency(seen: CanaryObservation, policy: Canary, q: float, *, risk: float) -> Check:
    """Compare a quantile: slower when more answers than its rest take longer than the running version's allows."""
    name = f"p{q * 100:.0f} latency"
    times = seen.canary.seconds
    total, before = (side.get(math.inf, 0) for side in (times, seen.stable.seconds))
    if not total or not before:
        return Check(name, passed=None, words=f"no answers to compare ({total} and {before})")
    running = prometheus.estimate_quantile(seen.stable.seconds, q)
    allowed = max(running * policy.latency.ratio, running + policy.latency.seconds)
    bound = min(bound for bound in times if bound >= allowed)
    p = significance.compute_at_least_p(total - times[bound], total, 1 - q)
    own = prometheus.estimate_quantile(times, q)
    words = f"{own * 1000:.0f} ms, {running * 1000:.0f} ms at the running version, {allowed * 1000:.0f} ms allowed"
    figures = {"seconds": own, "seconds_of_running": running, "seconds_allowed": allowed, "p": p}
    return _conclude(name, words, figures, beyond=p < EVEN, shown=p < risk)


def _check_scores(seen: CanaryObservation, policy: Canary, risk: float) -> Check:
    """Compare the scores: shifted when they differ by more than the policy allows and than the review already saw."""
    if seen.canary.scores.keys() != seen.stable.scores.keys():
        words = "the two versions count their scores on different grids"
        return Check("predictions", passed=None, words=words)
    counts = prometheus.count_bins(seen.canary.scores), prometheus.count_bins(seen.stable.scores)
    allowed = max(policy.shift, seen.allowed)
    return _compare_counts("predictions", seen, counts, allowed=allowed, risk=risk)


def _check_classes(seen: CanaryObservation, policy: Canary, risk: float) -> Check:
    """Compare how often each class is called, as the scores are compared. A class that one of them lacks counts 0."""
    own, running = seen.canary.classes, seen.stable.classes
    if not own or not running:
        words = "only one of the two versions has several classes"
        return Check("classes", passed=None, words=words)
    # The rare ones first: where a class has too few predictions, it is judged together with its neighbours.
    names = sorted({*own, *running}, key=lambda name: (own.get(name, 0) + running.get(name, 0), name))
    counts = [own.get(name, 0) for name in names], [running.get(name, 0) for name in names]
    allowed = max(policy.shift, seen.allowed_called)
    return _compare_counts("classes", seen, counts, allowed=allowed, risk=risk)


def _compare_counts(
    name: str, seen: CanaryObservation, counts: tuple[list[int], list[int]], *, allowed: float, risk: float
) -> Check:
    """Compare two histograms; `counts` of the canary and of the running version."""
    own, running = seen.canary, seen.stable
    index, p = significance.compute_shift(
        *counts,
        allowed=allowed,
        size=own.answered,
        size_before=running.answered,
    )
    if not own.answered or not running.answered:
        words = f"no answers to compare ({own.answered} and {running.answered})"
        return Check(name, passed=None, words=words)
    words = f"stability index {index:.3f}, {allowed:.3f} allowed"
    figures = {"index": index, "index_allowed": allowed, "p": p}
    return _conclude(name, words, figures, beyond=p < EVEN, shown=p < risk)


def _conclude(name: str, words: str, figures: dict[str, float], *, beyond: bool, shown: bool) -> Check:
    """Conclude a test: failed where the harm is shown, open where it is likelier than not but may be chance."""
    if beyond and not shown:
        return Check(name, passed=None, words=f"{words}; it may be chance", figures=figures)
    return Check(name, passed=not (beyond and shown), words=words, figures=figures)


def _format_times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
