"""What the assembler makes of a kernel: registers, spills, shared memory; needs no GPU.

nvJitLink comes with numba-cuda and has NVIDIA's PTX assembler inside, of the same version as the
compiler. A `ptxas` of the machine's own may be too old for its PTX.
"""

import re
from dataclasses import dataclass

from cuda.bindings import nvjitlink

_SHARED_BYTES = r"(?m)^\.visible \.shared .*\.b8 \w+\[(\d+)\];"


@dataclass(frozen=True)
class Resources:
    """What a thread (registers, bytes of stack, of spilled stores and loads) and a block (bytes
    of static shared memory) use."""

    registers: int
    stack: int
    spills: int
    shared: int


def resources(kernel, capability):
    """The `Resources` of a kernel on devices of a compute capability, a pair of ints.

    Raises RuntimeError where nvJitLink tells nothing, as that of an emulated device.
    """
    text = kernel.ptx(capability).encode()
    options = [f"-arch=sm_{capability[0]}{capability[1]}", "-Xptxas=-v"]
    linker = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(linker)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
    finally:
        nvjitlink.destroy(linker)

    report = log.decode()
    if "Used" not in report:
        raise RuntimeError(f"nvJitLink: expected a report of registers, got {report!r}")

    def number(pattern):
        found = re.search(pattern, report)
        return int(found.group(1)) if found else 0

    return Resources(
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        shared=sum(int(size) for size in re.findall(_SHARED_BYTES, text.decode())),
    )
