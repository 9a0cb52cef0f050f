"""Two LiteRT models made one: the second takes what the first gives."""

from typing import Any

import flatbuffers
import numpy as np

_NONE = -1  # an optional input that is not given


class _AlignedBuilder(flatbuffers.Builder):
    """Puts bytes where their schema says, on multiples of 16: the generated code forgets it for arrays of bytes."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def join_litert(
    first: bytes, second: bytes, inputs: tuple[str, ...], outputs: dict[str, str], metadata: dict[str, bytes]
) -> bytes:
    """Run the second model on outputs of the first.

    So each can be converted in its own precision, and what reads the result finds names and an order of its own: the
    converter's are those of the alphabet.

    Args:
        first: A model with one signature, whose outputs are named `inputs`.
        second: A model with one signature, whose inputs are named `inputs`.
        inputs: What is handed over.
        outputs: Names in the second's signature and what their tensors are to be called, in the order wanted.
        metadata: Of the result, by key.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    whole, tail = (flatbuffer_utils.convert_bytearray_to_object(content) for content in (first, second))
    [graph], [added] = whole.subgraphs, tail.subgraphs
    gives = _by_name(whole.signatureDefs[0].outputs)
    takes = _by_name(tail.signatureDefs[0].inputs)
    place = {takes[name]: gives[name] for name in inputs}  # of the second's tensors, among those of the result
    for number, tensor in enumerate(added.tensors):
        if number not in place:
            place[number] = len(graph.tensors)
            tensor.buffer += len(whole.buffers)
            graph.tensors.append(tensor)
    for operator in added.operators:
        operator.opcodeIndex += len(whole.operatorCodes)
        operator.inputs = _moved(operator.inputs, place)
        operator.outputs = _moved(operator.outputs, place)
        if operator.intermediates is not None and len(operator.intermediates):
            operator.intermediates = _moved(operator.intermediates, place)
        graph.operators.append(operator)
    whole.buffers.extend(tail.buffers)
    whole.operatorCodes.extend(tail.operatorCodes)

    [signature] = whole.signatureDefs
    signature.outputs = []
    named = _by_name(tail.signatureDefs[0].outputs)
    for name, called in outputs.items():
        graph.tensors[place[named[name]]].name = called.encode()
        port = next(each for each in tail.signatureDefs[0].outputs if each.name == name.encode())
        port.tensorIndex = place[named[name]]
        signature.outputs.append(port)
    graph.outputs = np.array([port.tensorIndex for port in signature.outputs], np.int32)

    for key, content in metadata.items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = key.encode(), len(whole.buffers)
        buffer.data = np.frombuffer(content, np.uint8)
        whole.buffers.append(buffer)
        whole.metadata = [*(whole.metadata or []), entry]

    builder = _AlignedBuilder(1024)
    builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _by_name(ports: Any) -> dict[str, int]:
    return {port.name.decode(): port.tensorIndex for port in ports}


def _moved(numbers: Any, place: dict[int, int]) -> np.ndarray:
    return np.array([_NONE if number == _NONE else place[int(number)] for number in numbers], np.int32)
