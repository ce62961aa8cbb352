"""The demo itself: start everything, run until told to stop, end everything."""

from __future__ import annotations

import time
from pathlib import Path

from turnlock.cli.demo.application import Application
from turnlock.cli.demo.ending import Ending
from turnlock.cli.demo.place import Place, new_place
from turnlock.cli.demo.rotations import Rotations
from turnlock.cli.demo.screen import Figures, Screen, open_screen, summary
from turnlock.cli.demo.server import ChildServer, default_port, starting_server
from turnlock.cli.demo.shop import FUNCTION, SECRET, open_shop
from turnlock.cli.demo.steps import next_steps
from turnlock.confinement import assess
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres

_TICK = 0.03


def run(data_dir: Path, *, every: float, seconds: float | None, rotations: int | None) -> bool:
    """Run the demo in `data_dir` until a limit or a signal ends it; tell whether nothing failed.

    Rotates every `every` seconds. Raises ConfigurationError when it cannot be started, or a part of it ends by itself.
    """
    screen, started = open_screen(), time.monotonic()
    ending = Ending(seconds=seconds, rotations=rotations)
    with new_place(data_dir) as place, ending:
        figures = _start(place, screen, started, every, ending)
    if figures is None:
        screen.say("Ended before it began.")
        return True
    screen.say(f"\n{summary(figures)}\nEverything has ended.")
    return figures.good


def _start(place: Place, screen: Screen, started: float, every: float, ending: Ending) -> Figures | None:
    """Start everything, run, end everything; return the last figures, None when it was ended before there were any."""
    show: _Show | None = None
    try:
        screen.say(f"Starting a server and a PostgreSQL in {place.root} …")
        # Confined where that can be: then, as root, no directory above has to be opened to the database's user.
        confined = assess.missing() is None
        with (
            starting_server(place) as server,
            EmbeddedPostgres(place.postgresql, confined=confined) as database,
        ):
            server.await_ready()
            screen.say(_where(server, database))
            client = server.client()
            open_shop(client, database)
            rotating = Rotations(client=client, secret=SECRET, function_arn=FUNCTION, every=every)
            screen.say(
                f"An application is at work. Its password is rotated in a moment, and again every {every:g} s.\n"
            )
            with Application(client, SECRET) as working, screen.live():
                show = _Show(screen, server, database, rotating, working, started)
                show.run(ending)
            screen.say("\nEnding …")
    except KeyboardInterrupt:  # while something was still starting
        pass
    return None if show is None else show.figures()


class _Show:
    """Everything at work; one thread drives it."""

    def __init__(
        self,
        screen: Screen,
        server: ChildServer,
        database: EmbeddedPostgres,
        rotating: Rotations,
        working: Application,
        started: float,
    ) -> None:
        self._screen = screen
        self._server = server
        self._database = database
        self._rotating = rotating
        self._working = working
        self._started = started

    def run(self, ending: Ending) -> None:
        """Run until it is time to end. Raises ConfigurationError when the server or the database ended by itself."""
        introduced = False
        while not ending.reached(figures := self.figures()):
            self._rotating.tick()
            if self._rotating.completed and not introduced:
                introduced = True
                self._introduce()
            self._screen.show(figures)
            self._server.require_running()
            if not self._database.running:
                raise ConfigurationError(f"The PostgreSQL has ended; see {self._database.log_path}.")
            ending.wait(_TICK)

    def figures(self) -> Figures:
        """Return how things stand."""
        return Figures(
            seconds=time.monotonic() - self._started,
            rotations=self._rotating.completed,
            failed_rotations=self._rotating.failed,
            last_error=self._rotating.last_error,
            last_rotation=self._rotating.last_seconds,
            rotating=self._rotating.running,
            next_rotation=self._rotating.wait,
            work=self._working.work,
        )

    def _introduce(self) -> None:
        figures = self.figures()
        self._screen.say(
            f"first rotation completed after {figures.seconds:.1f} s"
            f" with {figures.work.failed} failed application operations\n",
            aloud=True,
        )
        self._screen.say(next_steps(self._server, self._database))


def _where(server: ChildServer, database: EmbeddedPostgres) -> str:
    usual = default_port()
    note = "" if server.port == usual else f" (port {usual} is taken)"
    return f"Server {server.endpoint}{note}, PostgreSQL on {database.host}:{database.port}."
