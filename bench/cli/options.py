"""Options and arguments that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TextIO

import click
from click.core import ParameterSource

from bench.cli.money import agreed, max_usd_option, yes_option
from bench.cli.show import steps

if TYPE_CHECKING:
    from bench.cluster.session import Elsewhere
    from bench.experiments.drive import Surge
    from bench.facts.records import Run
    from bench.lambdas.spending import Expected
    from bench.lambdas.target import Target

LANGUAGES = ("python", "java", "node")
OPERATORS = ("words", "subwords")


class Sizes(click.ParamType):
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


class Above0(click.FloatRange):
    """A finite number above 0: ranges alone let "nan" pass."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=1e6)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if number != number:
            self.fail(f"{value!r} is not a number above 0", param, ctx)
        return number


class Seconds(click.ParamType):
    """Seconds, none of them negative, separated by commas; an empty text is none at all."""

    name = "S,S,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            seconds = tuple(float(x) for x in value.split(",") if x)
        except (ValueError, AttributeError):
            seconds = (-1.0,)
        if not all(0 <= x < float("inf") for x in seconds):
            self.fail(f"{value!r} is not a list of seconds, such as 60,120", param, ctx)
        return seconds


class Names(click.ParamType):
    """Some of the names there are, separated by commas."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self.name = f"{','.join(names)}"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        chosen = value.split(",") if isinstance(value, str) else value
        for name in chosen:
            if name not in self._names:
                self.fail(f"{name!r} is none of {', '.join(self._names)}", param, ctx)
        return tuple(dict.fromkeys(chosen))


def parameters(
    ctx: click.Context, param: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """Parameters of a template in either of the forms that SAM CLI takes."""
    if not given:
        return {}
    from samcli.cli.types import CfnParameterOverridesType

    return dict(CfnParameterOverridesType().convert(given, param, ctx))


def variables(
    ctx: click.Context, param: click.Parameter, given: TextIO | None
) -> dict[str, dict[str, object]]:
    """Environment variables by function, of a JSON file."""
    if given is None:
        return {}
    try:
        read = json.load(given)
    except ValueError as error:
        raise click.BadParameter(f"{given.name} is no JSON: {error}", ctx, param) from None
    if not isinstance(read, dict) or not all(isinstance(x, dict) for x in read.values()):
        raise click.BadParameter(
            f'{given.name} is not like {{"Function": {{"NAME": "value"}}}}', ctx, param
        )
    return read


def languages_argument(function: Callable[..., None]) -> Callable[..., None]:
    """The argument LANG…, all languages by default."""
    return click.argument(
        "languages",
        metavar="[python|java|node]…",
        nargs=-1,
        type=click.Choice(LANGUAGES),
        callback=lambda ctx, param, value: tuple(dict.fromkeys(value)) or LANGUAGES,
    )(function)


def working(function: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that chooses the work."""
    for option in (
        click.option(
            "--words-per-sentence",
            default=10,
            show_default=True,
            type=click.IntRange(min=1),
            metavar="N",
            help="Mean length of the random sentences, from half to one and a half times it.",
        ),
        click.option(
            "--operator",
            default="words",
            show_default=True,
            type=click.Choice(OPERATORS),
            help="The work: splitting into words, or those into subwords by byte-pair encoding.",
        ),
    ):
        function = option(function)
    return function


def require_text(workload: str, words_per_sentence: int) -> None:
    """Raise UsageError unless the workload has sentences of that length."""
    from flink_job.load import workloads

    try:
        workloads.workload(workload, 0, words_per_sentence)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@dataclass(frozen=True)
