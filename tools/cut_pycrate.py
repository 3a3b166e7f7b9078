"""`python tools/cut_pycrate.py [SITE_PACKAGES]`: of an installed pycrate leave E2AP and what runs it.

pycrate has the ASN.1 of all of telecommunications, 150 MB of it, and of that an image of stackmac needs one module. Its
licence and its metadata stay.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

KEPT_PACKAGES = ("pycrate_asn1c", "pycrate_asn1dir", "pycrate_asn1rt", "pycrate_core")
KEPT_MODULES = ("__init__.py", "E2AP.py")
"""Of pycrate_asn1dir."""


def cut(site_packages: Path) -> None:
    """Raises FileNotFoundError where no pycrate is."""
    for module in KEPT_MODULES:
        if not (site_packages / "pycrate_asn1dir" / module).exists():
            raise FileNotFoundError(f"{site_packages} has no pycrate_asn1dir/{module}")
    for package in site_packages.glob("pycrate_*"):
        if package.name not in KEPT_PACKAGES:
            shutil.rmtree(package)
    for found in (site_packages / "pycrate_asn1dir").iterdir():
        if found.name in KEPT_MODULES:
            continue
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink()


if __name__ == "__main__":
    cut(Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("purelib")))
