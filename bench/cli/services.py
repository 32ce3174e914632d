"""Commands that serve until they are told to end."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import Seconds, parameters, variables


@click.command()
@click.option(
    "--port",
    default=3001,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="On 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A template that `sam build` made; may be repeated.  [default: ours, if built]",
)
@click.option(
    "--parameter-overrides",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parameters,
    help="Values of the templates' parameters, as `sam local` takes them; may be repeated.",
)
@click.option(
    "--env-vars",
    "variables",
    type=click.File(),
    callback=variables,
    help="JSON file of environment variables by function, as `sam local` takes it.",
)
@click.option("--alias", "aliases", multiple=True, metavar="NEW=EXISTING", help="A second name.")
@click.option(
    "--max-concurrency",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="Calls at once, then 429.",
)
@click.option("--memory", type=click.IntRange(128, 10_240), help="Of every function, in MB.")
@click.option(
    "--idle-timeout",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=0.1, max=86_400),
    help="Seconds, then an environment without work ends.",
)
@click.option(
    "--retry-delays",
    type=Seconds(),
    default="60,120",
    show_default=True,
    help="Seconds before each further attempt at an asynchronous call that failed.",
)
@click.option(
    "--as-on",
    type=click.Choice(["aws"]),
    help="Answer as late as AWS would: network, placement, init, scaling (as_on_aws.toml).",
)
@click.option("--seed", default=1, show_default=True, help="Of what --as-on draws.")
@click.option(
    "--new-environments",
    type=click.IntRange(min=1),
    help="With --as-on: a function's new environments per 10 s, then 429.  [default: as on AWS]",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="Take calls, and calls alone, at this address of this machine too, from anybody.",
)
@click.option("--with-parent", is_flag=True, help="End when standard input closes.")
def serve(
    port: int,
    templates: tuple[Path, ...],
    parameters: dict[str, str],
    variables: dict[str, dict[str, object]],
    aliases: tuple[str, ...],
    max_concurrency: int,
    memory: int | None,
    idle_timeout: float,
    retry_delays: tuple[float, ...],
    as_on: str | None,
    seed: int,
    new_environments: int | None,
    listen: str | None,
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
    from bench.lambdas.local.emulation import Emulation
    from bench.lambdas.local.template import TemplateError, read_all

    try:
        functions = read_all(templates, aliases, memory, parameters, variables)
        service.serve(
            functions,
            port=port,
            max_concurrency=max_concurrency,
            idle_timeout_s=idle_timeout,
            retry_delays_s=retry_delays,
            with_parent=with_parent,
            say=click.echo,
            tell=lambda line: click.echo(line, err=True),
            emulation=Emulation.load(seed, new_environments) if as_on else None,
            listen=listen,
        )
    except TemplateError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        where = f"port {port}" + (f" of {listen}" if listen else "")
        raise click.ClickException(f"cannot listen on {where}: {error}") from error


@click.command()
@click.option("--port", default=4566, show_default=True, help="On 127.0.0.1; 0 takes a free one.")
@click.option(
    "--max-concurrency",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="Calls at once, then 429.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Leave the unpacked code, the logs and the templates there.  [default: nothing is kept]",
)
@click.option("--with-parent", is_flag=True, help="End when standard input closes.")
def aws(port: int, max_concurrency: int, keep: Path | None, with_parent: bool) -> None:
    """Serve enough of AWS for `sam deploy` and the AWS CLI, on this machine, until Ctrl-C.

    CloudFormation, S3, IAM, STS and Logs are moto's; functions run here in their real runtimes.
    What is deployed is gone at the end. Nothing leaves the machine, and no account is needed.

    \b
    Example: bench aws
    then, in another shell:
             export AWS_ENDPOINT_URL=http://localhost:4566 AWS_DEFAULT_REGION=us-east-1 \\
               AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
             sam deploy --stack-name bursts --resolve-s3 --capabilities CAPABILITY_IAM
             bench cold python --stack bursts
    (The name localhost matters: at an address, buckets are not found.)
    """
    from bench.lambdas.aws import serve as endpoint

    try:
        endpoint.serve(
            port=port,
            max_concurrency=max_concurrency,
            keep=keep,
            with_parent=with_parent,
            say=click.echo,
            tell=lambda line: click.echo(line, err=True),
        )
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error}") from error
