"""The processes that are measured, what they cost by the operating system, and where they run.

Where there is a choice, the server has the machine's first core to itself; the model, the load and
the database share the others.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile

KAIWA = Path(sys.executable).parent / "kaiwa"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
CORES = sorted(os.sched_getaffinity(0))
_FIRST = CORES[:1]
OTHERS = CORES[1:] or CORES
_COMPLAINTS = 20
"""Lines that are shown."""
_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000;
  upstream model {{ server 127.0.0.1:{model}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /livez {{ return 200; }}
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def stay_on_others() -> None:
    """Leave the first core to the server."""
    os.sched_setaffinity(0, OTHERS)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has taken, with its threads that have ended."""
    return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it


def cpu_of_family(pid: int) -> float:
    """The same with its children, those that have ended too (these to 10 ms)."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    spent = cpu_of(pid) + (int(stat[13]) + int(stat[14])) / os.sysconf("SC_CLK_TCK")
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):  # it ends just now
            spent += cpu_of(int(child))
    return spent


def core_time() -> float:
    """Seconds that the server's core has worked, for whom ever; by the system's ticks."""
    lines = Path("/proc/stat").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"cpu{CORES[0]} ")]
    user, nice, system, _, _, *interrupts = map(int, line.split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


class Served:
    """A server process."""

    def __init__(self, port: int, popen: "subprocess.Popen[bytes]") -> None:
        self.port = port
        self.popen = popen
        self.ready_after = 0.0
        """Seconds from the process's start to its first good answer."""

    def cpu(self) -> float:
        return cpu_of(self.popen.pid)

    def memory(self, kind: str = "RssAnon") -> int:
        """Bytes of memory: the process's own, or with `VmRSS` what it shares with others too."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(status.partition(f"{kind}:")[2].split()[0]) * 1024

    def answers(self, path: str) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()


@contextmanager
def running(
    command: list[str], port: int, path: str, *, first: bool, **environment: str
) -> Generator[Served]:
    """The command, once it answers at `path`; it ends with the block.

    What it has to complain of is shown in short.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KAIWA_")}
    with TemporaryFile("w+") as said:
        begun = time.monotonic()
        popen = subprocess.Popen(
            command,
            env=kept | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        os.sched_setaffinity(popen.pid, _FIRST if first else OTHERS)
        served = Served(port, popen)
        try:
            while not served.answers(path):
                if popen.poll() is not None or time.monotonic() > begun + 30:
                    raise RuntimeError(f"{command[0]} did not start")
                time.sleep(0.005)
            served.ready_after = time.monotonic() - begun
            yield served
        finally:
            popen.terminate()
            popen.wait(60)
            said.seek(0)
            print("".join(said.readlines()[-_COMPLAINTS:]), end="", file=sys.stderr)


@contextmanager
def serving_model() -> Generator[Served]:
    """The fast scripted model server."""
    port = free_port()
    with running(
        [sys.executable, "-m", "bench.model", str(port)], port, "/log", first=False
    ) as served:
        yield served


@contextmanager
def serving_floor(model: Served) -> Generator[Served]:
    """The least that relays."""
    port = free_port()
    url = f"http://127.0.0.1:{model.port}/v1/chat/completions"
    command = [sys.executable, "-m", "bench.floor", str(port), url]
    with running(command, port, "/livez", first=True) as served:
        yield served


@contextmanager
def serving_nginx(folder: Path, model: Served) -> Generator[Served | None]:
    """Bytes passed through; None where nginx is not installed."""
    if not NGINX:
        yield None
        return
    port = free_port()
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, port=port, model=model.port))
    with running([NGINX, "-c", str(file), "-p", str(folder)], port, "/livez", first=True) as served:
        yield served


@contextmanager
def serving_kaiwa(folder: Path, model: Served, url: str = "", **settings: str) -> Generator[Served]:
    """Kaiwa as it comes, on the data in `folder` or the database at `url`."""
    port = free_port()
    environment = {
        "KAIWA_DATA": str(folder),
        "KAIWA_DATABASE_URL": url,
        "KAIWA_PROVIDERS_BENCH_KIND": "openai",
        "KAIWA_PROVIDERS_BENCH_BASE_URL": f"http://127.0.0.1:{model.port}/v1",
        "KAIWA_PROVIDERS_BENCH_API_KEY": "sk-bench",
        "KAIWA_LOG_LEVEL": "error",
        **{f"KAIWA_{name.upper()}": value for name, value in settings.items()},
    }
    command = [str(KAIWA), "serve", "--port", str(port)]
    with running(command, port, "/readyz", first=True, **environment) as served:
        yield served
