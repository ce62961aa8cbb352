"""How functions reach their server where its public port does not lead to it: TLS under another name, a proxy, all addresses."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
import pytest
import trustme

from tests.own_functions import TRUST, archive
from tests.processes import REGION, START_SECONDS, Client, ServerProcess, free_port, wait_until
from tests.rotated import create_secret, new_role, rotate
from turnlock.local_servers import EmbeddedPostgres
from turnlock.local_servers.process import start_bound

pytestmark = pytest.mark.slow

NAME = "localhost"
"""The only name in the certificate: it has no address, so https://127.0.0.1 does not verify."""

ASKS = """
import boto3, os
def handler(event, context):
    arn = boto3.client("sts").get_caller_identity()["Arn"]
    import urllib.request, urllib.error
    shown = []
    for address in (os.environ["AWS_ENDPOINT_URL"], event.get("public")):
        try:
            shown.append(address and urllib.request.urlopen(address + "/metrics", timeout=5).read(20).decode())
        except urllib.error.HTTPError as error:
            shown.append(error.code)
    return {"arn": arn, "metrics": shown}
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A leaf for one DNS name with its intermediate authority, without the root; the root alone is in root.pem."""
    directory = tmp_path_factory.mktemp("two-levels")
    root = trustme.CA()
    leaf = root.create_child_ca().issue_cert(NAME)
    root.cert_pem.write_to_path(directory / "root.pem")
    leaf.private_key_pem.write_to_path(directory / "leaf.key")
    for part in leaf.cert_chain_pems:
        part.write_to_path(directory / "leaf.pem", append=True)
    leaf.private_key_and_cert_chain_pem.write_to_path(directory / "both.pem")
    return directory


def tls(certificates: Path) -> tuple[str, ...]:
    return ("--tls-cert", str(certificates / "leaf.pem"), "--tls-key", str(certificates / "leaf.key"))


def reached_by_name(process: ServerProcess, root: Path, service: str, port: int | None = None) -> Client:
    key_id, secret = process.credentials
    return boto3.Session().client(  # type: ignore[call-overload]
        service,
        region_name=REGION,
        endpoint_url=f"https://{NAME}:{port or process.port}",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        verify=str(root),
    )


