"""Configuration: frozen pydantic models <-> TOML, with Hydra-style `key=value` overrides. (Its author completes this file.)"""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of every settings model: frozen, no unknown keys, no NaN or infinity. Every field has a default and a description."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
