"""The composition root: the only place that names concrete classes and joins the rooms.

`initialise` is the first start, once per data directory; `build` makes one process's application.
"""

from __future__ import annotations

import getpass
import itertools
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from turnlock import accounts, iam, kms, rds, root_keys, rotation, secrets, sts
from turnlock.accounts.entities import saved_principals
from turnlock.config import FILE_ROOT_KEY, Config, RootKeyChoice
from turnlock.core.action import Action, Answer, Request
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call
from turnlock.core.ports import Clock, RootKeyring, SystemClock, SystemEntropy
from turnlock.egress import Egress
from turnlock.errors import ApiError, ConfigurationError
from turnlock.functions import ACTIONS_AT_REST, LOGS_ACTIONS, LambdaService, PoolLimits, refuse_in_sight
from turnlock.shell.admission import Admission, Service
from turnlock.shell.application import Application
from turnlock.shell.background import Loop
from turnlock.shell.gate import Passage, pass_through
from turnlock.shell.metrics import Metrics, forget_ended
from turnlock.shell.metrics_readers import make_token
from turnlock.storage import Database, Unit, open_database
from turnlock.storage.database import Surroundings
from turnlock.storage.outbox import Deliverer, JobHandler, JobQueued
from turnlock.storage.unit import Subscribers, joined
from turnlock.trail import (
    SegmentHeads,
    TrailTable,
    key_of_unit,
)

T = TypeVar("T")

JOBS: Mapping[str, JobHandler] = {
    secrets.PURGE: secrets.purge,
    secrets.REPLICATE: secrets.replicate,
    kms.DESTROY: kms.destroy,
    kms.ROTATE: kms.rotate_due,
}
"""What the outbox can be asked to do."""


class _Bells:
    """One for each kind of event that makes work: it rings the loop that does the work, once the event is committed."""

    def __init__(self, *events: type) -> None:
        self._rings: dict[type, Callable[[], None]] = dict.fromkeys(events, _nobody)

    def connect(self, loops: Mapping[type, Loop]) -> None:
        """From now on, a loop is woken after each commit of a transaction that announced its event."""
        self._rings.update((event, loop.wake) for event, loop in loops.items())

    def subscribers(self) -> Subscribers:
        """Return what the store must tell of."""
        return dict.fromkeys(self._rings, (self._hear,))

    def _hear(self, unit: Unit, event: object) -> None:
        unit.after_commit(self._rings[type(event)])


def _nobody() -> None:
    """Ring nothing: the process has no such loop (yet)."""


def build(
    config: Config,
    functions_endpoint: str | None = None,
    *,
    clock: Clock | None = None,
    observe: rotation.Observer = rotation.unobserved,
    run_function: rotation.RunFunction | None = None,
) -> Application:
    """Join the rooms for one process, which functions reach at a URL of their own. The rest is for tests' own compositions."""
    writer = f"{socket.gethostname()[:20]}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    bells, accesses = _Bells(rotation.PlanBegun, JobQueued, rds.ServerWanted), secrets.AccessNotes()
    key_uses, metrics, heads = accounts.KeyUses(), _metrics(config, writer), SegmentHeads()
    provider_keys = iam.ProviderKeys(Egress(config.egress_allow).get)
    database = _open(
        config.data_dir,
        config.database,
        clock or SystemClock(),
        writer,
        root_key=config.root_key,
        subscribers=joined(
            bells.subscribers(),
            _noted(accesses, key_uses, provider_keys),
            {rotation.EventRecorded: (partial(_count_rotation, metrics),)},
        ),
        regions=config.regions,
    )
    provider = _provider(config, database)
    functions = _functions(config, database, writer, functions_endpoint, provider.authorities.path)
    limits, pool = _limits(config), functions.rotating
    scheduler = rotation.Scheduler(
        database=database, pool=pool, run=run_function, holder=writer, limits=limits, observe=observe
    )
    deliverer = Deliverer(database, JOBS, writer)
    rotating, delivering = Loop("rotation", scheduler.tick), Loop("outbox", deliverer.tick)
    providing = Loop("databases", provider.tick)
    fetching = Loop("provider keys", partial(provider_keys.tick, database))
    scheduler.wake, provider_keys.wake = rotating.wake, fetching.wake
    bells.connect({rotation.PlanBegun: rotating, JobQueued: delivering, rds.ServerWanted: providing})
    loops = (
        rotating,
        delivering,
        fetching,
        providing,
        Loop("rehearsals", rotation.Rehearser(database, pool, writer, run_function).tick),
        Loop("metrics", metrics.keep),
        *(Loop(name, tick) for name, tick in functions.loops().items()),
        *_written_lazily(database, accesses, key_uses, heads),
    )
    return Application(
        config=config,
        database=database,
        admission=Admission(services(functions, config.allow_unconfined_databases), config.regions),
        writer=writer,
        scheduler=scheduler,
        functions=functions,
        metrics=metrics,
        provider=provider,
        heads=heads,
        loops=loops,
    )


