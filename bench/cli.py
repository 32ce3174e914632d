"""The command line: one thin function per command. Libraries are imported inside the commands,
so that `bench --help` and `bench serve` stay light."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

_LANGUAGES = ("python", "java", "node")


class _Sizes(click.ParamType):
    """Integers from `least` up, separated by commas."""

    name = "N,N,…"

    def __init__(self, least: int = 1) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            sizes = tuple(int(x) for x in value.split(",")) if isinstance(value, str) else value
        except ValueError:
            sizes = (self._least - 1,)
        if min(sizes, default=self._least) < self._least:
            self.fail(
                f"{value!r} is not a list of integers from {self._least} up, such as 1,10,100",
                param,
                ctx,
            )
        return tuple(sizes)


def _languages(function: Callable[..., None]) -> Callable[..., None]:
    """The argument LANG…, all languages by default."""
    return click.argument(
        "languages",
        metavar="[python|java|node]…",
        nargs=-1,
        type=click.Choice(_LANGUAGES),
        callback=lambda ctx, param, value: tuple(dict.fromkeys(value)) or _LANGUAGES,
    )(function)


def _measuring(function: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that calls functions."""
    for option in (
        click.option("--seed", default=1, show_default=True, help="Of everything random."),
        click.option("--region", help="AWS region of the stack."),
        click.option("--stack", help="Measure this deployed stack; else local processes."),
    ):
        function = option(function)
    return function


@contextmanager
def _steps() -> Iterator[Callable[[str, float], None]]:
    """A progress bar that is told what is being done, and which share of the whole is done."""
    bar: Any
    with click.progressbar(length=1000, label="starting", show_pos=False) as bar:

        def on_step(what: str, share: float) -> None:
            bar.label = f"{what:28.28}"
            bar.update(max(0, round(share * 1000) - bar.pos))

        yield on_step
        bar.update(1000 - bar.pos)


def _show(folders: Sequence[Path], *tables: str) -> None:
    """Print tables made of the records in `folders`, each in the words of the report."""
    from bench.report import calls, evidence

    for e in evidence.load(folders):
        click.echo(f"\n{e.where}")
        _print(filter(None, (getattr(calls, name)(e) for name in tables)))
        _print_noise(e)


def _show_made(folder: Path, kind: str) -> None:
    """Print the tables that `bench.report.<kind>` makes, and write its plots beside the records."""
    from importlib import import_module

    from bench.report import evidence

    room = import_module(f"bench.report.{kind}")
    (e,) = evidence.load([folder])
    _print(room.tables(e))
    for plot in room.plots(e):
        plot.write(folder)
        click.echo(f"\nplot: {folder / plot.name}.svg")
    _print_noise(e)
    click.echo(f"records: {folder}/records.jsonl")


def _show_surges(folder: Path) -> None:
    """Print the tables of the surges in `folder`."""
    from bench.report import evidence, surge_tables, surges

    (e,) = evidence.load([folder])
    settings = surges.settings(surges.surges(e))
    tables = [surge_tables.methods(s) or surge_tables.surge(s) for s in settings]
    _print([*tables, *map(surge_tables.bursts, surges.bursts(settings))])
    _print_noise(e)


def _print(tables: Iterable[Any]) -> None:
    for table in tables:
        click.echo(f"\n{table.title}\n{table.markdown()}\n{table.note}")


def _print_noise(e: Any) -> None:
    for _, said in e.noise():
        click.echo(f"Noise: {said}.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lambda-burst")
def main() -> None:
    """Can AWS Lambda absorb a Flink job's bursts, and in which language should the function be?"""
    # Being told to end is an orderly way out: what was started is ended, what was measured is kept.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@main.command()
def doctor() -> None:
    """Show what this machine has and lacks, and the command that brings it.

    Ends with exit code 1 if something needed is missing.

    \b
    Example: bench doctor
    """
    from tabulate import tabulate

    from bench.doctor import examine

    findings = examine()
    rows = [
        (f.name, f.version or "missing", f.needed_for, "" if f.version else f.fix) for f in findings
    ]
    click.echo(tabulate(rows, headers=("what", "found", "needed for", "bring it with")))
    if not all(f.ok for f in findings):
        raise SystemExit(1)


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
def compare(runs: tuple[str, ...]) -> None:
    """Show the languages side by side: cold start, compute per batch, latency in the surge.

    RUN is the name of a run in results/ or a folder; without any, the newest `bench run` of each
    language. Runs on different targets or machines never share a table. The same goes to
    results/compare.md, and every cell of it to results/compare.csv.

    \b
    Example: bench run python && bench run java && bench run node && bench compare
    """
    from bench import records
    from bench.report import compare, evidence

    folders = evidence.find(runs, records.RESULTS) or evidence.newest(records.RESULTS, {"run"})
    click.echo(compare.write(folders, records.RESULTS))


