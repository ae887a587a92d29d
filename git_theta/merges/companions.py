"""Tensors that mean something only together, found by their names: codes and their scales, say.

A quantised tensor is stored as codes and, under names beside theirs, scales, zero points, code books and the
like; a pruned one as values and a mask. Formats agree on no names, so those in use are listed here: of GPTQ,
AWQ, bitsandbytes, compressed-tensors, fp8 (DeepSeek, ComfyUI, ModelOpt), MXFP4, NVFP4, quanto, torchao, HQQ,
AQLM, VPTQ, QuIP#, EXL2, EXL3, MLX, AQT, ONNX, optimisers with 8 bits and torch's observers. What is called
just `scale` is often a parameter like any other, so such names count only beside codes: integers, or floats
of 8 bits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from git_theta.dtypes import DType

Node = tuple[Literal["tensor", "module", "mask"], str]
"""What names are joined at."""

Kind = Literal["sure", "likely", ""]
"""Whether a name makes a quantised tensor of what it is joined with; "likely" only if codes are there."""

_SEPARATORS = "./:"
_VALUES = frozenset(
    re.findall(
        r"\w+",
        "weight kernel qweight q_weight W_q codes qdata qvalue int_data Qidxs trellis indices packed_weight",
    )
)
"""The last part of names of codes, whose companions may stand beside them rather than below."""

_SURE = frozenset(
    re.findall(
        r"\w+",
        """qweight qzeros scale_inv qdata absmax nested_absmax quant_map nested_quant_map SCB g_idx W_q Qidxs
        trellis q_weight q_scale q_scale_max q_groups q_perm q_invperm q_group_map comfy_quant
        absmax1 absmax2 qmap qmap1 qmap2""",
    )
)
"""The last part of names of companions: of `layer.weight`, say, `layer.qzeros` or `layer.weight.absmax`."""

_LIKELY = frozenset(
    re.findall(
        r"\w+",
        """scale scales biases zero zeros zero_point zero_points _data _scale _shift _zero_point int_data
        qvalue CB B s shift shape min max amax _amax nbits group_size axis meta perm codes codebooks
        codebook_id Wscale SU SV suh svh bitmask compressed row_offsets statistics weight_format weight_bias
        scale_weight scale_input input_scale output_scale input_global_scale input_zero_point min_val
        max_val state1 state2""",
    )
)
"""Names that companions have as well as others."""

_BEHIND = re.compile(
    "(?P<of>.+)_(?:(?P<sure>scale_inv|packed|qzeros|g_idx|absmax|qdata|quant_map|quant_state|SCB)"
    "|scales?(?:_[23])?|global_scale|zero_points?|zeros|zp|shape|blocks|codes|codebooks?|quantized|amax)"
)
"""Companions whose name goes on where that of the codes ends: `weight_scale`."""

_BELOW = re.compile(
    r"(?P<of>.+?)(?:[./:](?P<sure>quant_state)[./:]|[./:](?:_packed_params|(?:res_)?centroids|meta)[./:]"
    r"|_quantizer[./:]_).+",
    re.DOTALL,
)
"""Companions in a module of their own: `weight.quant_state.bitsandbytes__nf4`, `weight_quantizer._amax`."""

_APART = re.compile(
    r"(?P<before>(?:.+[./:])?)(?:scales?|scale_inv|scaling_factors?|zeros|zero_points?|absmax|quant_state)"
    r"[./:](?P<of>.+)",
    re.DOTALL,
)
"""Companions in a dict of their own: `scales.layer.weight`, beside `layer.weight` or `codes.layer.weight`."""

_PRUNED = re.compile("(?P<of>.+)_(?:orig|mask)")


def groups(dtypes: Mapping[str, Iterable[DType]]) -> list[tuple[str, ...]]:
    """The names that stand together for one quantised or pruned tensor, by group.

    Args:
        dtypes: what each name is, on the sides that have it.
    """
    parents: dict[Node, Node] = {}

    def root(node: Node) -> Node:
        while (above := parents.setdefault(node, node)) != node:
            node = above
        return node

    kinds: dict[str, set[Kind]] = {}
    apart: dict[tuple[str, str], list[str]] = defaultdict(list)
    codes = {name for name, found in dtypes.items() if any(map(_is_code, found))}
    for name in dtypes:
        joined = list(_joined(name))
        kinds[name] = {kind for _, kind in joined}
        for node, _ in joined:
            parents[root(node)] = root(("tensor", name))
        if (match := _APART.fullmatch(name)) and match["of"] not in _VALUES:
            apart[match["before"], match["of"]].append(name)
    for code in codes if apart else ():
        for name in (name for place in _places(code) for name in apart.get(place, ())):
            kinds[name].add("likely")
            parents[root(("tensor", code))] = root(("tensor", name))
    for module, name in _lone_codes({name: dtypes[name] for name in codes if not kinds[name]}):
        parents[root(("module", module))] = root(("tensor", name))
    found: dict[Node, list[str]] = defaultdict(list)
    for name in dtypes:
        found[root(("tensor", name))].append(name)
    return [
        tuple(sorted(names)) for names in found.values() if len(names) > 1 and _together(names, kinds, codes)
    ]


def _places(name: str) -> Iterator[tuple[str, str]]:
    """Where a dict can be that has something under a tensor's name, and that name: above it or beside."""
    starts = [0, *(at + 1 for at, mark in enumerate(name) if mark in _SEPARATORS)]
    for number, start in enumerate(starts):
        yield name[:start], name[start:]
        for below in starts[number + 1 : number + 2]:
            yield name[:start], name[below:]


