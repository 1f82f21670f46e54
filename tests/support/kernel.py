"""A real Jupyter kernel and the front end's side of its wire; without a thread: messages are read while one waits.

Times are those that the kernel stamped on its messages, so it does not matter when they were read.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import zmq
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from tests.support.passed import passed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Message:
    """One message from the kernel."""

    channel: str
    """`shell`, `iopub`, `stdin` or `control`."""
    type: str
    parent: str
    """Id of the request it belongs to, empty for none."""
    at: float
    """When the kernel sent it, Unix seconds."""
    content: dict[str, Any]
    metadata: dict[str, Any]
    buffers: list[bytes]


@dataclass
class Cell:
    """One execute request and all that the kernel sent for it."""

    id: str
    code: str
    sent: float
    messages: list[Message] = field(default_factory=list)

    @property
    def reply(self) -> dict[str, Any] | None:
        """Content of the execute reply, None while it runs."""
        return next((m.content for m in self.messages if m.type == "execute_reply"), None)

    @property
    def done(self) -> bool:
        """Whether the reply and the kernel's `idle` are here, so that no output of the cell itself is outstanding."""
        idle = any(m.type == "status" and m.content["execution_state"] == "idle" for m in self.messages)
        return idle and self.reply is not None

    @property
    def status(self) -> str:
        """`running`, `ok`, `error` or `aborted`."""
        return self.reply["status"] if self.reply else "running"

    @property
    def seconds(self) -> float:
        """From the request to the kernel's reply."""
        return next(m.at for m in self.messages if m.type == "execute_reply") - self.sent

    @property
    def stdout(self) -> str:
        """What it printed."""
        return self._stream("stdout")

    @property
    def stderr(self) -> str:
        """What it wrote to stderr."""
        return self._stream("stderr")

    @property
    def result(self) -> str:
        """Plain text of its last expression, empty for none."""
        return next((m.content["data"]["text/plain"] for m in self.messages if m.type == "execute_result"), "")

    @property
    def displays(self) -> list[dict[str, Any]]:
        """Mime bundles that were displayed, updates and the last expression included, in order."""
        kinds = ("display_data", "update_display_data", "execute_result")
        return [m.content["data"] for m in self.messages if m.type in kinds]

    def drew(self, update: Message) -> bool:
        """Whether an update is of one of its displays, as a page knows; the parent is wrong in an older ipykernel."""
        shown = (m.content["transient"] for m in self.messages if m.type == "display_data")
        return update.content["transient"] in shown

    @property
    def error(self) -> str:
        """`NameError: ...`, empty for none."""
        errors = [m.content for m in self.messages if m.type == "error"]
        return f"{errors[-1]['ename']}: {errors[-1]['evalue']}" if errors else ""

    @property
    def traceback(self) -> str:
        """The traceback as the front end would show it."""
        return "\n".join(line for m in self.messages if m.type == "error" for line in m.content["traceback"])

    def _stream(self, name: str) -> str:
        return "".join(m.content["text"] for m in self.messages if m.type == "stream" and m.content["name"] == name)


@dataclass
class Comm:
    """A comm that the kernel opened: a widget's model, mostly."""

    id: str
    target: str
    messages: list[Message] = field(default_factory=list)
    """Its `comm_open`, and all that came after it."""
    closed: bool = False

    @property
    def state(self) -> dict[str, Any]:
        """A widget's traits, updates included."""
        state: dict[str, Any] = {}
        for message in self.messages:
            state |= message.content.get("data", {}).get("state", {})
        return state

    @property
    def custom(self) -> list[Any]:
        """Contents of a widget's custom messages."""
        data = [m.content.get("data", {}) for m in self.messages]
        return [d["content"] for d in data if d.get("method") == "custom"]


class CellFailed(AssertionError):  # noqa: N818  it reads as a failed assertion in a test's report
    """Raised when a cell that was to run well did not."""


