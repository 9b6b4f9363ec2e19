"""The nouns that every room shares: items, prices, Kling's tasks and the outcomes of asking for one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

FACTS: Final = "facts"
"""What a result is that is no film, picture or sound: ids and facts, in a file that the program writes itself."""
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "image": (".png", ".jpg", ".jpeg", ".webp", ".gif"),
        "video": (".mp4", ".mov", ".webm"),
        "audio": (".mp3", ".wav", ".m4a", ".aac"),
        FACTS: (".json",),
    }
)
"""The endings that a file of each kind may have, the usual one first."""
FACTS_SUFFIX: Final = SUFFIXES[FACTS][0]


class Pack(StrEnum):
    """The currencies credits come from."""

    VIDEO = "video"
    IMAGE = "image"
    TRY_ON = "try_on"


class Realm(StrEnum):
    """Where the tasks of a batch live; a batch never moves from one to another."""

    REAL = "real"
    """The vendor's API."""
    LOCAL = "local"
    """A test server on this machine."""
    SANDBOX = "sandbox"
    """The embedded simulated API."""


class Generation(StrEnum):
    """Kling's two API generations, which run side by side (kling-api 0)."""

    V1 = "v1"
    """The model stands in the body; a product has a path of its own."""
    V2 = "v2"
    """The model stands in the path; every task is asked for at ``/tasks``."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a task is asked for, and in which form.

    Attributes:
        generation: whose wire form its requests and answers have.
        create_path: where it is created, below the base address.
        list_path: where its tasks are listed and asked for, or None: what is not answered at once is lost.
        result_key: where a finished task of the first generation lists its files.
        has_external_id: whether an id of ours for a task is documented: where it is not, a submission whose answer
            was lost is looked for, but not repeated.
        tells_external_id: whether answers about a task repeat that id: where they do not, no list says whose a task is.
        places: where a canonical field goes in a body of the second generation, in the order of the contents; every
            field of the product but ``model_name``, which stands in the path, has one of these places:

            - ``""``: the top level, under its own name (``prompt`` of text2video);
            - ``"settings"``, ``"options"``: inside that object, under its own name;
            - ``"contents:TYPE"``: a content item of that type. A text is its ``text`` (``prompt``) or its ``url``
              (``first_frame``, ``last_frame``, ``image``, ``video``, ...). A list gives an item a row, whose
              ``image_url``, ``image``, ``video_url``, ``element_id`` or ``voice_id`` is taken over; there TYPE is
              that of rows that do not say otherwise (``image_list``: ``refer_image``, ``video_list``:
              ``base_video``), for a row's ``type`` or ``refer_type`` (``first_frame``, ``end_frame``, ``feature``,
              ``base``) decides.
    """

    generation: Generation
    create_path: str
    list_path: str | None
    result_key: str
    places: Mapping[str, str] = field(default_factory=lambda: NOTHING, hash=False)
    has_external_id: bool = True
    tells_external_id: bool = True

    @property
    def is_sync(self) -> bool:
        """Whether the create is answered with the result: no external id, no second question."""
        return self.list_path is None

    @property
    def needs_api_key(self) -> bool:
        """Whether a token signed with a key pair is refused here (kling-api 2.2)."""
        return self.generation is Generation.V2


@dataclass(frozen=True, slots=True)
class Price:
    """What one item is expected to consume.

    Attributes:
        pack: the currency.
        credits: decimal credits (one API unit is one credit).
        source: the price row it comes from, with its document and date.
    """

    pack: Pack
    credits: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class Item:
    """One checked line of a manifest.

    Attributes:
        id: the item's name, safe as a file name.
        line: 1-based line number in the manifest.
        kind: the product (``text2video``, ``image2video``).
        priority: higher is submitted first; equal ones in manifest order.
        body: canonical JSON of the API fields as they will be sent; a local media path stays a path here
            and is read when it is sent, so that no image waits in memory.
        fingerprint: SHA-256 hex over kind, body and the content of local media.
        price: what it is expected to consume.
        model: the model it asks for, or an empty text where the product has none.
        slots: how many of the account's slots its task holds.
        sources: ids of the items whose results it takes.
    """

    id: str
    line: int
    kind: str
    priority: int
    body: str
    fingerprint: str
    price: Price
    model: str = ""
    slots: int = 1
    sources: tuple[str, ...] = ()


