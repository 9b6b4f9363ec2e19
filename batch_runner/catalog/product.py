"""What the rest of the program is told about a product. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batch_runner.catalog.schema import MediaLimits
from batch_runner.model import Generation, Pack


@dataclass(frozen=True, slots=True)
class MediaField:
    """A field that holds an image, a video or a sound.

    Attributes:
        path: where it stands in a body (``dynamic_masks[].mask``).
        limits: what a file in it may be, where nothing in the body says otherwise.
    """

    path: str
    limits: MediaLimits

    @property
    def type(self) -> str:
        """``image``, ``video`` or ``audio``."""
        return self.limits.type

    @property
    def takes_file(self) -> bool:
        """Whether a local file can be sent in it, as base64; else it takes an address alone."""
        return "file" in self.limits.forms


@dataclass(frozen=True, slots=True)
class Origin:
    """Which earlier results an id field takes.

    Attributes:
        kinds: the products whose results they may be; none: of any that makes such an id.
        models: the models that may have made them; none: any.
    """

    kinds: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """One thing Kling makes, in one of its API generations.

    Attributes:
        kind: its name in a manifest.
        generation: the API generation it is asked for in.
        create_path: where it is created below the base address; ``{model}`` stands for the model's name.
        pack: the currency it is paid with.
        result_key: where a finished task of the first generation lists its assets.
        suffix: an asset file's ending with its dot.
        is_sync: whether the create is answered with the result.
        makes: kinds of file and of id that other items can take from a result (``image``, ``video_id``).
        media: the fields that hold files.
        refs: the fields that hold ids of earlier results, by path, each with the kind of id.
        origins: which results those may be, by path.
        files: the most files of a kind, or ids, that a task makes where no field says how many.
        inherits: the id field whose task this one has model and mode of, or an empty text.
        source: where its fields are described.
    """

    kind: str
    generation: Generation
    create_path: str
    pack: Pack
    result_key: str
    suffix: str
    is_sync: bool
    makes: tuple[str, ...]
    media: tuple[MediaField, ...]
    refs: Mapping[str, str]
    origins: Mapping[str, Origin]
    files: int
    inherits: str
    source: str

    @property
    def media_fields(self) -> tuple[str, ...]:
        """The paths of the fields that hold files."""
        return tuple(field.path for field in self.media)
