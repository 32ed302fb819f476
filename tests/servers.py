"""Real programs that tests run against: found or installed, started on private ports, ended.

As a program (`python tests/servers.py`) it finds or installs all of them and says what there is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

PATIENCE = 120.0
"""Seconds a server may take to answer."""
SLOW = 200.0
"""The same for one that takes long even on a fast machine."""
TRIES = 5
"""A port that was free a moment ago may be taken: so often another one is tried."""
PACKAGES = {
    "redis-server": "redis-server",
    "postgres": "postgresql",
    "mariadbd": "mariadb-server",
    "pgbouncer": "pgbouncer",
    "rabbitmq-server": "rabbitmq-server",
}
"""Server program -> the Debian package it comes with."""
DISPENSABLE = {"pgbouncer", "rabbitmq-server"}
"""Without these, tests are skipped everywhere."""
SERVICES = {
    "redis-server": "redis-server",
    "postgres": "postgresql",
    "mariadbd": "mariadb",
    "pgbouncer": "pgbouncer",
    "rabbitmq-server": "rabbitmq-server",
}
"""Server program -> the system service that its package starts, and that nobody asked for."""
PLACES = ("usr/sbin", "usr/lib/postgresql/*/bin", "usr/lib/rabbitmq/bin")
"""Where programs are that Debian does not put on everybody's path."""


class Missing(Exception):
    """A program that is not here and cannot be had: which, and why."""

    def __init__(self, program: str, why: str) -> None:
        super().__init__(f"{program}: {why}")
        self.program, self.why = program, why


def required() -> bool:
    """Whether a missing server is a failure instead of a reason to skip."""
    return bool(os.environ.get("CI") or os.environ.get("WORKSONG_REQUIRE_SERVERS"))


def find(program: str) -> str:
    """Where the server program is; on Debian, for root, it is installed when missing. Else `Missing`."""
    found = _where(program)
    if found:
        return found
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        raise Missing(program, "not on the PATH, and only on Debian it is installed by itself")
    if os.geteuid() != 0:
        raise Missing(program, f"not on the PATH, and only root may run: apt-get install {PACKAGES[program]}")
    with alone():
        if not _where(program):
            _install(program)
    found = _where(program)
    if not found:
        raise Missing(program, f"not on the PATH, although the package {PACKAGES[program]} is installed")
    return found


def _where(program: str) -> str | None:
    """Of several versions beside the path, the newest."""
    places = [place for pattern in PLACES for place in sorted(map(str, Path("/").glob(pattern)), reverse=True)]
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(places))