def invoke_asking(client_of: Callable[[str], Client], **event: str) -> dict[str, Any]:
    """Make a function that asks the server two questions, invoke it, and return what it was answered."""
    trust, package = json.dumps(TRUST), archive({"main.py": ASKS})
    role = client_of("iam").create_role(RoleName="asks", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    functions = client_of("lambda")
    functions.create_function(
        FunctionName="asks",
        Runtime="python3.11",
        Role=role,
        Handler="main.handler",
        Code={"ZipFile": package},
        Timeout=30,
    )
    answered = functions.invoke(FunctionName="asks", Payload=json.dumps(event).encode())
    shown = answered["Payload"].read()
    assert "FunctionError" not in answered, shown
    answer: dict[str, Any] = json.loads(shown)
    return answer


def healthy(port: int, context: ssl.SSLContext) -> bool:
    try:
        with urlopen(f"https://{NAME}:{port}/health", timeout=5, context=context) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def started(process: ServerProcess, root: Path, port: int | None = None) -> Iterator[None]:
    """Start a server and wait until it answers over TLS under its name."""
    context = ssl.create_default_context(cafile=str(root))
    process.launch()
    try:
        wait_until(lambda: healthy(port or process.port, context), START_SECONDS, "health", 0.1)
        yield
    finally:
        process.kill()


@pytest.fixture(scope="module", params=[1, 2])
def behind_tls(
    request: pytest.FixtureRequest, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    data_dir = tmp_path_factory.mktemp("tls") / "turnlock"
    options = ("--regions", REGION, "--workers", str(request.param), *tls(certificates))
    process = ServerProcess(data_dir, options=options)
    with started(process, certificates / "root.pem"):
        yield process


def test_a_hosted_function_rotates_behind_a_certificate_of_an_authority_it_does_not_know(
    behind_tls: ServerProcess, certificates: Path, postgresql_server: EmbeddedPostgres
) -> None:
    client = reached_by_name(behind_tls, certificates / "root.pem", "secretsmanager")
    role = new_role(postgresql_server)
    arn = create_secret(client, role)
    rotate(client, arn)
    assert role.accepts(json.loads(client.get_secret_value(SecretId=arn)["SecretString"]))


def test_a_function_of_ones_own_calls_the_server_behind_such_a_certificate_and_sees_no_metrics(
    behind_tls: ServerProcess, certificates: Path
) -> None:
    root = certificates / "root.pem"
    answered = invoke_asking(lambda service: reached_by_name(behind_tls, root, service))
    assert answered["arn"].startswith("arn:aws:sts::123456789012:assumed-role/asks/")
    assert answered["metrics"] == [400, None]  # as every unsigned request


def test_a_function_reads_no_metrics_at_the_public_port_either(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "turnlock", options=("--regions", REGION)) as server:
        key_id, secret = server.credentials
        public = f"http://127.0.0.1:{server.port}"

        def client_of(service: str) -> Client:
            return boto3.client(  # type: ignore[call-overload]
                service,
                region_name=REGION,
                endpoint_url=public,
                aws_access_key_id=key_id,
                aws_secret_access_key=secret,
            )

        answered = invoke_asking(client_of, public=public)
        assert answered["metrics"] == [400, 400]
        assert server.metrics().status == 200


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def haproxy(directory: Path, frontend: str, mode: str, server: str) -> Iterator[int]:
    """Run HAProxy in front of `server`, an address with its options; yield its port."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("NOT RUN: HAProxy is not installed (Debian's package haproxy)")
    port = free_port()
    (directory / "haproxy.cfg").write_text(
        f"defaults\n mode {mode}\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"frontend public\n bind 127.0.0.1:{port} {frontend}\n default_backend turnlock\n"
        f"backend turnlock\n server one {server}\n"
    )
    command = [program, "-db", "-f", str(directory / "haproxy.cfg")]
    proxy = start_bound(command, account=None, log=directory / "haproxy.log")
    try:
        wait_until(lambda: listens(port), START_SECONDS, "HAProxy listens", 0.1)
        yield port
    finally:
        proxy.terminate()
        proxy.wait(10)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("ends", ["proxy", "server"])
def test_functions_reach_the_server_behind_a_load_balancer(
    certificates: Path, tmp_path: Path, postgresql_server: EmbeddedPostgres, ends: str, workers: int
) -> None:
    """TLS ends at the load balancer, or passes through it to the server."""
    root, own = certificates / "root.pem", ends == "server"
    options = ("--regions", REGION, "--workers", str(workers), *(tls(certificates) if own else ()))
    process = ServerProcess(tmp_path / "turnlock", options=options)
    frontend, mode = ("", "tcp") if own else (f"ssl crt {certificates / 'both.pem'}", "http")
    with (
        haproxy(tmp_path, frontend, mode, f"127.0.0.1:{process.port}") as port,
        started(process, root, port),
    ):
        answered = invoke_asking(lambda service: reached_by_name(process, root, service, port))
        assert answered["arn"].startswith("arn:aws:sts::123456789012:assumed-role/asks/")
        client = reached_by_name(process, root, "secretsmanager", port)
        role = new_role(postgresql_server)
        arn = create_secret(client, role)
        rotate(client, arn)
        assert role.accepts(json.loads(client.get_secret_value(SecretId=arn)["SecretString"]))


@pytest.mark.parametrize("header", ["send-proxy", "send-proxy-v2"])
def test_a_proxy_protocol_header_is_refused_at_once_and_functions_still_reach_the_server(
    tmp_path: Path, postgresql_server: EmbeddedPostgres, header: str
) -> None:
    with ServerProcess(tmp_path / "turnlock", options=("--regions", REGION)) as process:
        with haproxy(tmp_path, "", "tcp", f"127.0.0.1:{process.port} {header}") as port:
            with pytest.raises(HTTPError) as caught:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            assert caught.value.code == 400
        client = process.client()
        role = new_role(postgresql_server)
        rotate(client, create_secret(client, role))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_reaches_a_server_that_listens_on_every_address(
    certificates: Path, tmp_path: Path, workers: int
) -> None:
    # In a network namespace of its own, every address is the loopback one: nothing is offered to a real network.
    unshare = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = [
        sys.executable,
        "-m",
        "tests.clients.on_every_address",
        str(tmp_path),
        str(certificates),
        str(workers),
    ]
    ran = subprocess.run([*unshare, *script], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["arn"].startswith("arn:aws:sts::123456789012:assumed-role/asks/")