@main.command()
@_languages
@_measuring
def run(languages: tuple[str, ...], stack: str | None, region: str | None, seed: int) -> None:
    """Run the main job: cold starts, compute per batch, then Flink through a surge.

    The surge doubles what the tokenizer can take, for 20 s: first without help, then with offload
    to each language. All sentences that come out are checked, one by one.

    \b
    Example: bench run python
    Example: bench run java --stack burst --region eu-central-1
    """
    from bench import doctor
    from bench.experiments import run as experiment
    from bench.lambdas.target import open_target
    from bench.records import Run

    doctor.require("javac", *([] if stack else doctor.PARTS))
    with (
        open_target(stack, region) as target,
        Run("run", target=target, languages=languages, seed=seed, suffix="-".join(languages)) as r,
        _steps() as on_step,
    ):
        experiment.measure(target, r, languages, on_step)
    _show([r.folder], "cold", "compute", "failures")
    click.echo(f"\nrecords: {r.path}")


@main.command()
@_languages
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
@click.option("--repetitions", default=3, show_default=True, help="Of each method.")
@click.option("--burst", default="20", show_default=True, type=_Sizes(), help="Lengths in s.")
@click.option("--factor", default=4.0, show_default=True, help="Surge rate over base rate.")
@click.option(
    "--workload",
    default="sentences",
    show_default=True,
    type=click.Choice(("sentences", "nexmark", "ysb")),
    help="What the sentences are.",
)
@click.option("--cost", default=1, show_default=True, help="Times the work, here and in Lambda.")
@click.option(
    "--form",
    default="surge",
    show_default=True,
    type=click.Choice(("surge", "square", "sine")),
    help="How the load comes: once and at once; twice; or gradually, up and down.",
)
@click.option(
    "--warm",
    default="0",
    show_default=True,
    type=_Sizes(least=0),
    help="Environments up before the start; of several numbers, each.",
)
@click.option("--warm-up", is_flag=True, help="Start environments when the load rises.")
@click.option(
    "--expected-burst",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="How long a burst is expected to last: one shorter than a cold start is not offloaded.",
)
@click.option("--ordered", is_flag=True, help="Tokens go downstream in source order.")
@click.option(
    "--policy",
    default="default",
    show_default=True,
    type=click.Choice(("default", "sponge", "threshold", "oracle")),
    help="Who decides how much is offloaded.",
)
@_measuring
def surge(
    languages: tuple[str, ...],
    methods: tuple[Any, ...],
    repetitions: int,
    burst: tuple[int, ...],
    factor: float,
    workload: str,
    cost: int,
    form: Any,
    warm: tuple[int, ...],
    warm_up: bool,
    expected_burst: float | None,
    ordered: bool,
    policy: str,
    stack: str | None,
    region: str | None,
    seed: int,
) -> None:
    """Run Flink through a surge with several ways of relief, side by side.

    none: nothing is done. operator, source: who offloads, once the metrics say so. always: every
    batch goes to Lambda. scale-out, scale-out-new: as many tokenizer subtasks as the surge needs,
    in free slots or in a new TaskManager. bigger: the capacity that the surge needs, from the
    start. Methods and languages take turns in random order, one burst length after the other;
    every sentence that comes out is checked.

    \b
    Example: bench surge python --method none --method operator --method scale-out
    Example: bench surge node --method operator --method scale-out-new --burst 2,5,10,30,60
    Example: bench surge --warm 0,8
    Example: bench surge java --form sine --warm-up
    """
    from dataclasses import replace

    from bench import doctor
    from bench.experiments import run as main_job
    from bench.experiments import surges
    from bench.experiments.surge import CALLING
    from bench.lambdas.target import open_target
    from bench.records import Run

    doctor.require("javac", *([] if stack else doctor.PARTS))
    planned = []
    for seconds in burst:
        like = replace(
            surges.plain(float(seconds), factor, form),
            seed=seed,
            workload=workload,
            cost=cost,
            warms_up=warm_up,
            expected_burst_s=expected_burst,
            ordered=ordered,
        )
        planned += surges.plan(like, methods, languages, repetitions, seed, pools=warm)
    with (
        open_target(stack, region) as target,
        Run("surge", target=target, languages=languages, seed=seed) as r,
        _steps() as on_step,
    ):
        if set(methods) & set(CALLING):
            main_job.calls(target, r, languages, on_step, sizes=(100,))
        surges.measure(target, r, planned, policy_name=policy, on_progress=on_step)
    _show_surges(r.folder)
    click.echo(f"records: {r.path}\nplots of them: bench report {r.name}")


