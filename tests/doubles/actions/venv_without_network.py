"""`python -m venv` and what is installed after it, without a network: what is asked of pip and uv is kept in a file."""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path

NOTE = """\
import sys
from pathlib import Path

with (Path(sys.prefix) / "installed").open("a", encoding="utf-8") as file:
    file.write(" ".join(["{name}", *sys.argv[1:]]) + "\\n")
if "--require-hashes" not in sys.argv:
    sys.exit("ERROR: nothing is installed that is not checked by hash")
"""


def make_environment(folder: Path) -> None:
    """An environment that sees this interpreter's packages."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (site / "here.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (site / "pip").mkdir()
    (site / "pip/__init__.py").touch()
    (site / "pip/__main__.py").write_text(NOTE.format(name="pip"), encoding="utf-8")
    uv = folder / "bin/uv"
    uv.write_text(f"#!{folder.resolve()}/bin/python\n{NOTE.format(name='uv')}", encoding="utf-8")
    uv.chmod(0o755)


if __name__ == "__main__":
    make_environment(Path(sys.argv[1]))