def _noted(
    accesses: secrets.AccessNotes, key_uses: accounts.KeyUses, provider_keys: iam.ProviderKeys
) -> Subscribers:
    """Return what notes events that loops write down or look after later."""
    return {
        **accesses.subscribers(),
        accounts.KeyUsed: (key_uses.note,),
        iam.KeysWanted: (provider_keys.note,),
    }


def _written_lazily(
    database: Database, accesses: secrets.AccessNotes, key_uses: accounts.KeyUses, heads: SegmentHeads
) -> tuple[Loop, ...]:
    return (
        Loop("sessions", partial(_purge_sessions, database)),
        Loop("accesses", partial(accesses.flush, database)),
        Loop("key uses", partial(key_uses.flush, database)),
        Loop("trail heads", partial(heads.flush, database)),
    )


def _metrics(config: Config, writer: str) -> Metrics:
    store = "sqlite" if config.database is None else "postgresql"
    return Metrics(config.data_dir / "metrics", store=store, process=writer)


def _functions(
    config: Config, database: Database, writer: str, endpoint: str | None, database_ca_file: Path
) -> LambdaService:
    return LambdaService(
        database,
        writer,
        endpoint=endpoint or config.endpoint,
        database_ca_file=database_ca_file,
        allow_unconfined=config.allow_unconfined_functions,
        rotation_limits=PoolLimits(processes=_limits(config).processes),
    )


def _provider(config: Config, database: Database) -> rds.Provider:
    return rds.Provider(
        database,
        config.data_dir,
        given_authorities=config.database_ca_file,
        allow_unconfined=config.allow_unconfined_databases,
    )


def _limits(config: Config) -> rotation.Limits:
    return rotation.Limits(
        lease_seconds=config.lease_seconds,
        at_once=config.rotations_at_once,
        per_host=config.rotations_per_host,
    )


def services(
    functions: LambdaService | None = None, unconfined_databases: bool = False
) -> dict[str, Service]:
    """Return the services of the endpoint by signing name, each with its way to the actions of the others."""
    registry: dict[str, Passage] = {}
    lambda_actions = ACTIONS_AT_REST if functions is None else functions.actions()
    return {
        "secretsmanager": Service.of("secretsmanager", (*secrets.ACTIONS, *rotation.ACTIONS), registry),
        "iam": Service.of("iam", (*iam.IAM_ACTIONS, *iam.SIMULATE_ACTIONS), registry),
        "sts": Service.of("sts", sts.STS_ACTIONS, registry),
        "rds": Service.of("rds", rds.actions(allow_unconfined=unconfined_databases), registry),
        "kms": Service.of("kms", kms.kms_actions(saved_principals), registry, kms.KMS_RIGHTS),
        "lambda": Service.of("lambda", lambda_actions, registry),
        "logs": Service.of("logs", LOGS_ACTIONS, registry),
    }


def initialise(config: Config) -> None:
    """Make what the first start makes: the directory, the root key, the schema, the account and its credentials file.

    Harmless when all is there. Raises ConfigurationError when what is there cannot be used.
    """
    os.umask(0o077)
    refuse_in_sight(config.private_files)
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{config.data_dir} cannot be made: {error.strerror}.") from None
    forget_ended(config.data_dir / "metrics")
    make_token(config)
    database = _open(
        config.data_dir,
        config.database,
        SystemClock(),
        f"initialise-{uuid.uuid4().hex[:12]}",
        root_key=config.root_key,
    )
    try:
        database.read(kms.check_root_key)
        database.write(partial(_first_account, config))
        # Again: another node, with a root key of its own, may have been first since.
        database.read(kms.check_root_key)
    finally:
        database.close()


def create_account(
    data_dir: Path,
    database_url: str | None,
    account_id: AccountId,
    root_key: RootKeyChoice = FILE_ROOT_KEY,
) -> str:
    """Make a further account; return its root credentials as the text of an AWS shared-credentials file.

    Raises ConfigurationError when the account exists or there is no store yet.
    """
    with existing_store(data_dir, database_url, "accounts", root_key) as database:
        made = database.write(lambda unit: accounts.create_account(unit, account_id))
    return accounts.profile_text(account_id, made)


