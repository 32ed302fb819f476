"""The guide to the job service: its curl lines work as typed."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import uvicorn

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "service.md"
FENCE = re.compile(r"^```(?P<kind>python|sh)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED = "http://127.0.0.1:8080"
PATIENCE = 100.0


@pytest.fixture
def served() -> Iterator[str]:
    """Where the application of the guide answers."""
    module = ModuleType("guide")
    page = FENCE.findall(GUIDE.read_text())
    for kind, code in page[:3]:
        if kind == "python":
            exec(compile(code, str(GUIDE), "exec", dont_inherit=True), vars(module))
    config = uvicorn.Config(module.app, host="127.0.0.1", port=0, log_level="error", ws="none")
    server = uvicorn.Server(config)
    started = threading.Event()

    async def startup(sockets: object = None) -> None:
        await uvicorn.Server.startup(server)
        started.set()

    server.startup = startup  # type: ignore[method-assign]
    serving = threading.Thread(target=server.run)
    module.worker.start()
    serving.start()
    assert started.wait(PATIENCE)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    serving.join(PATIENCE)
    module.worker.stop()


def test_the_curl_lines_of_the_guide_work_as_typed(served: str) -> None:
    # Given a service with the application of the guide
    if shutil.which("curl") is None:
        pytest.skip("curl is not on the PATH")
    lines = [code for kind, code in FENCE.findall(GUIDE.read_text()) if kind == "sh"]

    # When everything is typed that is shown, one after the other
    strict = 'set -eu\ncurl() { command curl --fail-with-body --max-time 60 "$@"; echo; }\n'
    told = subprocess.run(
        ["sh", "-c", strict + "".join(lines).replace(TYPED, served)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    # Then every line was answered, with what the page promises
    assert told.returncode == 0, told.stdout + told.stderr
    assert '{"tasks":["album","greet","resize"]}' in told.stdout
    assert '"stages":[2,1]' in told.stdout
    assert '"metadata":"Summer: 2 pictures"' in told.stdout
    assert '"metadata":"the picture, 800 wide"' in told.stdout
    assert "event: end" in told.stdout
    assert '{"ready":true}' in told.stdout
    assert told.stdout.count('"name":"once"') >= 2
