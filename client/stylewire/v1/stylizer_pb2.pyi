from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIT_UNSPECIFIED: _ClassVar[Fit]
    FIT_CROP_256: _ClassVar[Fit]
    FIT_SQUASH_256: _ClassVar[Fit]
    FIT_KEEP_256: _ClassVar[Fit]
    FIT_NATIVE: _ClassVar[Fit]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_PNG: _ClassVar[Encoding]
    ENCODING_JPEG: _ClassVar[Encoding]
    ENCODING_WEBP: _ClassVar[Encoding]
    ENCODING_RAW_PIXELS: _ClassVar[Encoding]
    ENCODING_AVIF: _ClassVar[Encoding]
FIT_UNSPECIFIED: Fit
FIT_CROP_256: Fit
FIT_SQUASH_256: Fit
FIT_KEEP_256: Fit
FIT_NATIVE: Fit
ENCODING_UNSPECIFIED: Encoding
ENCODING_PNG: Encoding
ENCODING_JPEG: Encoding
ENCODING_WEBP: Encoding
ENCODING_RAW_PIXELS: Encoding
ENCODING_AVIF: Encoding

class Image(_message.Message):
    __slots__ = ("encoded", "pixels")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    pixels: Pixels
    def __init__(self, encoded: _Optional[bytes] = ..., pixels: _Optional[_Union[Pixels, _Mapping]] = ...) -> None: ...

class Pixels(_message.Message):
    __slots__ = ("height", "width", "rgb")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    rgb: bytes
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., rgb: _Optional[bytes] = ...) -> None: ...

class WeightedStyle(_message.Message):
    __slots__ = ("image", "name", "weight", "mask")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    image: Image
    name: str
    weight: float
    mask: Image
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., name: _Optional[str] = ..., weight: _Optional[float] = ..., mask: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class StylizeOptions(_message.Message):
    __slots__ = ("strength", "preserve_color", "fit", "encoding", "quality", "size", "full_size", "keep_metadata")
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    PRESERVE_COLOR_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FULL_SIZE_FIELD_NUMBER: _ClassVar[int]
    KEEP_METADATA_FIELD_NUMBER: _ClassVar[int]
    strength: float
    preserve_color: bool
    fit: Fit
    encoding: Encoding
    quality: int
    size: int
    full_size: bool
    keep_metadata: bool
    def __init__(self, strength: _Optional[float] = ..., preserve_color: bool = ..., fit: _Optional[_Union[Fit, str]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., quality: _Optional[int] = ..., size: _Optional[int] = ..., full_size: bool = ..., keep_metadata: bool = ...) -> None: ...

class StylizeRequest(_message.Message):
    __slots__ = ("content", "styles", "options")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    content: Image
    styles: _containers.RepeatedCompositeFieldContainer[WeightedStyle]
    options: StylizeOptions
    def __init__(self, content: _Optional[_Union[Image, _Mapping]] = ..., styles: _Optional[_Iterable[_Union[WeightedStyle, _Mapping]]] = ..., options: _Optional[_Union[StylizeOptions, _Mapping]] = ...) -> None: ...

class StylizeResponse(_message.Message):
    __slots__ = ("image", "width", "height", "model", "timings")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    image: Image
    width: int
    height: int
    model: str
    timings: Timings
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., model: _Optional[str] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queue_ms", "decode_ms", "predict_ms", "transform_ms", "encode_ms", "style_cached")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    PREDICT_MS_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_MS_FIELD_NUMBER: _ClassVar[int]
    STYLE_CACHED_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    decode_ms: float
    predict_ms: float
    transform_ms: float
    encode_ms: float
    style_cached: bool
    def __init__(self, queue_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., predict_ms: _Optional[float] = ..., transform_ms: _Optional[float] = ..., encode_ms: _Optional[float] = ..., style_cached: bool = ...) -> None: ...

class StylizeStreamRequest(_message.Message):
    __slots__ = ("setup", "content")
    SETUP_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    setup: StreamSetup
    content: Image
    def __init__(self, setup: _Optional[_Union[StreamSetup, _Mapping]] = ..., content: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class StreamSetup(_message.Message):
    __slots__ = ("styles", "options")
    STYLES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    styles: _containers.RepeatedCompositeFieldContainer[WeightedStyle]
    options: StylizeOptions
    def __init__(self, styles: _Optional[_Iterable[_Union[WeightedStyle, _Mapping]]] = ..., options: _Optional[_Union[StylizeOptions, _Mapping]] = ...) -> None: ...

class Style(_message.Message):
    __slots__ = ("name", "create_time", "thumbnail", "model", "tuned", "built_in", "origin")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    THUMBNAIL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TUNED_FIELD_NUMBER: _ClassVar[int]
    BUILT_IN_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: _timestamp_pb2.Timestamp
    thumbnail: Image
    model: str
    tuned: bool
    built_in: bool
    origin: str
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., thumbnail: _Optional[_Union[Image, _Mapping]] = ..., model: _Optional[str] = ..., tuned: bool = ..., built_in: bool = ..., origin: _Optional[str] = ...) -> None: ...

class ImportStyleRequest(_message.Message):
    __slots__ = ("name", "data", "overwrite")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    overwrite: bool
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ..., overwrite: bool = ...) -> None: ...

class ExportStyleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ExportStyleResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class CreateStyleRequest(_message.Message):
    __slots__ = ("name", "styles", "overwrite")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    name: str
    styles: _containers.RepeatedCompositeFieldContainer[WeightedStyle]
    overwrite: bool
    def __init__(self, name: _Optional[str] = ..., styles: _Optional[_Iterable[_Union[WeightedStyle, _Mapping]]] = ..., overwrite: bool = ...) -> None: ...

class GetStyleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListStylesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStylesResponse(_message.Message):
    __slots__ = ("styles", "next_page_token")
    STYLES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    styles: _containers.RepeatedCompositeFieldContainer[Style]
    next_page_token: str
    def __init__(self, styles: _Optional[_Iterable[_Union[Style, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteStyleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Model(_message.Message):
    __slots__ = ("edition", "engine", "precision", "style_dimension", "weights_sha256", "version", "limits", "verified")
    EDITION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    STYLE_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    edition: str
    engine: str
    precision: str
    style_dimension: int
    weights_sha256: str
    version: str
    limits: Limits
    verified: bool
    def __init__(self, edition: _Optional[str] = ..., engine: _Optional[str] = ..., precision: _Optional[str] = ..., style_dimension: _Optional[int] = ..., weights_sha256: _Optional[str] = ..., version: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., verified: bool = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_pixels", "max_encoded_bytes", "max_styles", "queue_size", "max_decode_pixels", "min_side", "max_message_bytes", "max_streams", "max_size", "one_pass_pixels")
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_ENCODED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_STYLES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_DECODE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MIN_SIDE_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_SIZE_FIELD_NUMBER: _ClassVar[int]
    ONE_PASS_PIXELS_FIELD_NUMBER: _ClassVar[int]
    max_pixels: int
    max_encoded_bytes: int
    max_styles: int
    queue_size: int
    max_decode_pixels: int
    min_side: int
    max_message_bytes: int
    max_streams: int
    max_size: int
    one_pass_pixels: int
    def __init__(self, max_pixels: _Optional[int] = ..., max_encoded_bytes: _Optional[int] = ..., max_styles: _Optional[int] = ..., queue_size: _Optional[int] = ..., max_decode_pixels: _Optional[int] = ..., min_side: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., max_streams: _Optional[int] = ..., max_size: _Optional[int] = ..., one_pass_pixels: _Optional[int] = ...) -> None: ...
