from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Asked(_message.Message):
    __slots__ = ("shard",)
    SHARD_FIELD_NUMBER: _ClassVar[int]
    shard: int
    def __init__(self, shard: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("shard", "client", "attempt")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    shard: int
    client: str
    attempt: int
    def __init__(self, shard: _Optional[int] = ..., client: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("name", "shape", "dtype", "start", "stop", "mark")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    start: int
    stop: int
    mark: str
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ..., mark: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("shard", "shards", "policy", "table", "pieces", "version", "number")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    shard: int
    shards: int
    policy: str
    table: int
    pieces: _containers.RepeatedCompositeFieldContainer[Piece]
    version: int
    number: int
    def __init__(self, shard: _Optional[int] = ..., shards: _Optional[int] = ..., policy: _Optional[str] = ..., table: _Optional[int] = ..., pieces: _Optional[_Iterable[_Union[Piece, _Mapping]]] = ..., version: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("key", "encoding", "form", "places", "values", "size")
    class Form(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DENSE: _ClassVar[Part.Form]
        ROWS: _ClassVar[Part.Form]
        ELEMENTS: _ClassVar[Part.Form]
    DENSE: Part.Form
    ROWS: Part.Form
    ELEMENTS: Part.Form
    KEY_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    key: str
    encoding: str
    form: Part.Form
    places: int
    values: int
    size: int
    def __init__(self, key: _Optional[str] = ..., encoding: _Optional[str] = ..., form: _Optional[_Union[Part.Form, str]] = ..., places: _Optional[int] = ..., values: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class Heading(_message.Message):
    __slots__ = ("shard", "client", "number", "attempt", "base", "table", "scale", "parts")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    client: str
    number: int
    attempt: int
    base: int
    table: int
    scale: float
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, shard: _Optional[int] = ..., client: _Optional[str] = ..., number: _Optional[int] = ..., attempt: _Optional[int] = ..., base: _Optional[int] = ..., table: _Optional[int] = ..., scale: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("outcome", "version", "reason")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    outcome: str
    version: int
    reason: str
    def __init__(self, outcome: _Optional[str] = ..., version: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Creation(_message.Message):
    __slots__ = ("shard", "pieces", "parts")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    pieces: _containers.RepeatedCompositeFieldContainer[Piece]
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, shard: _Optional[int] = ..., pieces: _Optional[_Iterable[_Union[Piece, _Mapping]]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class Created(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class Wanted(_message.Message):
    __slots__ = ("shard", "keys", "newer_than")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    NEWER_THAN_FIELD_NUMBER: _ClassVar[int]
    shard: int
    keys: _containers.RepeatedScalarFieldContainer[str]
    newer_than: int
    def __init__(self, shard: _Optional[int] = ..., keys: _Optional[_Iterable[str]] = ..., newer_than: _Optional[int] = ...) -> None: ...

class Pulled(_message.Message):
    __slots__ = ("version", "parts", "table")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    table: int
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., table: _Optional[int] = ...) -> None: ...

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Text(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