@contextlib.contextmanager
def alone(what: str = "apt") -> Iterator[None]:
    """One installation at a time, or one of whatever else: test processes may run side by side."""
    with (Path(tempfile.gettempdir()) / f"worksong-tests-{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(program: str) -> None:
    package, quiet = PACKAGES[program], {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {package} with apt-get", file=sys.stderr)
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    for command in ([*apt, "update", "-qq"], [*apt, "install", "-y", "-qq", package]):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no word of why"]
            raise Missing(program, f"{' '.join(command)} failed: {said[-1]}")
    with contextlib.suppress(OSError):  # where there is no init system there is no service to stop
        subprocess.run(["service", SERVICES[program], "stop"], capture_output=True, check=False)


class Redis(NamedTuple):
    """A redis-server of our own."""

    url: str
    """`redis://127.0.0.1:PORT/0`"""
    port: int
    pid: int
    directory: Path


@contextlib.contextmanager
def redis(*options: str) -> Iterator[Redis]:
    """A redis-server that keeps nothing, with further `options` of its command line; `Missing` when there is none."""
    program = find("redis-server")
    with tempfile.TemporaryDirectory(prefix="worksong-redis-") as name:
        directory = Path(name)
        process, port = _start_redis(program, directory, options)
        try:
            yield Redis(f"redis://127.0.0.1:{port}/0", port, process.pid, directory)
        finally:
            _end(process)


@contextlib.contextmanager
def redis_cluster() -> Iterator[Redis]:
    """A Redis Cluster of one node."""
    with redis("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf") as server:
        _ask(server.port, b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")
        deadline = time.monotonic() + PATIENCE
        while b"cluster_state:ok" not in _ask(server.port, b"CLUSTER INFO\r\n"):
            if time.monotonic() > deadline:
                raise Missing("redis-server", "its cluster of one node did not come up")
            time.sleep(0.05)
        yield server


def _ask(port: int, command: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(command)
        return connection.recv(65536)


def _start_redis(program: str, directory: Path, options: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], int]:
    log = directory / "redis.log"
    for _ in range(TRIES):
        port = free_port()
        settings = {"port": str(port), "bind": "127.0.0.1", "dir": str(directory), "save": "", "appendonly": "no"}
        command = [program, *(part for name, value in settings.items() for part in (f"--{name}", value)), *options]
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            if _answers(process, port, "redis-server", _redis_answers):
                return process, port
        except BaseException:
            _end(process)
            raise
    raise Missing("redis-server", f"it did not start: {log.read_text(errors='replace').strip()[-500:]}")


def _answers(
    process: subprocess.Popen[bytes],
    port: int,
    program: str,
    probe: Callable[[int], bool],
    *,
    patience: float = PATIENCE,
) -> bool:
    """Wait until the server answers; False when it ended instead."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            if probe(port) and process.poll() is None:
                return True
        time.sleep(0.01)
    raise Missing(program, f"no answer within {patience:.0f} s")


def _redis_answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")


class Database(NamedTuple):
    """A database server of our own."""

    url: str
    port: int
    pid: int
    directory: Path
    command: tuple[str, ...]
    """What started it, and starts it again on what it has stored."""
    user: str | None
    """Whose process it is, if not ours."""


@contextlib.contextmanager
def postgres(*options: str) -> Iterator[Database]:
    """A PostgreSQL that writes to disk as it does by default; `Missing` when there is none."""
    program = find("postgres")
    with tempfile.TemporaryDirectory(prefix="worksong-postgres-") as name:
        directory = Path(name)
        user = _somebody(directory, "postgres")
        data = directory / "data"
        init = [
            _beside(program, "initdb"),
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        _prepared("postgres", [*init, "--no-sync"], user)

        def command(port: int) -> tuple[str, ...]:
            listen = ("-p", str(port), "-k", str(directory), "-c", "listen_addresses=127.0.0.1")
            return (program, "-D", str(data), *listen, *options)

        def probe(port: int) -> bool:
            ask = [_beside(program, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            return subprocess.run(ask, check=False).returncode == 0

        process, port = _started("postgres", directory, command, user, probe)
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        try:
            yield Database(url, port, process.pid, directory, command(port), user)
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for clients
            _end(process, kindly=False)


@contextlib.contextmanager
def pgbouncer(server: Database) -> Iterator[Database]:
    """A PgBouncer before this PostgreSQL, in transaction mode and with few connections to it."""
    program, tool = find("pgbouncer"), _beside(find("postgres"), "pg_isready")
    with tempfile.TemporaryDirectory(prefix="worksong-pgbouncer-") as name:
        directory = Path(name)
        user, settings = _somebody(directory, "postgres"), directory / "pgbouncer.ini"

        def command(port: int) -> tuple[str, ...]:
            settings.write_text(
                f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n"
                f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
                "pool_mode = transaction\ndefault_pool_size = 3\n"
            )
            return (program, str(settings))

        def probe(port: int) -> bool:
            ask = [tool, "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
            return subprocess.run(ask, check=False).returncode == 0

        process, port = _started("pgbouncer", directory, command, user, probe)
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        try:
            yield Database(url, port, process.pid, directory, command(port), user)
        finally:
            _end(process)


def _beside(program: str, tool: str) -> str:
    """A tool that comes with the program."""
    return _where(tool) or str(Path(program).resolve().with_name(tool))


@contextlib.contextmanager
def mariadb(*options: str) -> Iterator[Database]:
    """A MariaDB that writes to disk as it does by default; `Missing` when there is none."""
    program = find("mariadbd")
    with tempfile.TemporaryDirectory(prefix="worksong-mariadb-") as name:
        directory = Path(name)
        user = _somebody(directory, "mysql")
        data, first = directory / "data", directory / "first.sql"
        first.write_text("CREATE DATABASE IF NOT EXISTS worksong;\n")
        # A server that starts deletes what it takes for its own leftovers in a directory shared with others.
        shared = ["--no-defaults", f"--datadir={data}", f"--tmpdir={directory}"]
        install = shutil.which("mariadb-install-db") or "mariadb-install-db"
        _prepared("mariadbd", [install, *shared, "--auth-root-authentication-method=normal", "--skip-test-db"], user)

        def command(port: int) -> tuple[str, ...]:
            listen = ("--bind-address=127.0.0.1", f"--port={port}", f"--socket={directory}/mariadb.sock")
            files = (f"--pid-file={directory}/mariadb.pid", f"--init-file={first}", "--skip-name-resolve")
            return (program, *shared, *listen, *files, *options)

        process, port = _started("mariadbd", directory, command, user, _mariadb_answers)
        url = f"mariadb://root@127.0.0.1:{port}/worksong"
        try:
            yield Database(url, port, process.pid, directory, command(port), user)
        finally:
            _end(process)


@contextlib.contextmanager
def mysql(program: str, *options: str) -> Iterator[Database]:
    """This mysqld, which writes to disk as it does by default; `Missing` when it does not start."""
    with tempfile.TemporaryDirectory(prefix="worksong-mysql-") as name:
        directory = Path(name)
        data, first = directory / "data", directory / "first.sql"
        first.write_text("CREATE DATABASE IF NOT EXISTS worksong;\n")
        shared = [program, "--no-defaults", f"--datadir={data}", f"--tmpdir={directory}", "--secure-file-priv=NULL"]
        shared += [] if os.geteuid() else ["--user=root"]  # it only runs as root when it is told to
        _prepared("mysqld", [*shared, "--initialize-insecure"], None)

        def command(port: int) -> tuple[str, ...]:
            listen = ("--bind-address=127.0.0.1", f"--port={port}", f"--socket={directory}/mysql.sock", "--mysqlx=OFF")
            return (*shared, *listen, f"--pid-file={directory}/mysql.pid", f"--init-file={first}", *options)

        process, port = _started("mysqld", directory, command, None, _mariadb_answers)
        url = f"mysql://root@127.0.0.1:{port}/worksong"
        try:
            yield Database(url, port, process.pid, directory, command(port), None)
        finally:
            _end(process)


def _mariadb_answers(port: int) -> bool:
    """It speaks first."""
    with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
        return len(connection.recv(64)) > 4


class Broker:
    """A RabbitMQ of our own."""

    def __init__(self, program: str, directory: Path, mapper: int, settings: str) -> None:
        self._program, self.directory = program, directory
        self.authority = self_signed(directory)
        """The file with the certificate of the TLS port, which is its own authority; None: there is no such port."""
        for _ in range(TRIES):
            self.port, self.tls_port = _lasting_port(), _lasting_port()
            self._configure(settings)
            self._environment = _rabbitmq_environment(directory, self.port, _lasting_port(), mapper)
            process = self._start()
            if process:
                self._process = process
                return
        log = (directory / "server.log").read_text(errors="replace").strip()[-500:]
        raise Missing("rabbitmq-server", f"it did not start: {log}")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """Of the script that the server runs under."""
        return self._process.pid

    def _configure(self, settings: str) -> None:
        lines = ["loopback_users = none", settings]
        if self.authority:
            lines += [f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}", f"ssl_options.certfile = {self.authority}"]
            lines += [f"ssl_options.keyfile = {self.authority.with_name('key.pem')}"]
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")

    def call(self, module: str, function: str, arguments: str) -> None:
        """Have the server carry out one of its own functions; `arguments` in Erlang, separated by commas."""
        self.ask(f"begin ok = {module}:{function}({arguments}), [] end")

    def ask(self, expression: str) -> str:
        """Have the server work out something in Erlang whose value is text; answers that."""
        # As rabbitmqctl does it, which takes many times as long to start.
        environment = {**self._environment, "ASKED": f"{expression}.", "NODE": self._environment["RABBITMQ_NODENAME"]}
        caller, cookie = f"caller{random.getrandbits(64)}@localhost", (self.directory / ".erlang.cookie").read_text()
        command = ["erl", "-noinput", "-hidden", "-sname", caller, "-setcookie", cookie, "-eval", _ASK]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{expression}: {done.stderr or done.stdout}"
        return done.stdout

    def write_down(self) -> None:
        """What it knows of its quorum queues, which it does by itself within a second."""
        self.ask("begin [dets:sync(Table) || Table <- dets:all()], [] end")

    def kill(self) -> None:
        """What it stored stays."""
        _kill_group(self._process)

    def freeze(self) -> None:
        """It accepts connections and answers nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def start(self) -> None:
        """Again, on what it stored."""
        process = self._start()
        if not process:
            raise Missing("rabbitmq-server", "it did not start again")
        self._process = process

    def _start(self) -> subprocess.Popen[bytes] | None:
        with (self.directory / "server.log").open("ab") as output:
            process = subprocess.Popen(
                [self._program],
                env=self._environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            return process if _answers(process, self.port, "rabbitmq-server", _speaks_amqp, patience=SLOW) else None
        except BaseException:
            _kill_group(process)
            raise


_ASK = """
    {ok, Tokens, _} = erl_scan:string(os:getenv("ASKED")), {ok, Parsed} = erl_parse:parse_exprs(Tokens),
    {value, Text, _} = rpc:call(list_to_atom(os:getenv("NODE")), erl_eval, exprs, [Parsed, []]),
    io:put_chars(Text), halt(0).
"""


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """A script, and the Erlang machine that it waits for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def rabbitmq(settings: str = "") -> Iterator[Broker]:
    """A RabbitMQ with these lines of configuration, and an epmd of its own; `Missing` when there is none."""
    # The program on everybody's path is a wrapper that changes to another user.
    own = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    found = find("rabbitmq-server")
    with tempfile.TemporaryDirectory(prefix="worksong-rabbitmq-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with _port_mapper() as mapper:
            broker = Broker(str(own) if own.exists() else found, directory, mapper, settings)
            try:
                yield broker
            finally:
                broker.kill()


class Faktory:
    """A Faktory of our own: the program of `interop/faktory`, which is the real server and takes orders from us."""

    def __init__(self, program: Path, directory: Path, *flags: str, password: str = "") -> None:
        """`flags`: of `faktory serve`, beside those that say where it is."""
        self.directory, self.password = directory, password
        self.socket = directory / "redis.sock"
        """Where its own Redis listens."""
        self._program, self._flags = program, flags
        self._ordering = threading.Lock()
        for _ in range(TRIES):
            self.port, self.web_port = _lasting_port(), _lasting_port()
            process = self._start()
            if process:
                self._process = process
                return
        raise Missing("faktory", f"it did not start: {self.said}")

    @property
    def url(self) -> str:
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"faktory://{login}127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace").strip()[-500:]

    def order(self, *words: object) -> Any:
        """What is not in its protocol: see `order` in `interop/faktory/serve.go`."""
        assert self._process.stdin
        assert self._process.stdout
        with self._ordering:
            self._process.stdin.write(f"{' '.join(map(str, words))}\n".encode())
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, f"the server does not answer {words}: {self.said}"
        return json.loads(line)

    def kill(self) -> None:
        """SIGKILL. Its Redis is told by the kernel: it stores what it has, and ends."""
        self._process.kill()
        self._over()
        until = time.monotonic() + SLOW
        while _unix_listens(self.socket):
            assert time.monotonic() < until, "the Redis of the server does not end"
            time.sleep(0.005)

    def start(self) -> None:
        """Again, on what it stored."""
        process = self._start()
        if not process:
            raise Missing("faktory", f"it did not start again: {self.said}")
        self._process = process

    def end(self) -> None:
        """In order, with its Redis."""
        _end(self._process)
        self._over()

    def _over(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _start(self) -> subprocess.Popen[bytes] | None:
        place = ["-d", str(self.directory), "-c", str(self.directory)]
        place += ["-b", f"127.0.0.1:{self.port}", "-w", f"127.0.0.1:{self.web_port}", "-e", "development", "-l", "warn"]
        with (self.directory / "server.log").open("ab") as output:
            process = subprocess.Popen(
                [self._program, "serve", *self._flags, *place],
                env={**os.environ, "FAKTORY_PASSWORD": self.password},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
            )
        try:
            if _answers(process, self.port, "faktory", _greets, patience=SLOW):
                return process
        except BaseException:
            _end(process)
            raise
        return None


def _unix_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _greets(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
        return connection.recv(16).startswith(b"+HI")


@contextlib.contextmanager
def faktory(program: Path, *flags: str, password: str = "") -> Iterator[Faktory]:
    """The Faktory that this program is, with these flags of `faktory serve`; `Missing` when it does not start."""
    find("redis-server")  # it starts one
    with tempfile.TemporaryDirectory(prefix="worksong-faktory-", ignore_cleanup_errors=True) as name:
        server = Faktory(program, Path(name), *flags, password=password)
        try:
            yield server
        finally:
            server.end()


def self_signed(directory: Path) -> Path | None:
    """A certificate for `localhost`, beside `key.pem`; None where there is no openssl."""
    if not shutil.which("openssl"):
        return None
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=DNS:localhost"], capture_output=True, check=True)
    return certificate


@contextlib.contextmanager
def _port_mapper() -> Iterator[int]:
    """The epmd of our nodes: one that a node starts by itself would outlive it."""
    program = shutil.which("epmd") or "epmd"
    for _ in range(TRIES):
        port = free_port()
        process = subprocess.Popen(
            [program, "-port", str(port), "-address", "127.0.0.1"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if _answers(process, port, "epmd", _listens):
                yield port
                return
        finally:
            _end(process)
    raise Missing("rabbitmq-server", "its port mapper epmd did not start")


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True


def _rabbitmq_environment(directory: Path, port: int, distribution: int, mapper: int) -> dict[str, str]:
    mine = {
        "HOME": str(directory),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"worksong{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
    }
    return {**os.environ, **mine}


def _speaks_amqp(port: int) -> bool:
    """It answers a protocol that it does not know with the one it does."""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
        connection.sendall(b"AMQP\0\1\0\0")
        return connection.recv(8).startswith(b"AMQP")


def _somebody(directory: Path, account: str) -> str | None:
    """Database servers will not run as root: the account of the package then owns the directory, and runs them."""
    if os.geteuid() != 0:
        return None
    shutil.chown(directory, account)
    return account


def _prepared(program: str, command: list[str], user: str | None) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, user=user)
    except OSError as failure:
        raise Missing(program, f"{command[0]}: {failure}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word of why"]
        raise Missing(program, f"{Path(command[0]).name} failed: {said[-1]}")


def _started(
    program: str,
    directory: Path,
    command: Callable[[int], tuple[str, ...]],
    user: str | None,
    probe: Callable[[int], bool],
) -> tuple[subprocess.Popen[bytes], int]:
    log = directory / "server.log"
    for _ in range(TRIES):
        port = free_port()
        with log.open("ab") as output:
            process = subprocess.Popen(command(port), stdout=output, stderr=output, stdin=subprocess.DEVNULL, user=user)
        try:
            if _answers(process, port, program, probe):
                return process, port
        except BaseException:
            _end(process)
            raise
    raise Missing(program, f"it did not start: {log.read_text(errors='replace').strip()[-500:]}")


def _end(process: subprocess.Popen[bytes], *, kindly: bool = True) -> None:
    """`kindly`: ask it; otherwise it was asked already."""
    if kindly:
        process.terminate()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _lasting_port() -> int:
    """One below those that the system hands out, so that a server that is away finds it free when it comes back."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    return free_port()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Say of every server where it is, or why it is not."""
    missing = 0
    for program in PACKAGES:
        try:
            print(f"{program}: {find(program)}")
        except Missing as reason:
            failing = required() and program not in DISPENSABLE
            missing += failing
            print(f"{program}: MISSING, its tests are {'failed' if failing else 'skipped'}: {reason.why}")
    return 1 if missing and required() else 0


if __name__ == "__main__":
    sys.exit(main())