class On:
    """Which functions a command calls, and how: what the options of `measuring` say.

    Attributes:
        seed: of everything random.
    """

    stack: str | None
    region: str | None
    as_on: str | None
    seed: int

    def target(self, listen: str | None = None) -> AbstractContextManager[Target]:
        """The functions, ready to be called; by others too at the address `listen`."""
        from bench.lambdas.target import open_target

        return open_target(self.stack, self.region, as_on=self.as_on, seed=self.seed, listen=listen)

    @contextmanager
    def job(
        self,
        command: str,
        languages: Sequence[str],
        cost: Callable[[Target], Expected] | None = None,
        suffix: str | None = None,
        where: Elsewhere | None = None,
        planned: Sequence[Surge] = (),
    ) -> Iterator[tuple[Target, Run, Callable[[str, float], None]]]:
        """Functions, a run to record to, and whom to tell of each step, for a command that runs
        the job; what it is expected to cost, if anything, is agreed to before.

        Args:
            where: the cluster of others to run on, if it is; it must have the slots free that
                `planned` takes.

        Raises:
            Missing: something that it needs is not there.
            FlinkError, NothingToShip: the job cannot run on that cluster.
            Abort: the cost is not agreed to.
        """
        from bench import doctor
        from bench.facts.records import Run

        doctor.require("javac", *([] if self.stack else doctor.PARTS))
        ready(where, max((x.slots for x in planned), default=2))
        listen = where.listen if where and not self.stack else None
        with (
            self.target(listen) as target,
            agreed(target, cost(target)) if cost else nullcontext(),
            Run(command, target=target, languages=languages, seed=self.seed, suffix=suffix) as run,
            steps() as on_step,
        ):
            yield target, run, on_step


def measuring(function: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that calls functions, handed to it as `on`."""

    @wraps(function)
    def command(
        stack: str | None, region: str | None, as_on: str | None, seed: int, **others: Any
    ) -> None:
        function(on=On(stack, region, as_on, seed), **others)

    for option in (
        click.option("--seed", default=1, show_default=True, help="Of everything random."),
        click.option(
            "--as-on",
            type=click.Choice(["aws"]),
            help="Let local processes answer as late as on AWS: network, placement, init.",
        ),
        max_usd_option,
        yes_option,
        click.option("--region", help="AWS region of the stack."),
        click.option("--stack", help="Measure this deployed stack; else local processes."),
    ):
        option(command)
    return command


def worker_option(function: Callable[..., None]) -> Callable[..., None]:
    """--worker-cpu of the commands that run the job."""
    return click.option(
        "--worker-cpu",
        type=click.FloatRange(min=0.05),
        callback=lambda ctx, param, value: value or _default_worker_cpu(),
        show_default="a fifth of the cores, 0.25 to 1",
        help="CPUs of each TaskManager that runs tokenizer subtasks, held by the kernel.",
    )(function)


def flink_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of the commands that may run the job on a cluster of others, handed to them as
    `where`: None without --flink."""

    @wraps(function)
    def command(flink: str | None, listen: str | None, python: str | None, **others: Any) -> None:
        from bench.cluster.session import Elsewhere

        context = click.get_current_context()
        if flink is None and (given := "--listen" if listen else "--python" if python else ""):
            raise click.UsageError(f"{given} is for a cluster that is not ours: say --flink too")
        if (
            flink is not None
            and context.get_parameter_source("worker_cpu") is ParameterSource.COMMANDLINE
        ):
            raise click.UsageError(
                "--worker-cpu holds processes of ours, and those of --flink are not"
            )
        function(where=Elsewhere(flink, listen, python) if flink else None, **others)

    for option in (
        click.option(
            "--python",
            metavar="PATH",
            help="A Python that its TaskManagers have, packages included; else ours goes along.",
        ),
        click.option(
            "--listen",
            metavar="ADDRESS",
            help="Of this machine, where its TaskManagers reach us.  [default: the loopback]",
        ),
        click.option(
            "--flink",
            metavar="HOST:PORT",
            help="Run on this cluster, which stays as it is; else on one of our own.",
        ),
    ):
        option(command)
    return command


def only_ours(why: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a command that runs the job, but on no cluster of others: --flink says `why`."""

    def refuse(context: click.Context, option: click.Parameter, given: str | None) -> None:
        if given is not None:
            raise click.UsageError(f"--flink: {why}")

    return click.option(
        "--flink", hidden=True, expose_value=False, callback=refuse, help="Refused, with a reason."
    )


def ready(where: Elsewhere | None, slots: int) -> None:
    """See to it that the job can run where it is to run. Raises FlinkError, NothingToShip."""
    if where is not None:
        from bench.cluster.session import check

        check(where, slots)


def _default_worker_cpu() -> float:
    from bench.cluster.worker import default_cpu

    return default_cpu()