class Kernel:
    """A kernel with one front end; use it as a context manager.

    Args:
        python: The interpreter to run it with (its own venv's ipykernel is used), this one by default.
        allow_stdin: False is a headless front end, such as nbclient.
        env: Added to the environment.
        cwd: The kernel's working directory.
    """

    def __init__(
        self,
        python: str | Path = sys.executable,
        *,
        allow_stdin: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        self.allow_stdin = allow_stdin
        self.messages: list[Message] = []
        self.cells: list[Cell] = []
        self.comms: dict[str, Comm] = {}
        self.prompts: list[str] = []
        """Prompts of input requests that nobody has answered."""
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self._cwd = str(cwd or ROOT)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by stop()
        self._manager = KernelManager(kernel_spec_manager=_OneKernel(str(python)))

    def start(self, timeout: float = 60.0) -> Self:
        """Start the process and wait until it answers."""
        self._manager.start_kernel(env=self._env, cwd=self._cwd, stdout=self._log, stderr=self._log)
        self._connect(timeout)
        return self

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._disconnect()
        if self._manager.has_kernel:
            self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()
        self._log.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        alive: bool = self._manager.is_alive()
        return alive

    @property
    def log(self) -> str:
        """What the process wrote to its own stdout and stderr, past the cells."""
        self._log.seek(0)
        return self._log.read()

    def execute(self, code: str, *, allow_stdin: bool | None = None, stop_on_error: bool = True) -> Cell:
        """Send a cell and return at once; cells that are sent meanwhile queue in the kernel."""
        allow = self.allow_stdin if allow_stdin is None else allow_stdin
        sent = time.time()
        key = self._client.execute(code, allow_stdin=allow, stop_on_error=stop_on_error)
        cell = Cell(key, code, sent)
        self.cells.append(cell)
        return cell

    def run(self, code: str, *, timeout: float = 60.0, check: bool = True) -> Cell:
        """Run a cell to its end.

        Args:
            code: The cell.
            timeout: Seconds that it may take.
            check: Whether an error in the cell is one here.

        Raises:
            CellFailed: It raised, and `check` is set.
            TimeoutError: It did not end in time.
        """
        return self.join(self.execute(code), timeout=timeout, check=check)

    def join(self, cell: Cell, *, timeout: float = 60.0, check: bool = True) -> Cell:
        """Wait for a cell that was sent with `execute`; raises what `run` raises."""
        self.wait(lambda: cell.done, timeout)
        if check and cell.status != "ok":
            raise CellFailed(f"{cell.status}: {cell.error}\n{cell.traceback}\n--- cell\n{cell.code}")
        return cell

    def wait(self, condition: Callable[[], object], timeout: float = 60.0) -> None:
        """Read messages until the condition holds.

        Raises:
            TimeoutError: It did not hold in time.
            ConnectionError: The process ended first.
        """
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                tail = [(m.type, m.content) for m in self.messages[-5:]]
                raise TimeoutError(f"not so within {timeout} s; last messages: {tail}; log: {self.log[-2000:]}")
            if not self._read(min(left, 0.1)) and not self.alive:
                raise ConnectionError(f"the kernel has ended; log: {self.log[-2000:]}")

    def listen(self, seconds: float) -> None:
        """Read messages for so long: to see that nothing comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def interrupt(self) -> None:
        """What the Interrupt button does."""
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        """End the process with SIGKILL, as the system does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait(60)

    def renew(self, home: Path) -> None:
        """Forget all but what was imported, and keep the record in `home` from now on."""
        self.run("%reset -f")
        self.run(f"import crew_nb as cnb; cnb.set_record({str(home)!r})")
        for seen in (self.messages, self.cells, self.comms, self.prompts):
            seen.clear()

    def restart(self, timeout: float = 60.0) -> None:
        """What the Restart button does; also brings up a new process after `kill`."""
        self._disconnect()
        self._manager.restart_kernel(now=not self.alive)
        self.comms.clear()
        self.prompts.clear()
        self._connect(timeout)

    def shutdown(self) -> None:
        """What "Shut Down Kernel" does: asks it to end, and kills it only if it does not."""
        self._manager.shutdown_kernel(now=False)

    def send_comm(self, comm: Comm | str, data: Mapping[str, Any], buffers: Sequence[bytes] = ()) -> None:
        """Send a comm message, as a front end's widget does; a custom one is `{"method": "custom", "content": ...}`."""
        content = {"comm_id": comm if isinstance(comm, str) else comm.id, "data": dict(data)}
        self._client.session.send(self._client.shell_channel.socket, "comm_msg", content, buffers=list(buffers))

    def comm(self, condition: Callable[[Comm], object], timeout: float = 60.0) -> Comm:
        """The first comm that meets the condition, as soon as there is one."""
        self.wait(lambda: any(condition(c) for c in self.comms.values()), timeout)
        return next(c for c in self.comms.values() if condition(c))

    def answer(self, text: str, timeout: float = 60.0) -> str:
        """Answer the oldest open `input()`, waiting for one; returns its prompt."""
        self.wait(lambda: self.prompts, timeout)
        self._client.input(text)
        return self.prompts.pop(0)

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        provisioner = self._manager.provisioner
        assert isinstance(provisioner, LocalProvisioner)
        assert isinstance(provisioner.process, subprocess.Popen)
        return provisioner.process

    def _connect(self, timeout: float) -> None:
        self._client = self._manager.client()
        self._client.start_channels(hb=False)
        self._client.wait_for_ready(timeout=timeout)
        self._channels = {
            getattr(self._client, f"{name}_channel").socket: name for name in ("iopub", "shell", "stdin", "control")
        }
        self._poller = zmq.Poller()
        for socket in self._channels:
            self._poller.register(socket, zmq.POLLIN)

    def _disconnect(self) -> None:
        if hasattr(self, "_client"):
            self._client.stop_channels()
            del self._client

    def _read(self, seconds: float) -> bool:
        """Takes in all messages that are there, or the first to come; whether there was one."""
        ready = self._poller.poll(math.ceil(seconds * 1000))
        for socket, _ in ready:
            name = self._channels[socket]
            channel = getattr(self._client, f"{name}_channel")
            while socket.poll(0):
                self._take(name, channel.get_msg(timeout=1))
        return bool(ready)

    def _take(self, channel: str, raw: dict[str, Any]) -> None:
        message = Message(
            channel=channel,
            type=raw["header"]["msg_type"],
            parent=raw["parent_header"].get("msg_id", ""),
            at=raw["header"]["date"].timestamp(),
            content=raw["content"],
            metadata=raw["metadata"],
            buffers=[bytes(b) for b in raw.get("buffers") or ()],
        )
        self.messages.append(message)
        for cell in self.cells:
            if cell.drew(message) if message.type == "update_display_data" else cell.id == message.parent:
                cell.messages.append(message)
        if message.type == "comm_open":
            key = message.content["comm_id"]
            self.comms[key] = Comm(key, message.content["target_name"])
        if message.type.startswith("comm_") and (comm := self.comms.get(message.content.get("comm_id", ""))):
            comm.messages.append(message)
            comm.closed = comm.closed or message.type == "comm_close"
        if message.type == "input_request":
            self.prompts.append(message.content["prompt"])


def lent(kernel: Kernel, home: Path, test: pytest.Item) -> Iterator[Kernel]:
    """One kernel for many tests, as importing CrewAI takes longer than most; a new process after one that failed."""
    kernel.renew(home)
    yield kernel
    if not passed(test):
        kernel.restart()


class _OneKernel(KernelSpecManager):
    """Names one interpreter, so that no kernel needs to be installed."""

    def __init__(self, python: str) -> None:
        super().__init__()
        self.python = python

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="test", language="python")
