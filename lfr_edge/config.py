"""The van's configuration: one TOML file, checked completely before anything starts.

It says what this van is and where its things are. What a deployment may do (threshold, list, window, recipients) is
the signed order's and is never repeated here. There are no environment overrides: the file's SHA-256 in every status
message says what was in force.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from lfr_edge.errors import ConfigError, Reason, shortened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]

# A corner of a zone: shares of the upright picture's width and height, from the top left.
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Corner = tuple[Share, Share]


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    return Path(info.context["folder"]) / path if info.context else path


# Relative paths count from the folder of the configuration file, wherever the daemon was started.
LocalPath = Annotated[Path, AfterValidator(_from_folder)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CameraConfig(_Table):
    """One camera of this van."""

    id: Name
    source: str = Field(min_length=1)  # rtsp://..., /dev/video0, a video file, a folder of pictures
    pace: Literal["live", "full-speed"] = "live"  # files only: real time, or every picture as fast as possible
    rotation: Literal[0, 90, 180, 270] = 0  # degrees clockwise that bring the picture upright
    minimum_inter_eye_px: float = Field(default=20.0, ge=8.0)
    full_look_every: int = Field(default=1, ge=1, le=5)  # pictures; those between are glanced at
    zone: tuple[Corner, ...] = ()  # corners of the zone of recognition; without any, the whole picture

    @field_validator("zone")
    @classmethod
    def _has_an_inside(cls, zone: tuple[Corner, ...]) -> tuple[Corner, ...]:
        if 0 < len(zone) < 3:
            raise ValueError("a zone has three corners or more")
        return zone

    @field_validator("source")
    @classmethod
    def _from_folder(cls, source: str, info: ValidationInfo) -> str:
        return source if "://" in source else str(_from_folder(Path(source), info))


class EnginesConfig(_Table):
    """Which engine set recognises, and where its files are."""

    set: Name
    manifests: LocalPath | None = None  # a folder of engine sets; none are those that came with this release
    store: LocalPath
    backend: Literal["openvino"] = "openvino"
    threads: int = Field(default=2, ge=1, le=64)


class KeysConfig(_Table):
    """Key files of this van, and whom it trusts."""

    alert: LocalPath  # signs this van's alerts
    deployment: LocalPath | None = None  # lasting key for watchlists; prekeys are better: each dies with its deployment
    wrapping: LocalPath | None = None  # what prekeys are encrypted with; without it, a file in the state folder
    trusted_order_signers: tuple[LocalPath, ...] = Field(min_length=1)
    trusted_commanders: tuple[LocalPath, ...] = ()  # who may end a deployment from afar; without any, nobody
    order_signatures: int = Field(default=1, ge=1)  # how many different trusted signers an order needs


class BrokerConfig(_Table):
    """The control room's MQTT broker. Always mutual TLS."""

    host: str = Field(min_length=1)
    port: int = Field(default=8883, ge=1, le=65535)
    ca: LocalPath
    certificate: LocalPath
    key: LocalPath


class VanConfig(_Table):
    """The whole file."""

    van: Name
    force: Name
    state: LocalPath  # folder for the outbox, the deployment, prekeys and the log; created if missing
    control: LocalPath = Path("/run/lfr-edge/control.sock")  # socket of `lfr-edge deployment`
    memory_mib: int = Field(default=160, ge=32, le=4096)  # leased memory: pictures, faces, templates
    demo_orders: bool = False  # a production van refuses orders that are marked as demo
    keys: KeysConfig
    engines: EnginesConfig
    broker: BrokerConfig
    cameras: tuple[CameraConfig, ...] = Field(min_length=1)

    @field_validator("cameras")
    @classmethod
    def _one_name_each(cls, cameras: tuple[CameraConfig, ...]) -> tuple[CameraConfig, ...]:
        ids = [camera.id for camera in cameras]
        twice = {camera for camera in ids if ids.count(camera) > 1}
        if twice:
            raise ValueError(f"camera ids are used twice: {', '.join(sorted(twice))}")
        return cameras


def load_config(path: Path) -> tuple[VanConfig, str]:
    """The checked configuration, and the SHA-256 of its file."""
    try:
        raw = path.read_bytes()
        table = tomllib.loads(raw.decode())
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path}: {error.strerror}", fix="give the van's configuration with --config"
        ) from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and TOMLDecodeError too
        what = shortened(str(error))
        raise ConfigError(Reason.FILE_MALFORMED, f"{path} is not TOML: {what}", fix="mend that line") from None
    try:
        # As JSON, because TOML has neither paths nor tuples and strict mode would refuse its strings and lists.
        config = VanConfig.model_validate_json(
            json.dumps(table, default=str), context={"folder": path.resolve().parent}
        )
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # a camera's address may hold a password
        key = ".".join(str(part) for part in first["loc"])
        what = f"{shortened(key)}: {shortened(first['msg'])}"
        raise ConfigError(
            Reason.VALUE_INVALID, f"{path}: {what}", fix="docs/configuration.md explains every key"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, tables a thousand deep
        raise ConfigError(
            Reason.VALUE_INVALID, f"{path}: {shortened(str(error))}", fix="docs/configuration.md explains every key"
        ) from None
    return config, hashlib.sha256(raw).hexdigest()
