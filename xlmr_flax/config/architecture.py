"""The shape of an XLM-R encoder, in the words of Hugging Face's config.json."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xlmr_flax.config.settings import later


class Architecture(BaseModel):
    """What config.json says of an encoder; where a number sets no size, its default is that of XLM-R.

    `pre_norm`: norms stand before attention and feed-forward, and one after the last layer, but none after the
    embeddings, as in XLM-R XL and XXL.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    vocab_size: int = Field(gt=4)
    hidden_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    hidden_act: Literal["gelu", "gelu_new", "relu", "silu"] = "gelu"
    hidden_dropout_prob: float = Field(0.1, ge=0, lt=1)
    attention_probs_dropout_prob: float = Field(0.1, ge=0, lt=1)
    classifier_dropout: float | None = Field(None, ge=0, lt=1)  # None: hidden_dropout_prob
    max_position_embeddings: int = Field(514, gt=2)  # counts the unused positions 0 … pad_token_id
    type_vocab_size: int = Field(1, gt=0)
    initializer_range: float = Field(0.02, gt=0)
    layer_norm_eps: float = Field(1e-5, gt=0)
    bos_token_id: int = 0
    pad_token_id: int = 1
    eos_token_id: int = 2
    pre_norm: bool = later(False)  # config.json says it by model_type: xlm-roberta-xl

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "Architecture":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size={self.hidden_size} does not divide by {self.num_attention_heads} heads")
        return self

    @property
    def longest(self) -> int:
        """The most tokens that a sequence may have."""
        return self.max_position_embeddings - self.pad_token_id - 1


PRESETS: dict[str, dict[str, int | float]] = {
    # tests: small enough to compile in a second
    "tiny": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 130, "initializer_range": 0.1,
    },
    # the demo: 0.02 · √(768/64), because XLM-R's 0.02 undertrains badly at this width
    "mini": {
        "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 256,
        "max_position_embeddings": 130, "initializer_range": 0.07,
    },
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    # facebook/xlm-roberta-xl (3.5 billion) and -xxl (10.7), whose word tables have 250,880 rows (arXiv:2105.00572)
    "xl": {
        "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 10240,
        "pre_norm": True,
    },
    "xxl": {
        "hidden_size": 4096, "num_hidden_layers": 48, "num_attention_heads": 32, "intermediate_size": 16384,
        "pre_norm": True,
    },
}  # fmt: skip

XLMR_VOCABULARY = 250_002