@main.command()
@click.option(
    "--capacity",
    default=750.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Declared, of the tokenizer, sentences/s; 0: as fast as it can (then give --first).",
)
@click.option("--first", type=click.FloatRange(min=1), help="First rate.  [default: capacity / 5]")
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
def breakpoint(
    capacity: float,
    first: float | None,
    doublings: int,
    step_s: float,
    bisections: int,
    repetitions: int,
    push_ms: int | None,
) -> None:
    """Find the rate at which the job breaks, and the metric that says so.

    The offered rate doubles step by step and halves again; then bisection narrows the edge down.
    For each step: rates, latency and Flink's metrics; for each metric: its value before and during
    the overload, and how long after the overload began it showed it. Nothing is offloaded.

    \b
    Example: bench breakpoint --capacity 500 --push-ms 100
    """
    from bench.experiments import breakpoint as experiment
    from bench.records import Run

    if not (first or capacity):
        raise click.UsageError("without a capacity, say where to start: --first 1000")
    plan = experiment.Plan(
        capacity_per_s=capacity or None,
        first_per_s=first or capacity * experiment.FIRST_SHARE,
        doublings=doublings,
        step_s=step_s,
        repetitions=repetitions,
        bisections=bisections,
    )
    caps = {"capacity_per_s": capacity or None, "push_ms": push_ms}
    with Run("breakpoint", caps=caps) as run, _steps() as on_step:
        experiment.measure(run, plan, push_ms=push_ms, on_progress=on_step)
    _show_made(run.folder, "breakpoint")


