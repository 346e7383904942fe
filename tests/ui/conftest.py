"""A real JupyterLab on loopback with real kernels, and a page of it in Chromium."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from tests.conftest import ROOT, missing

AXE = "axe-core@4.14.1"
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'
ARTIFACTS = ROOT / "tests" / "artifacts"
SETTINGS = {
    "labconfig/page_config.json": {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}},
    # Every cell is in the page, whether it can be seen or not.
    "lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings": {"theme": "JupyterLab Light"},
}


class Lab:
    """The server: ``url`` with its token, ``folder`` that it serves."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, token = folder, secrets.token_hex(16)
        for name, values in SETTINGS.items():
            path = home / ".jupyter" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        options = {"ip": "127.0.0.1", "port": port, "root_dir": folder, "open_browser": False, "port_retries": 0}
        self.process = subprocess.Popen(
            [
                sys.executable,
                *("-m", "jupyterlab", "--allow-root", "--LabApp.extension_manager=readonly"),
                *(f"--ServerApp.{name}={value}" for name, value in options.items()),
                f"--IdentityProvider.token={token}",
            ],
            env={**os.environ, "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / ".jupyter")},
            stdout=(home / "lab.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        self.url, self.token = f"http://127.0.0.1:{port}", token
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.url}/api")
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError((home / "lab.log").read_text()[-2000:])

    def stop_kernels(self) -> None:
        for session in json.load(self._ask("GET", "sessions")):
            self._ask("DELETE", f"sessions/{session['id']}")

    def _ask(self, method: str, what: str):
        headers = {"Authorization": f"token {self.token}"}
        return urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/{what}", method=method, headers=headers))


class Tab:
    """A notebook open in JupyterLab, what its page said, and what it asked of a network."""

    def __init__(self, browser, lab: Lab, name: str, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 1400}, color_scheme=scheme)
        self.page, self.said, self.name = self.context.new_page(), [], name
        self.page.on("console", lambda message: message.type == "error" and self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self._asked(lab, request.url))
        # A workspace of its own: another one would open its notebooks too.
        self.page.goto(f"{lab.url}/lab/workspaces/{secrets.token_hex(4)}/tree/{name}?token={lab.token}")
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
        self.page.get_by_text("| Idle").wait_for(timeout=120_000)  # before that, Run asks for a kernel

    def _asked(self, lab: Lab, url: str) -> None:
        if not url.startswith((lab.url, lab.url.replace("http", "ws"), "data:", "blob:")):
            self.said.append(f"asked for {url}")

    def run_all(self, timeout: int = 90_000) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        done = """() => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent.trim());
            return prompts.length && prompts.every(text => /^\\[\\d+\\]:$/.test(text));
        }"""
        failed = f"() => [...document.querySelectorAll('{STDERR}')].some(o => o.textContent.includes('Traceback'))"
        self.page.wait_for_function(f"() => ({done})() || ({failed})()", timeout=timeout)
        self.settle()

    def settle(self) -> None:
        """Wait until charts and tables stand: nothing of the page changes for a while."""
        self.page.evaluate("""() => new Promise(done => {
            let last = setTimeout(done, 800);
            const later = () => { clearTimeout(last); last = setTimeout(done, 800); };
            new MutationObserver(later).observe(document.querySelector('.jp-Notebook'), {childList: true, subtree: true});
            setTimeout(done, 8000);
        })""")

    def errors(self) -> list[str]:
        shown = self.page.locator(STDERR).all_inner_texts()
        return [text for text in shown if "Traceback" in text] + self.said

    def cut_off(self) -> list[str]:
        """Outputs that are wider than their cell; tables scroll inside themselves."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.jp-OutputArea-output')]
                .filter(o => o.clientWidth && o.scrollWidth > o.clientWidth + 2)
                .map(o => `${o.scrollWidth} in ${o.clientWidth}: ${o.innerText.slice(0, 80)}`)"""
        )

    def shoot(self, name: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.evaluate(
            "() => document.querySelectorAll('[class*=jp-WindowedPanel]').forEach(e => (e.scrollTop = 0))"
        )
        height = self.page.evaluate(
            "() => Math.max(...[...document.querySelectorAll('[class*=jp-WindowedPanel]')].map(e => e.scrollHeight))"
        )
        size = self.page.viewport_size
        self.page.set_viewport_size({"width": size["width"], "height": min(int(height) + 200, 8_000)})
        self.settle()
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")
        self.page.set_viewport_size(size)

    def close(self) -> None:
        self.context.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """axe-core's source, from npm."""
    if not shutil.which("npm"):
        missing("npm is not on this machine: axe-core cannot be installed")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(["npm", "install", "--no-save", "--prefix", folder, AXE], capture_output=True, text=True)
    if done.returncode:
        missing(f"axe-core could not be installed: {done.stderr[-300:]}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


def serious(page, where=None) -> dict[str, list[str]]:
    """What axe (its source is in the page) finds that keeps people out, in the page or in a part of it."""
    found = page.evaluate("where => axe.run(where ?? document).then(result => result.violations)", where)
    return {
        f"{one['id']} ({one['impact']}): {one['help']}": [node["html"][:160] for node in one["nodes"][:4]]
        for one in found
        if one["impact"] in ("serious", "critical")
    }


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    server = Lab(tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("home"))
    yield server
    server.process.terminate()
    server.process.wait(30)


@pytest.fixture
def open_notebook(chromium, lab):
    """Open a notebook, by path or from its cells, in a page of its own."""
    tabs = []

    def opened(source, name=None, scheme="light"):
        if isinstance(source, Path):
            name = source.name
            (lab.folder / name).write_bytes(source.read_bytes())
        else:
            book = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(cell) for cell in source],
                metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            )
            nbformat.write(book, lab.folder / name)
        tabs.append(Tab(chromium, lab, name, scheme))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.close()
    lab.stop_kernels()
