"""Commands that run the Flink job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.cli import money
from bench.cli.options import (
    LANGUAGES,
    Above0,
    On,
    Sizes,
    flink_options,
    languages_argument,
    measuring,
    ready,
    require_text,
    worker_option,
    working,
)
from bench.cli.show import show, show_made, show_surges, steps

if TYPE_CHECKING:
    from bench.cluster.session import Elsewhere

_ABOVE_0 = Above0()


@click.command()
@languages_argument
@worker_option
@flink_options
@measuring
def run(
    languages: tuple[str, ...],
    worker_cpu: float,
    where: Elsewhere | None,
    on: On,
) -> None:
    """Run the main job: cold starts, compute per batch, then Flink through a surge.

    The tokenizer's process is held to a share of a CPU; what it can do then is measured first. The
    surge asks for twice that, for 15 s: first without help, then with offload to each language. The
    work is real in both places: texts of a paragraph into subwords. All sentences that come out are
    checked, one by one.

    \b
    Example: bench run python
    Example: bench run java --stack burst --region eu-central-1
    """
    from bench.experiments import run as experiment

    planned = experiment.planned(languages, on.seed)
    cost = partial(money.of_job, planned=planned, sizes=len(experiment.SIZES))
    with on.job("run", languages, cost, "-".join(languages), where, planned) as (
        target,
        r,
        on_step,
    ):
        experiment.measure(target, r, languages, worker_cpu, on_step, where)
    show([r.folder], "cold", "compute", "failures")
    click.echo(f"\nrecords: {r.path}")


@click.command()
@languages_argument
@click.option(
    "--method",
    "methods",
    multiple=True,
    default=("none", "operator"),
    show_default=True,
    type=click.Choice(
        ("none", "operator", "source", "always", "scale-out", "scale-out-new", "bigger")
    ),
    help="Who deals with the surge; give it several times to compare.",
)
@click.option(
    "--repetitions",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Of each method.",
)
@click.option("--burst", default="20", show_default=True, type=Sizes(), help="Lengths in s.")
@click.option(
    "--calm",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=1.0),
    metavar="S",
    help="Calm before a surge or a flash; some of Flink's own gauges look back for 60.",
)
@click.option(
    "--base",
    default=0.5,
    show_default=True,
    type=_ABOVE_0,
    help="Calm rate, times the measured capacity.",
)
@click.option(
    "--factor",
    default=4.0,
    show_default=True,
    type=_ABOVE_0,
    help="Surge rate over calm rate.",
)
@click.option(
    "--batch-size",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Sentences in a full batch.",
)
@click.option(
    "--call-timeout",
    default=3000.0,
    show_default=True,
    type=_ABOVE_0,
    metavar="MS",
    help="A batch whose answer takes longer is done here.",
)
@click.option(
    "--workload",
    default="sentences",
    show_default=True,
    type=click.Choice(("sentences", "nexmark", "ysb")),
    help="What the sentences are.",
)
@working
@click.option(
    "--form",
    default="surge",
    show_default=True,
    type=click.Choice(("surge", "flash", "square", "sine")),
    help="How the load comes: at once and flat; at once and falling as 1/t; twice; gradually.",
)
@click.option(
    "--trace",
    metavar="NAME|FILE",
    help="Replay a load seen somewhere instead: aapl, amzn, fb, llm-code, or a rate a line. "
    "Its median is made to meet --base.",
)
@click.option(
    "--speed",
    type=_ABOVE_0,
    metavar="N",
    help="Replay it N times as fast as it was.  [default: a line a second]",
)
@click.option(
    "--warm",
    default="0",
    show_default=True,
    type=Sizes(least=0),
    help="Environments up before the start; of several numbers, each.",
)
@click.option("--warm-up", is_flag=True, help="Start environments when the load rises.")
@click.option(
    "--expected-burst",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="How long a burst is expected to last: one shorter than a cold start is not offloaded.",
)
@click.option(
    "--scale-out-as",
    default="here",
    show_default=True,
    type=click.Choice(("here", "reactive", "operator", "managed")),
    help="Wait before scaling out as long as it takes elsewhere (detection, node, outage): on "
    "Kubernetes in reactive mode or with the operator's autoscaler; AWS's managed Flink.",
)
@click.option("--ordered", is_flag=True, help="Tokens go downstream in source order.")
@click.option(
    "--policy",
    default="default",
    show_default=True,
    type=click.Choice(("default", "sponge", "threshold", "oracle")),
    help="Who decides how much is offloaded.",
)
@worker_option
@flink_options
@measuring
def surge(
    languages: tuple[str, ...],
    methods: tuple[Any, ...],
    repetitions: int,
    burst: tuple[int, ...],
    calm: float,
    base: float,
    factor: float,
    batch_size: int,
    call_timeout: float,
    workload: str,
    operator: str,
    words_per_sentence: int,
    form: Any,
    trace: str | None,
    speed: float | None,
    warm: tuple[int, ...],
    warm_up: bool,
    expected_burst: float | None,
    scale_out_as: Any,
    ordered: bool,
    policy: str,
    worker_cpu: float,
    where: Elsewhere | None,
    on: On,
) -> None:
    """Run Flink through a surge with several ways of relief, side by side.

    The worker, the process that runs the tokenizer, is held to --worker-cpu by the kernel, and what
    it can do then is measured before and after; rates are multiples of that.

    none: nothing is done. operator, source: who offloads, once the metrics say so. always: every
    batch goes to Lambda. scale-out, scale-out-new: as many tokenizer subtasks as the surge needs,
    in TaskManagers that are there or in new ones. bigger: the quota that the surge needs, from the
    start. Methods and languages take turns in random order, one burst length after the other;
    every sentence that comes out is checked.

    \b
    Example: bench surge python --method none --method operator --method scale-out
    Example: bench surge node --method operator --method scale-out-new --burst 2,5,10,30,60
    Example: bench surge java --operator subwords --words-per-sentence 100
    Example: bench surge --warm 0,8
    Example: bench surge --method none --calm 75
    Example: bench surge java --form sine --warm-up
    Example: bench surge java --trace aapl --speed 600
    """
    from dataclasses import replace

    _require_theirs(where, methods)
    from bench.experiments import run as main_job
    from bench.experiments import surge
    from bench.experiments.batches import Work
    from bench.experiments.drive import CALLING

    require_text(workload, words_per_sentence)
    _require_one_load(trace, form)
    loads = (
        [_replayed(trace, base, speed)]
        if trace
        else [surge.plain(float(seconds), factor, form, base, calm) for seconds in burst]
    )
    planned = []
    for load in loads:
        like = replace(
            load,
            seed=on.seed,
            batch_size=batch_size,
            call_timeout_ms=call_timeout,
            workload=workload,
            operator=operator,
            words_per_sentence=words_per_sentence,
            warms_up=warm_up,
            expected_burst_s=expected_burst,
            scale_out_as=scale_out_as,
            ordered=ordered,
        )
        planned += surge.plan(like, methods, languages, repetitions, on.seed, pools=warm)
    cost = partial(money.of_job, planned=planned, sizes=1)
    with on.job("surge", languages, cost, where=where, planned=planned) as (target, r, on_step):
        if set(methods) & set(CALLING):
            main_job.calls(
                target, r, languages, on_step, (batch_size,), Work(operator, words_per_sentence)
            )
        surge.measure(
            target,
            r,
            planned,
            worker_cpu=worker_cpu,
            policy_name=policy,
            where=where,
            on_progress=on_step,
        )
    show_surges(r.folder)
    click.echo(f"records: {r.path}\nplots of them: bench report {r.name}")


def _require_theirs(where: Elsewhere | None, methods: tuple[str, ...]) -> None:
    """Raise UsageError where a method changes a cluster that is not ours to be changed."""
    from bench.experiments.drive import CHANGING

    if where and (ours := [x for x in methods if x in CHANGING]):
        raise click.UsageError(
            f"--method {ours[0]} changes TaskManagers, and those of --flink are not ours"
        )


def _require_one_load(trace: str | None, form: str) -> None:
    """Raise UsageError where options are given that the load has no use for."""
    context = click.get_current_context()

    def given(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    if trace is None and given("speed"):
        raise click.UsageError("--speed is for --trace: bench surge --trace aapl --speed 600")
    if form in ("square", "sine") and given("calm"):
        raise click.UsageError(f"--calm: a {form} begins at once")
    own = ("form", "burst", "factor", "calm")
    if trace is not None and (too := [x for x in own if given(x)]):
        raise click.UsageError(
            f"--trace brings its own rates: leave out {', '.join(f'--{x}' for x in too)}"
        )


def _replayed(trace: str, base: float, speed: float | None) -> Any:
    """The surge that replays a trace. Raises UsageError if it cannot be read."""
    from bench.experiments import surge
    from flink_job.load import traces

    try:
        return surge.traced(traces.read(trace).replayed(base, speed))
    except ValueError as error:
        raise click.UsageError(f"--trace: {error}") from error


@click.command()
@click.option(
    "--first",
    default=0.2,
    show_default=True,
    type=click.FloatRange(min=0.01),
    help="First rate, times the measured capacity.",
)
@click.option(
    "--doublings",
    default=3,
    show_default=True,
    type=click.IntRange(1, 20),
    help="How often the rate doubles.",
)
@click.option(
    "--step-s",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=2),
    help="Seconds that a rate lasts.",
)
@click.option(
    "--bisections",
    default=3,
    show_default=True,
    type=click.IntRange(0, 10),
    help="Rates to try between kept up and broken.",
)
@click.option(
    "--repetitions",
    default=1,
    show_default=True,
    type=click.IntRange(1, 20),
    help="Of the doubling and halving.",
)
@click.option(
    "--push-ms",
    type=click.IntRange(min=1),
    help="Have Flink push its metrics too, so often, by its StatsD reporter.",
)
@working
@worker_option
@flink_options
def breakpoint(
    first: float,
    doublings: int,
    step_s: float,
    bisections: int,
    repetitions: int,
    push_ms: int | None,
    operator: str,
    words_per_sentence: int,
    worker_cpu: float,
    where: Elsewhere | None,
) -> None:
    """Find the rate at which the job breaks, and the metric that says so.

    The worker's capacity is measured first. Then the offered rate doubles step by step and halves
    again, and bisection narrows the edge down. For each step: rates, latency and Flink's metrics;
    for each metric: its value before and during the overload, and how long after the overload began
    it showed it. Nothing is offloaded.

    \b
    Example: bench breakpoint --operator subwords --push-ms 100
    """
    from bench.experiments import breakpoint as experiment
    from bench.experiments.drive import Surge
    from bench.facts.records import Run

    plan = experiment.Plan(
        first=first,
        doublings=doublings,
        step_s=step_s,
        repetitions=repetitions,
        bisections=bisections,
        like=Surge("none", "", 0.0, operator=operator, words_per_sentence=words_per_sentence),
    )
    if where and push_ms:
        raise click.UsageError("--push-ms is set where a cluster starts, and --flink has started")
    ready(where, plan.like.slots)
    with Run("breakpoint", caps={"push_ms": push_ms}) as run, steps() as on_step:
        experiment.measure(
            run, plan, worker_cpu=worker_cpu, push_ms=push_ms, where=where, on_progress=on_step
        )
    show_made(run.folder, "breakpoint")


@click.command()
@click.argument(
    "parameter",
    type=click.Choice(("batch-size", "poll-ms", "rate", "parallelism", "in-flight", "memory")),
)
@click.argument("values", type=Sizes())
@click.option(
    "--language",
    default="python",
    show_default=True,
    type=click.Choice(LANGUAGES),
    help="Of the function.",
)
@click.option("--repetitions", default=1, show_default=True, help="Of each value.")
@working
@worker_option
@flink_options
@measuring
def sweep(
    parameter: str,
    values: tuple[int, ...],
    language: str,
    repetitions: int,
    operator: str,
    words_per_sentence: int,
    worker_cpu: float,
    where: Elsewhere | None,
    on: On,
) -> None:
    """Run a surge for each of several VALUES of one parameter, all else being equal.

    The operator offloads; where the parameter matters without offload too, the same surge runs
    without. batch-size: sentences in a batch. poll-ms: time between two looks at the metrics. rate:
    of the surge, times the rate before. parallelism: subtasks, load growing with them. in-flight:
    calls at once. memory: of the function, in MB. Values take turns in random order.

    \b
    Example: bench sweep batch-size 10,30,100,300
    Example: bench sweep memory 128,512,1769 --language java
    """
    from bench.experiments import sweep as experiment
    from bench.experiments.batches import Work

    planned = experiment.plan(
        parameter, values, language, repetitions, on.seed, Work(operator, words_per_sentence)
    )
    cost = partial(money.of_job, planned=planned, sizes=len({x.batch_size for x in planned}))
    with on.job("sweep", [language], cost, parameter, where, planned) as (target, r, on_step):
        experiment.measure(target, r, planned, worker_cpu, on_step, where)
    show_made(r.folder, "sweep")