@main.command()
@click.argument(
    "parameter",
    type=click.Choice(("batch-size", "poll-ms", "rate", "parallelism", "in-flight", "memory")),
)
@click.argument("values", type=_Sizes())
@click.option(
    "--language",
    default="python",
    show_default=True,
    type=click.Choice(_LANGUAGES),
    help="Of the function.",
)
@click.option("--repetitions", default=1, show_default=True, help="Of each value.")
@_measuring
def sweep(
    parameter: str,
    values: tuple[int, ...],
    language: str,
    repetitions: int,
    stack: str | None,
    region: str | None,
    seed: int,
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
    from bench import doctor
    from bench.experiments import sweep as experiment
    from bench.lambdas.target import open_target
    from bench.records import Run

    doctor.require("javac", *([] if stack else doctor.PARTS))
    planned = experiment.plan(parameter, values, language, repetitions, seed)
    with (
        open_target(stack, region) as target,
        Run("sweep", target=target, languages=[language], seed=seed, suffix=parameter) as r,
        _steps() as on_step,
    ):
        experiment.measure(target, r, planned, on_step)
    _show_made(r.folder, "sweep")


@main.command()
@click.argument("address")
@click.option("--job", help="Id, its beginning, or name.  [default: the one that runs]")
@click.option("--vertex", help="Part of a vertex's name.  [default: all vertices]")
@click.option(
    "--every",
    type=click.IntRange(min=50),
    metavar="MS",
    help="Between polls.  [default: as often as the cluster's own figures change]",
)
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Then stop.")
@click.option("--record", type=click.File("a"), help="Append JSON lines to this file; - prints.")
def metrics(
    address: str,
    job: str | None,
    vertex: str | None,
    every: int | None,
    seconds: float | None,
    record: IO[str] | None,
) -> None:
    """Watch the metrics of any running Flink job, at the ADDRESS of its REST API.

    Records per second and busy, idle and back-pressured shares are differences of cumulative
    counters, not Flink's smoothed gauges, so a surge shows at the next poll. Until Ctrl-C, or until
    the job has ended.

    \b
    Example: bench metrics localhost:8081
    Example: bench metrics flink.example:8081 --vertex tokenizer --every 500 --record job.jsonl
    """
    import json
    import time

    from bench import watch
    from bench.flink import Rest, poll

    rest = Rest(address)
    job_id, name = watch.find_job(rest, job)
    watched = watch.Watch(rest, job_id, watch.find_vertices(rest, job_id, vertex))
    refresh_ms = watch.refresh_ms(rest)
    every_ms = every or max(250.0, refresh_ms)
    click.echo(f"{name} ({job_id}), every {every_ms:g} ms", err=True)
    if every_ms < refresh_ms:
        click.echo(
            f"This cluster's figures change every {refresh_ms:g} ms only "
            "(metrics.fetcher.update-interval): polls in between repeat them.",
            err=True,
        )
    if record is None:
        click.echo(watch.header())
    end_s = time.monotonic() + seconds if seconds is not None else float("inf")
    try:
        for now_s in poll(every_ms / 1000):
            state = watch.state(rest, job_id)
            if watch.has_ended(state) or now_s > end_s:
                break
            for row in watched.sample():
                if record is None:
                    click.echo(watch.line(row))
                else:
                    record.write(json.dumps({"job": job_id, **row}) + "\n")
                    record.flush()
    except KeyboardInterrupt:
        return
    click.echo(f"{name} is {state}", err=True)


@main.command()
@_languages
@click.option("--memory", default=(), type=_Sizes(), help="Sizes in MB.  [default: as configured]")
@click.option("-n", "--rounds", default=20, show_default=True, help="Samples of each.")
@_measuring
def cold(
    languages: tuple[str, ...],
    memory: tuple[int, ...],
    rounds: int,
    stack: str | None,
    region: str | None,
    seed: int,
) -> None:
    """Measure cold starts: bring-up, init and first call, beside a handler that does nothing.

    Languages and memory sizes take turns in random order. A sample counts if the service reports
    an init and the function says that it is its first call.

    \b
    Example: bench cold python java --memory 128,512,1769
    """
    from bench.experiments import cold as experiment
    from bench.lambdas.target import open_target
    from bench.records import Run

    with open_target(stack, region) as target:
        samples = rounds * experiment.count(target, languages, memory)
        with (
            Run("cold", target=target, languages=languages, seed=seed) as run,
            click.progressbar(range(samples), label="cold starts") as bar,
        ):
            experiment.measure(
                target, run, languages, memories_mb=memory, rounds=rounds, on_progress=bar.update
            )
    _show([run.folder], "cold", "cold_by_memory", "failures")
    click.echo(f"\nrecords: {run.path}")


@main.command()
@_languages
@click.option(
    "--batch", default="1,10,100,1000", show_default=True, type=_Sizes(), help="Sentences a call."
)
@click.option("--memory", default=(), type=_Sizes(), help="Sizes in MB.  [default: as configured]")
@click.option(
    "-n", "--environments", default=10, show_default=True, help="Of each language and memory size."
)
@click.option("--rounds", default=20, show_default=True, help="Calls of a size in an environment.")
@click.option("--budget", default=300.0, show_default=True, help="Seconds to start environments.")
@_measuring
def compute(
    languages: tuple[str, ...],
    batch: tuple[int, ...],
    memory: tuple[int, ...],
    environments: int,
    rounds: int,
    budget: float,
    stack: str | None,
    region: str | None,
    seed: int,
) -> None:
    """Measure what a batch costs in environments that are up, by batch size.

    Each environment is called until it is steady: the median compute time of the last 50 calls is
    within 5 % of the 50 before. Then languages and sizes take turns in random order. The warm-up is
    recorded too, for Java's curve. Of several memory sizes, `bench report` sets cost against speed.

    \b
    Example: bench compute python java --batch 1,100
    Example: bench compute --memory 128,512,1769 --batch 100
    """
    from bench.experiments import compute as experiment
    from bench.lambdas.target import open_target
    from bench.records import Run

    with open_target(stack, region) as target:
        caps = {"budget_s": budget}
        with (
            Run("compute", target=target, languages=languages, seed=seed, caps=caps) as run,
            click.progressbar(
                range(environments * (len(memory) or 1)), label="environments of each language"
            ) as bar,
        ):
            experiment.measure(
                target,
                run,
                experiment.subjects(target, languages),
                sizes=batch,
                memories_mb=memory,
                environments=environments,
                rounds=rounds,
                budget_s=budget,
                on_progress=bar.update,
            )
    _show([run.folder], "compute", "throughput", "duration", "wall", "warming", "failures")
    click.echo(f"\nrecords: {run.path}")


@main.command()
@click.argument("language", default="python", type=click.Choice(_LANGUAGES))
@click.option("--repeat", default=1, show_default=True, help="Tests, each a run of its own.")
@click.option("--seed", default=1, show_default=True, help="Of the first test; then counted up.")
def aa(language: str, repeat: int, seed: int) -> None:
    """Test the harness itself: measure one function under two names, which must not differ.

    Takes the way of `bench compute`. At 95 % confidence, one test in twenty may say "different".

    \b
    Example: bench aa python --repeat 40
    """
    from bench.experiments import aa as experiment
    from bench.lambdas.target import open_target
    from bench.records import Run

    folders = []
    with (
        open_target(aliases=[language]) as target,
        click.progressbar(range(repeat * experiment.ENVIRONMENTS), label="environments") as bar,
    ):
        for number in range(repeat):
            with Run("aa", target=target, languages=[language], seed=seed + number) as run:
                alias = target.aliases[language]
                experiment.measure(target, run, language, alias, on_progress=bar.update)
            folders.append(run.folder)
    _show(folders, "aa", "failures")


@main.command()
@click.option("--port", default=3001, show_default=True, help="On 127.0.0.1; 0 takes a free one.")
@click.option(
    "--template",
    "templates",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A template that `sam build` made; may be repeated.  [default: ours, if built]",
)
@click.option("--alias", "aliases", multiple=True, metavar="NEW=EXISTING", help="A second name.")
@click.option("--max-concurrency", default=10, show_default=True, help="Calls at once, then 429.")
@click.option("--memory", type=click.IntRange(128, 10_240), help="Of every function, in MB.")
@click.option("--idle-timeout", default=600.0, show_default=True, help="Seconds, then it ends.")
@click.option("--with-parent", is_flag=True, help="End when standard input closes.")
def serve(
    port: int,
    templates: tuple[Path, ...],
    aliases: tuple[str, ...],
    max_concurrency: int,
    memory: int | None,
    idle_timeout: float,
    with_parent: bool,
) -> None:
    """Serve the functions here: AWS's Lambda API in front of real runtimes, until Ctrl-C.

    \b
    Example: bench serve
             .venv/bin/aws lambda invoke --endpoint-url http://127.0.0.1:3001 \\
               --no-sign-request --region us-east-1 --function-name PythonTokenizer \\
               --payload '{"sentences": ["Hello, world"]}' answer.json
    (AWS CLI 2 wants --cli-binary-format raw-in-base64-out as well.)
    """
    from bench.lambdas.local import serve as service
    from bench.lambdas.local.template import TemplateError, read_all

    try:
        functions = read_all(templates, aliases, memory)
        service.serve(
            functions,
            port=port,
            max_concurrency=max_concurrency,
            idle_timeout_s=idle_timeout,
            with_parent=with_parent,
            say=click.echo,
        )
    except TemplateError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error}") from error


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="report",
    show_default=True,
    help="Folder to write to.",
)
@click.option("--check", is_flag=True, help="Only check that the README's tables are current.")
@click.option("--readme", is_flag=True, help="Only rewrite the README's tables.")
def report(runs: tuple[str, ...], out: Path, check: bool, readme: bool) -> None:
    """Write one folder that answers the question: words, tables, plots.

    RUN is the name of a run in results/ or a folder; without any, the newest run of each command
    and language. Partial runs are welcome: the report says what is missing. The folder holds
    report.html (one file, opens from disk), report.md, tables/*.csv and plots/*.svg and *.png.

    --check and --readme are about the tables in README.md, which are made from the recorded run
    in tests/data/recorded.

    \b
    Example: bench report && xdg-open report/report.html
    """
    from bench import records
    from bench.report import build, evidence
    from bench.report import readme as readme_tables

    if check:
        click.echo(f"{readme_tables.check()} tables in the README are current")
    elif readme:
        readme_tables.rewrite()
    else:
        folders = evidence.find(runs, records.RESULTS) or evidence.newest(records.RESULTS)
        click.echo(build.build(folders, out))