def are_numbers(dtypes: Iterable[DType]) -> bool:
    """Whether no tensors of a group are codes, so that arithmetic is right on one where the others agree."""
    return not any(map(_is_code, dtypes))


def _together(names: Iterable[str], kinds: Mapping[str, set[Kind]], codes: set[str]) -> bool:
    found = set().union(*(kinds[name] for name in names))
    return "sure" in found or ("likely" in found and not codes.isdisjoint(names))


def _lone_codes(dtypes: Mapping[str, Iterable[DType]]) -> Iterator[tuple[str, str]]:
    """Modules that have codes of 8 bits under one other name, and that name: a `scale` there is theirs."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, kinds in dtypes.items():
        if any(one.itemsize == 1 for one in kinds):
            found[_split(name)[0]].append(name)
    for module, names in found.items():
        if len(names) == 1:
            yield module, names[0]


def _split(name: str) -> tuple[str, str]:
    """Module and last part of a name."""
    at = max(name.rfind(mark) for mark in _SEPARATORS)
    return name[: max(at, 0)], name[at + 1 :]


def _joined(name: str) -> Iterator[tuple[Node, Kind]]:
    """What a name is joined at, and what that says."""
    module, leaf = _split(name)
    if below := _BELOW.fullmatch(name):
        kind: Kind = "sure" if below["sure"] else "likely"
        yield ("tensor", below["of"]), kind
        yield ("module", below["of"]), kind
    if leaf in _SURE or leaf in _LIKELY:
        kind = "sure" if leaf in _SURE else "likely"
        yield ("module", module), kind
        if module:
            yield ("tensor", module), kind
    if behind := _BEHIND.fullmatch(leaf):
        kind = "sure" if behind["sure"] else "likely"
        yield ("tensor", name.removesuffix(leaf) + behind["of"]), kind
        if behind["of"] in _VALUES:
            yield ("module", module), kind
    elif pruned := _PRUNED.fullmatch(leaf):
        yield ("mask", name.removesuffix(leaf) + pruned["of"]), "sure"
    if leaf in _VALUES:
        yield ("module", module), ""


def _is_code(dtype: DType) -> bool:
    return dtype.kind in ("int", "uint", "raw") or (dtype.kind == "float" and dtype.itemsize == 1)