def ask(data_dir: Path, database_url: str | None, question: Callable[[Mapping[str, Service], Unit], T]) -> T:
    """Return the answer to a question over the services and a snapshot of the store.

    Raises ConfigurationError when there is no store yet, and what the question raises.
    """
    with existing_store(data_dir, database_url, "ask") as database:
        return database.read(partial(question, services()))


@contextmanager
def existing_store(
    data_dir: Path, database_url: str | None, what_for: str, root_key: RootKeyChoice = FILE_ROOT_KEY
) -> Iterator[Database]:
    """Open the store of a server that was started once, for a command of its operator; closed at the end.

    Raises ConfigurationError when there is none.
    """
    if root_key.spec == "file" and not (data_dir / "root.key").exists():
        raise ConfigurationError(f"{data_dir} is not a data directory: start the server once first.")
    writer = f"{what_for}-{uuid.uuid4().hex[:12]}"
    database = _open(data_dir, database_url, SystemClock(), writer, root_key=root_key)
    try:
        yield database
    finally:
        database.close()


def act_as_root(
    database: Database,
    service: str,
    action: Action,
    request: Request,
    *,
    account_id: AccountId,
    region: Region,
    shapes_of: str | None = None,
) -> Answer:
    """Carry out an action for the operator, as the account's root user: through the gate, and with its record.

    `action` goes by the shapes of `shapes_of`, else of the operation that it is named after, and may read more of the
    request than its model has. Raises ConfigurationError with the sentence of what is refused.
    """
    passage = replace(services()[service].passages[shapes_of or action.name], action=action)
    user = getpass.getuser()

    def work(unit: Unit) -> Answer | ApiError:
        call = Call(
            principal=accounts.root_principal(account_id),
            account_id=account_id,
            region=region,
            service=service,
            action=action.name,
            request_id=str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4)),
            source_ip="127.0.0.1",
            user_agent=f"turnlock command of {user}",
            at=unit.now,
        )
        return pass_through(passage, call, request, unit)

    outcome = database.write(work)  # what only reads too: its record is a row then
    if isinstance(outcome, ApiError):
        raise ConfigurationError(f"{outcome.code}: {outcome.message}")
    return outcome


def _first_account(config: Config, unit: Unit) -> None:
    """Make the configured account unless the store has one already.

    The credentials file is written before the commit: lost power leaves a file without an account, which the next start
    replaces, and never an account whose only key nobody knows.
    """
    if not accounts.accounts(unit):
        key_of_unit(unit)  # an account without a trail's key is one whose trail was taken away
        made = accounts.create_account(unit, config.account_id)
        accounts.write_credentials(config.data_dir, {"default": made})


def _count_rotation(metrics: Metrics, unit: Unit, event: rotation.EventRecorded) -> None:
    unit.after_commit(partial(metrics.rotated, event.name.value))


def _purge_sessions(database: Database) -> float:
    """Remove credentials that ran out; return the seconds until the next time."""
    database.write(accounts.purge_expired)
    return 600.0


def _open(
    data_dir: Path,
    database_url: str | None,
    clock: Clock,
    writer: str,
    *,
    subscribers: Subscribers | None = None,
    regions: frozenset[Region] = frozenset(),
    root_key: RootKeyChoice = FILE_ROOT_KEY,
) -> Database:
    """Open the store with its root key, which the first start makes."""
    entropy = SystemEntropy()
    chains = itertools.count(1)
    heard = joined(rotation.SUBSCRIBERS, secrets.SUBSCRIBERS, subscribers or {})

    def opened(keyring: RootKeyring) -> Database:
        return open_database(
            url=database_url,
            data_dir=data_dir,
            surroundings=Surroundings(
                clock=clock,
                entropy=entropy,
                keyring=keyring,
                subscribers=heard,
                regions=regions,
                sink=lambda: TrailTable(f"{writer}/{next(chains)}"),
            ),
        )

    def store_holds_keys() -> bool:
        database = opened(root_keys.NoKeyring())
        try:
            return database.read(kms.holds_keys)
        finally:
            database.close()

    provider = root_keys.root_key_provider(root_key, data_dir, clock=clock, entropy=entropy)
    database = opened(root_keys.open_root_key(provider, store_holds_keys))
    try:
        database.read(kms.settle_macs)
    except ConfigurationError:
        database.close()
        raise
    return database