@main.command()
@click.option("--replay", is_flag=True, help="Run the policies over recorded metrics, too.")
@click.argument("traces", nargs=-1, metavar="[TRACE]...", type=click.Path(path_type=Path))
def policy(replay: bool, traces: tuple[Path, ...]) -> None:
    """Compare policies without Flink: when they see an overload, and how much they do about it.

    Each policy runs in a closed loop on a model of the job: 20 surges, 10 minutes at 80 % load, and
    loads around the capacity. With --replay, it runs over recorded metrics as well: TRACE is a
    run's folder in results/ or a file of records; without any, those in tests/data/traces.

    \b
    Example: bench policy
    Example: bench policy --replay results/20261122T104500Z-run-python
    """
    from bench.replay import tables
    from bench.replay.traces import read_traces

    if traces and not replay:
        raise click.UsageError("TRACE is for --replay: bench policy --replay TRACE")
    shipped = sorted(Path("tests/data/traces").glob("*.jsonl"))
    recorded = [t for path in traces or shipped for t in read_traces(path)]
    bar: Any
    with click.progressbar(length=tables.STEPS, label="modelled jobs") as bar:
        model = (tables.trust_table, tables.relief_table, tables.warm_up_table)
        shown = [table(bar.update) for table in model]
    if replay:
        shown.append(tables.trace_table(recorded))
    for table in shown:
        click.echo(f"\n{table.section()}")


if __name__ == "__main__":
    main()
