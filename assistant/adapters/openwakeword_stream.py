"""openWakeWord's embedding network, changed so that it computes only what is new.

The network makes one embedding from 76 mel frames of 10 ms, and openWakeWord runs it on the last 76 after every 8, so
most of that work has been done before. Its convolutions over time span 3 rows and never go past the ends of what they
read; its poolings make one row of 2 * 2 * 2. So 8 mel frames bring exactly one new row at the last layer, and a
convolution over time needs nothing of the past but the last 2 rows that it read. The numbers stay what they were.

Each convolution over time (it reads a tensor X) gets one more input and output of the whole network:

    X -> Conv       becomes       "X:past" (2 rows), X -> Concat -> "X:seen" -> Conv

and the last 2 rows of "X:seen" are "X:past" for the next 8 mel frames. The rest of the file is kept as it is.

An ONNX file is a protocol buffer: https://protobuf.dev/programming-guides/encoding says how it is written, and
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto which number each field has. The package ``onnx`` can edit such
files as well, but it is large and nothing else here needs it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

__all__ = ["PAST_ROWS", "STEP_ROWS", "stream_model"]

STEP_ROWS: Final = 8
"""Mel frames that the network takes at once."""

PAST_ROWS: Final = 2
"""Rows that a convolution over time sees again."""

_CRC32: Final = 0x9E218768  # of the only file that all below is about; hashlib would load 4 MB of OpenSSL
_MEL_FRAMES: Final = "input_1"
_OVER_TIME: Final = {  # what the convolutions over time read: how many channels, and what is left of the mel bins
    "model/conv2d/StatefulPartitionedCall/StatefulPartitionedCall/Conv2D__7:0": (1, 34),
    "model/tf.math.maximum_1/Maximum:0": (24, 32),
    "model/tf.math.maximum_3/Maximum:0": (48, 16),
    "model/tf.math.maximum_5/Maximum:0": (48, 16),
    "model/tf.math.maximum_7/Maximum:0": (72, 8),
    "model/tf.math.maximum_9/Maximum:0": (72, 8),
    "model/tf.math.maximum_11/Maximum:0": (96, 4),
    "model/tf.math.maximum_13/Maximum:0": (96, 4),
    "model/tf.math.maximum_15/Maximum:0": (96, 2),
    "model/tf.math.maximum_17/Maximum:0": (96, 2),
    "model/max_pooling2d_4/MaxPool:0": (96, 1),
}
_WINDOW_SHAPE: Final = struct.pack("<4q", -1, 1, 76, 34)  # the only shape that the file fixes within the network
_STEP_SHAPE: Final = struct.pack("<4q", -1, 1, STEP_ROWS, 34)


class _No:
    """Which number each field has that is read or written here: MESSAGE_FIELD."""

    MODEL_GRAPH: Final = 7
    GRAPH_NODE: Final = 1
    GRAPH_INITIALIZER: Final = 5
    GRAPH_INPUT: Final = 11
    GRAPH_OUTPUT: Final = 12
    NODE_INPUT: Final = 1
    NODE_OUTPUT: Final = 2
    NODE_OPERATOR: Final = 4
    NODE_ATTRIBUTE: Final = 5
    ATTRIBUTE_NAME: Final = 1
    ATTRIBUTE_INT: Final = 3
    ATTRIBUTE_TYPE: Final = 20
    VALUE_NAME: Final = 1
    VALUE_TYPE: Final = 2
    TYPE_TENSOR: Final = 1
    TENSOR_ELEMENT: Final = 1
    TENSOR_SHAPE: Final = 2
    SHAPE_DIMENSION: Final = 1
    DIMENSION_VALUE: Final = 1


_FLOATS: Final = 1  # a kind of element
_AN_INT: Final = 2  # a kind of attribute


def stream_model(model: bytes) -> bytes:
    """The embedding network (an ONNX file) as one that takes 8 mel frames at a time.

    Its inputs: mel frames [1, 8, 32, 1], then each "X:past" [1, channels, 2, bins]. Its outputs: the embedding of the
    last 76 mel frames [1, 1, 1, 96], then each "X:seen" [1, channels, more than 2, bins], in the same order.

    Raises ValueError for every other file than that of openwakeword 0.4.0.
    """
    if zlib.crc32(model) != _CRC32:
        raise ValueError("this is not the embedding network of openwakeword 0.4.0")
    return b"".join(
        _bytes(number, _stream_graph(content)) if number == _No.MODEL_GRAPH else field
        for number, content, field in _fields(model)
    )


def _stream_graph(graph: bytes) -> bytes:
    parts = []
    for number, content, field in _fields(graph):
        match number:
            case _No.GRAPH_NODE:
                parts.append(_stream_node(content, field))
            case _No.GRAPH_INITIALIZER:
                parts.append(_bytes(number, content.replace(_WINDOW_SHAPE, _STEP_SHAPE)))
            case _No.GRAPH_INPUT:
                parts.append(_bytes(number, _tensor(_MEL_FRAMES, 1, STEP_ROWS, 32, 1)))
            case _:
                parts.append(field)
    for name, (channels, bins) in _OVER_TIME.items():
        parts.append(_bytes(_No.GRAPH_INPUT, _tensor(f"{name}:past", 1, channels, PAST_ROWS, bins)))
        parts.append(_bytes(_No.GRAPH_OUTPUT, _tensor(f"{name}:seen")))
    return b"".join(parts)


def _stream_node(node: bytes, field: bytes) -> bytes:
    """A node as it is; or, if it reads over time, one that joins past and present, and then it."""
    name = next(content for number, content, _ in _fields(node) if number == _No.NODE_INPUT)
    if name.decode() not in _OVER_TIME:
        return field
    over_time = _bytes(_No.ATTRIBUTE_NAME, b"axis") + _int(_No.ATTRIBUTE_INT, 2) + _int(_No.ATTRIBUTE_TYPE, _AN_INT)
    join = (
        _bytes(_No.NODE_INPUT, name + b":past")
        + _bytes(_No.NODE_INPUT, name)
        + _bytes(_No.NODE_OUTPUT, name + b":seen")
        + _bytes(_No.NODE_OPERATOR, b"Concat")
        + _bytes(_No.NODE_ATTRIBUTE, over_time)
    )
    node = b"".join(
        _bytes(number, name + b":seen") if content == name else part for number, content, part in _fields(node)
    )
    return _bytes(_No.GRAPH_NODE, join) + _bytes(_No.GRAPH_NODE, node)


def _tensor(name: str, *sizes: int) -> bytes:
    """What describes an input or output of floats; without sizes onnxruntime finds them out."""
    tensor = _int(_No.TENSOR_ELEMENT, _FLOATS)
    if sizes:
        shape = (_bytes(_No.SHAPE_DIMENSION, _int(_No.DIMENSION_VALUE, size)) for size in sizes)
        tensor += _bytes(_No.TENSOR_SHAPE, b"".join(shape))
    return _bytes(_No.VALUE_NAME, name.encode()) + _bytes(_No.VALUE_TYPE, _bytes(_No.TYPE_TENSOR, tensor))


# --- protocol buffers: a message is a run of fields ------------------------------------------------------------------

_INT, _BYTES = 0, 2  # kinds of fields; there are more, but not in what is read here


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each field's number, its content and, to be kept as it is, all of it."""
    at = 0
    while at < len(message):
        begin = at
        tag, at = _read_varint(message, at)
        content = at
        length, at = _read_varint(message, at)
        if tag & 7 == _BYTES:
            content, at = at, at + length
        yield tag >> 3, message[content:at], message[begin:at]


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3 | _INT) + _varint(value)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, written 7 bits a byte with the lowest first, and where it ends."""
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
