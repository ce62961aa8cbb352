"""`turnlock serve`: run the server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from turnlock.cli import options, store_url
from turnlock.config import LOOPBACK, Config, parse_listen, parse_networks, parse_regions
from turnlock.core.arn import AccountId
from turnlock.shell import logs


@click.command()
@options.data_dir
@options.listen
@store_url.database
@options.root_key
@click.option(
    "--account-id",
    metavar="N",
    callback=options.read_account_id,
    help="The account that the first start makes.  [default: 123456789012]",
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that serve."
)
@click.option("--regions", metavar="R,…", help="The Regions served.  [default: all of the aws partition]")
@click.option(
    "--tls-cert",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="The server's certificate (PEM), with those between it and its authority.",
)
@click.option(
    "--tls-key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="The certificate's private key (PEM).",
)
@click.option("--insecure-plaintext", is_flag=True, help="Allow addresses other than loopback without TLS.")
@click.option(
    "--connections-per-address",
    default=512,
    show_default=True,
    type=click.IntRange(1, 16_384),
    help="Connections that each worker keeps for one client address (of IPv6, one /64); more behind a proxy that does not"
    " announce its clients.",
)
@click.option(
    "--proxy-from",
    metavar="NETWORK,…",
    help="Networks of proxies: each connection from them must begin with the PROXY protocol (1 or 2), and is its client's."
    "  [default: none]",
)
@click.option(
    "--database-ca-file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="Certificates (PEM) with which hosted rotation functions verify databases; they see it as SSL_CA_FILE."
    "  [default: the system's]",
)
@click.option(
    "--metrics-from",
    metavar="NETWORK,…",
    help="The networks from which /metrics may be read, with the bearer token.  [default: loopback]",
)
@click.option(
    "--metrics-token-file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="A file with the bearer token (Prometheus: credentials_file) that readers of /metrics have to show."
    "  [default: DIR/metrics-token, made at the first start]",
)
@click.option(
    "--allow-unconfined-functions",
    is_flag=True,
    help="Run functions of one's own also where the kernel cannot confine them: they can then read what the server can.",
)
@click.option(
    "--allow-unconfined-databases",
    is_flag=True,
    help="Run RDS's local databases also where the kernel cannot confine them: who gets out of one can read what its user can.",
)
@click.option(
    "--egress-allow",
    metavar="NETWORK,…",
    help="Networks that are not public and may be reached at addresses that others named, such as an identity provider's."
    "  [default: none]",
)
@click.option(
    "--lease-seconds",
    default=15.0,
    show_default=True,
    type=click.FloatRange(1, 3600),
    help="How long a server that died or hangs keeps its rotations from the others, and from itself restarted.",
)
@click.option(
    "--rotations-at-once",
    default=4,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Rotations that each worker works on at the same time; twice as many more may wait for functions that are slow.",
)
def serve(
    data_dir: Path,
    listen: str,
    database: str | None,
    root_key: str,
    account_id: AccountId,
    workers: int,
    regions: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure_plaintext: bool,
    connections_per_address: int,
    proxy_from: str | None,
    database_ca_file: Path | None,
    metrics_from: str | None,
    metrics_token_file: Path | None,
    allow_unconfined_functions: bool,
    allow_unconfined_databases: bool,
    egress_allow: str | None,
    lease_seconds: float,
    rotations_at_once: int,
) -> None:
    """Run the server until SIGINT or SIGTERM. It is ready when GET /health answers 200."""
    from turnlock import app  # noqa: PLC0415 (heavy; other verbs start without it)
    from turnlock.shell import workers as processes  # noqa: PLC0415 (heavy; other verbs start without it)

    logs.configure()
    host, port = parse_listen(listen)
    config = Config(
        data_dir=data_dir,
        host=host,
        port=port,
        account_id=account_id,
        database=database,
        root_key=options.root_key_choice(root_key, data_dir),
        workers=workers,
        regions=parse_regions(regions),
        tls_certificate=tls_cert,
        tls_key=tls_key,
        insecure_plaintext=insecure_plaintext,
        connections_per_address=connections_per_address,
        proxy_from=parse_networks("--proxy-from", proxy_from, ()),
        database_ca_file=database_ca_file,
        metrics_from=parse_networks("--metrics-from", metrics_from, LOOPBACK),
        metrics_token_file=metrics_token_file,
        allow_unconfined_functions=allow_unconfined_functions,
        allow_unconfined_databases=allow_unconfined_databases,
        egress_allow=parse_networks("--egress-allow", egress_allow, ()),
        lease_seconds=lease_seconds,
        rotations_at_once=rotations_at_once,
    )
    app.initialise(config)
    processes.serve(config, partial(app.build, config))
