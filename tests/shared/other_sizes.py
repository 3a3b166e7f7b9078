"""`python tests/shared/other_sizes.py`: compile the decision of a network of other sizes than those that are shipped.

One test asks for it. `./dev` has it compiled beside the installation of what tests need; else that test waits for it.
"""

from __future__ import annotations

from policy.bundle_files import BUNDLES
from policy.engine.leader import EngineLeader
from policy.engine.model import PackedModel, read_model
from policy.engine.weights import sizes_of
from policy.model_config import ModelConfig

OTHER = ModelConfig(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=40)
"""No size is that of a shipped network."""

if __name__ == "__main__":
    model = read_model(BUNDLES / "paper")
    assert isinstance(model, PackedModel)
    # Code is compiled for sizes, whatever the weights.
    EngineLeader(model._replace(sizes=sizes_of(OTHER))).prepare()
