"""The walk of a new user: submit to a cluster, watch it, lose a node and the driver, resume, export.

`make walk` runs it on this machine with two raylets, in about three minutes. What is typed is printed after a `$`.
Where Chromium with its driver and Prometheus are installed, pages are looked at and kept as pictures in the folder
that `--pictures` names; otherwise these steps are left out, and the walk says so.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PATIENCE = 240.0  # seconds for anything
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PROMETHEUS = shutil.which("prometheus")
JOB = ("--set", "task.epochs=40", "--set", "budget.trials=120", "--set", "final.epochs=40")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pictures", type=Path, help="a folder for the pictures of what is seen")
    pictures = parser.parse_args().pictures
    pictures = pictures and pictures.absolute()  # the walk goes to another folder
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that nothing is left running
    with tempfile.TemporaryDirectory(prefix="walk-") as folder, Walk(Path(folder), pictures) as walk:
        walk.go()
    print("\nThat was the walk.")


@final
@dataclass
class Walk:
    """A folder of a user's own, a cluster of two nodes, and what was started on the way, ended in any case."""

    folder: Path
    pictures: Path | None
    search: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Walk:
        names = ("gcs", "jobs", "dashboard", "prometheus")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "NAS_HOME": str(self.folder / "searches"),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # as activated: the cluster runs `python`
        }
        os.environ.pop("RAY_ADDRESS", None)
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def go(self) -> None:
        """All steps, one after the other."""
        title("A cluster of two nodes")
        jobs = f"http://127.0.0.1:{self.ports['jobs']}"
        self.stack.enter_context(head(self.ports, self.folder))
        second = self.stack.enter_context(node(self.ports, self.folder))
        until("both nodes have joined", lambda: nodes_alive(self.ports["gcs"]) == 2)

        title("A web page and Prometheus, which find what runs by themselves")
        self.stack.enter_context(background(BIN / "nas", "dashboard", "--port", str(self.ports["dashboard"])))
        until("the dashboard answers", lambda: answers(f"http://127.0.0.1:{self.ports['dashboard']}/"))
        if PROMETHEUS is not None:
            self.stack.enter_context(prometheus(self.ports["prometheus"], self.folder))

        title("A job from a folder of one's own, with a space and a task of one's own")
        mine = self.folder / "mine"
        mine.mkdir()
        for name in ("waves.py", "waves.yaml"):
            shutil.copy(HERE / name, mine / name)
        os.chdir(mine)
        self.search = nas("submit", "waves.yaml", "--address", jobs, *JOB).strip()
        until("trials run", lambda: self.status()["trials"].get("completed", 0) >= 3)
        nas("status", self.search)

        title("Watched in the browser and in Prometheus")
        self.watch()
        self.picture("walk-running", f"http://127.0.0.1:{self.ports['dashboard']}/searches/{self.search}")

        title("A node dies")
        os.killpg(second, signal.SIGKILL)
        said("the second node, its raylet and its workers were killed")
        before = self.completed()
        until("trials end on the node that is left", lambda: self.completed() >= before + 3)
        nas("status", self.search)

        title("The driver dies")
        os.kill(self.driver(), signal.SIGKILL)
        said("the driver was killed")
        until("nobody drives the search", lambda: self.status()["state"] == "abandoned")
        nas("status", self.search)

        title("Resumed")
        nas("resume", self.search, "--address", jobs)
        until("the search is finished", lambda: self.status()["state"] == "finished")
        nas("best", self.search)
        self.picture("walk-finished", f"http://127.0.0.1:{self.ports['dashboard']}/searches/{self.search}")

        if PROMETHEUS is not None:
            graph = urllib.parse.urlencode(
                {"g0.expr": "nas_slots", "g0.tab": 0, "g0.range_input": "5m", "g0.stacked": 1}
            )
            self.picture("walk-prometheus", f"http://127.0.0.1:{self.ports['prometheus']}/graph?{graph}")

        title("The winner, as a folder of plain PyTorch")
        nas("export", self.search, "-o", "winner")
        print("\n".join(sorted(path.name for path in (mine / "winner").iterdir())))
        code = (mine / "winner" / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
        print("$ python  # the lines that winner/README.md gives, where Cellwright cannot be imported")
        run(sys.executable, "-c", ALONE + code + SHOW, cwd=mine / "winner")

    def status(self) -> dict[str, Any]:
        """The search as `nas status --json` has it."""
        command = [str(BIN / "nas"), "status", self.search, "--json"]
        found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return found

    def completed(self) -> int:
        return int(self.status()["trials"].get("completed", 0))

    def driver(self) -> int:
        """The process that drives the search; both nodes are on this machine."""
        return int(self.status()["driver"]["pid"])

    def watch(self) -> None:
        """Ask Prometheus, where it can be had."""
        if PROMETHEUS is None:
            said("Prometheus is not installed here: left out")
            return
        server = f"http://127.0.0.1:{self.ports['prometheus']}"
        query = 'nas_trials_total{outcome="completed"}'
        until("Prometheus has scraped the search", lambda: asked(server, query) > 0)
        said(f"{query} is {asked(server, query):g}")

    def picture(self, name: str, address: str) -> None:
        """Look at a page in a real browser, and keep what was seen."""
        if CHROMIUM is None or DRIVER is None:
            said("there is no Chromium with a chromedriver here: no picture")
        elif self.pictures is not None:
            self.pictures.mkdir(parents=True, exist_ok=True)
            photograph(address, self.pictures / f"{name}.png")
            said(f"seen: {name}.png")


ALONE = "import sys\nsys.modules.update(dict.fromkeys(('nas', 'workers', 'search_spaces', 'parameter_server')))\n"
SHOW = "\nprint(network)\nprint(outputs)\n"


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def said(text: str) -> None:
    print(f"   {text}", flush=True)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command prints, which is printed here, too."""
    done = subprocess.run([str(one) for one in command], cwd=cwd, capture_output=True, text=True)
    print(done.stdout + done.stderr, end="", flush=True)
    done.check_returncode()
    return done.stdout


def nas(*arguments: str) -> str:
    print(f"$ nas {' '.join(arguments)}", flush=True)
    return run(BIN / "nas", *arguments)


def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for it, and say how long that took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"it was waited {PATIENCE:.0f} s in vain until {what}")
        time.sleep(0.3)
    said(f"{what} ({time.monotonic() - began:.1f} s)")


@contextmanager
def background(*command: str | Path) -> Iterator[int]:
    """A program that runs meanwhile, killed with all it has started; its process group."""
    print(f"$ {' '.join(Path(one).name if isinstance(one, Path) else one for one in command)} &", flush=True)
    process = subprocess.Popen(
        [str(one) for one in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def head(ports: dict[str, int], folder: Path) -> Iterator[int]:
    options = (
        "--head",
        "--node-ip-address=127.0.0.1",
        f"--port={ports['gcs']}",
        "--include-dashboard=true",
        f"--dashboard-port={ports['jobs']}",
        "--num-cpus=2",
        "--object-store-memory=80000000",
        f"--temp-dir={folder / 'ray'}",
        "--block",
    )
    with background(BIN / "ray", "start", *options) as group:
        until("the head answers", lambda: answers(f"http://127.0.0.1:{ports['jobs']}/api/version"))
        yield group


@contextmanager
def node(ports: dict[str, int], folder: Path) -> Iterator[int]:
    options = (f"--address=127.0.0.1:{ports['gcs']}", "--num-cpus=1", "--object-store-memory=80000000", "--block")
    with background(BIN / "ray", "start", *options) as group:
        yield group


@contextmanager
def prometheus(port: int, folder: Path) -> Iterator[int]:
    """A server that finds drivers by the files that they write."""
    config = folder / "prometheus.yml"
    found = folder / "searches" / "prometheus" / "*.json"
    files = [{"files": [str(found)], "refresh_interval": "1s"}]
    jobs = [{"job_name": "cellwright", "honor_labels": True, "file_sd_configs": files}]
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    options = (
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with background(Path(str(PROMETHEUS)), *options) as group:
        until("Prometheus answers", lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        yield group


def nodes_alive(port: int) -> int:
    done = subprocess.run(
        [BIN / "ray", "list", "nodes", "--format=json"],
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_ADDRESS": f"127.0.0.1:{port}"},
    )
    try:
        return sum(one["state"] == "ALIVE" for one in json.loads(done.stdout))
    except json.JSONDecodeError:
        return 0


def answers(address: str) -> bool:
    """Whether a server answers there, be it that it wants a token."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except OSError:
        return False


def asked(server: str, query: str) -> float:
    """The sum over the series of a query, now; 0 where there is none."""
    address = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': f'sum({query})'})}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        found = json.load(answer)["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def photograph(address: str, path: Path) -> None:
    """A page as headless Chromium shows it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in ("--headless=new", "--no-sandbox", "--window-size=1280,900", "--force-device-scale-factor=1"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        browser.get(address)
        time.sleep(4)  # for charts to be drawn
        browser.save_screenshot(str(path))
    finally:
        browser.quit()


def free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    main()