class TaskStatus(StrEnum):
    """Where Kling says a task stands; both API generations' words are normalised to these."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended and its slot is free again."""
        return self in {TaskStatus.SUCCEEDED, TaskStatus.FAILED}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a task made. The URL is a signed secret: never logged, never stored.

    Attributes:
        url: where it can be fetched for a while.
        suffix: the file name's ending with its dot, such as ``.mp4``.
        duration_s: length the server states, in seconds, or None.
        asset_id: the server's id of the file, which is not the task's, or None.
        content: the bytes themselves, for results that are no file on a server; then there is no address.
    """

    url: str = field(repr=False)
    suffix: str
    duration_s: Decimal | None = None
    asset_id: str | None = None
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Task:
    """What Kling works on, as one answer of the API describes it.

    Attributes:
        task_id: the server's id, kept as text.
        external_task_id: our id, or None when the answer does not carry it.
        status: where it stands.
        message: the server's text for a failed task, else empty.
        assets: the files of a succeeded task.
        charged: credits the server says it deducted (``final_unit_deduction``), or None if it does not say.
        made: ids that later items may name (``video_id``, ``element_id``, ...); free of addresses.
    """

    task_id: str
    external_task_id: str | None
    status: TaskStatus
    message: str = ""
    assets: tuple[Asset, ...] = ()
    charged: Decimal | None = None
    made: Mapping[str, Any] = field(default_factory=lambda: NOTHING, hash=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list of tasks, as one answer of the API brought them.

    Attributes:
        tasks: those that are tasks as documented.
        illegible: how many are not, or are about tasks nobody asked for; one that was may stand behind each.
    """

    tasks: Sequence[Task] = ()
    illegible: int = 0

    @property
    def rows(self) -> int:
        """How many rows the answer had."""
        return len(self.tasks) + self.illegible


class Verdict(StrEnum):
    """What a refusal asks of us (plans-and-prices F and kling-api 5.1); decided by code, not HTTP status."""

    RATE = "rate"
    """Too many requests: the whole run backs off; no task was made."""
    SLOT = "slot"
    """The account's slots are full: wait for one; no task was made and no attempt is used up."""
    REJECTED = "rejected"
    """This request can never succeed as it is; no task was made."""
    POLICY = "policy"
    """Content policy; no task was made."""
    ACCOUNT = "account"
    """Keys, permission, arrears, empty pack: stop submitting."""
    TOKEN = "token"  # noqa: S105 - a word, not a password
    """The token is not yet or no longer valid: mint another and ask once more."""
    EXISTS = "exists"
    """This external id already has a task: adopt it."""
    NOT_FOUND = "not_found"
    """No task has this id, at least not visibly."""
    SERVER = "server"
    """Server trouble: a create may or may not have made a task."""
    ODD = "odd"
    """A code nobody documented: a create may or may not have made a task, and repeating it is pointless."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not a success.

    Attributes:
        verdict: what to do about it.
        code: Kling's code, or None when the body carried none.
        http_status: the HTTP status.
        message: the server's text, shortened and free of secrets.
        retry_after_s: seconds of a ``Retry-After`` header, or None.
    """

    verdict: Verdict
    code: int | None
    http_status: int
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A create was answered with a task of ours."""

    task: Task


@dataclass(frozen=True, slots=True)
class Refused:
    """A create was definitely refused: no task was made by it (or, for EXISTS, an earlier one made it)."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Unknown:
    """A create may or may not have made a task: the answer is lost, late, cut or another's.

    ``refusal`` is set when there was an answer, but one that settles nothing (5xx, an undocumented code).
    """

    why: str
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request reached the server (no connection): definitely no task."""

    why: str


CreateOutcome = Accepted | Refused | Unknown | NotSent
