"""A GPU and what it can do at best: its products of matrices and its copy."""

import functools
import math
import resource
import statistics

import torch

from benchmarks.measure import time_beside


class Card:
    """A device to measure on, and rows about it.

    Arguments
    ---------
    device : str
        "cuda", or "cpu" to try the benchmark.
    smoke : bool
        Whether everything is of the smallest size, to try the benchmark.

    Attributes
    ----------
    products : dict
        Precision -> floating-point operations per second of a large product
        of matrices.
    copy : float
        Bytes per second, read and written, of a large copy.
    """

    def __init__(self, device: str, smoke: bool):
        self.device, self.smoke = device, smoke
        self.is_gpu = torch.device(device).type == "cuda"
        self.products, self.copy = {}, None

    def choose(self, size, smoke):
        """Return one of two sizes."""
        return smoke if self.smoke else size

    def seconds(self, function, rounds):
        """Return the seconds of each round; one more has run before."""
        return time_beside({"": function}, rounds, self.device)[""]

    def wait(self):
        """Wait for all that was started."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def forget(self):
        """Give freed memory back and begin a new peak."""
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_memory(self):
        """Return the peak since `forget` in bytes; of the process on a CPU."""
        if self.is_gpu:
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def free_memory(self):
        """Return the card's free bytes; of a CPU's memory nothing is known."""
        return torch.cuda.mem_get_info()[0] if self.is_gpu else math.inf

    def measure_limits(self):
        """Measure the products and the copy; yield their rows."""
        size = self.choose(8192, 64)
        for precision, dtype in (
            ("bf16", torch.bfloat16),
            ("fp32", torch.float32),
        ):
            matrix = torch.randn(size, size, device=self.device, dtype=dtype)
            seconds = self.seconds(
                functools.partial(torch.matmul, matrix, matrix), 10
            )
            rates = [2 * size**3 / s for s in seconds]
            self.products[precision] = statistics.median(rates)
            yield row(
                f"product of matrices of {size} x {size}, {precision}",
                rates,
                "TFLOP/s",
                1e-12,
            )
        source = torch.zeros(
            self.choose(2**31, 2**16), dtype=torch.float16, device=self.device
        )
        target = torch.empty_like(source)
        seconds = self.seconds(lambda: target.copy_(source), 10)
        rates = [2 * source.nbytes / s for s in seconds]
        self.copy = statistics.median(rates)
        yield row("copy on the card, read and written", rates, "TB/s", 1e-12)


def row(what, values, unit, factor=1.0, share="", **more):
    """Return a row: what was measured, median and range, and its share.

    Arguments
    ---------
    what : str
        What was measured.
    values : list of float
        One per round.
    unit : str
        Of the values times ``factor``.
    share : str
        Of which limit it is how much.
    **more
        Further values for the JSON file.
    """
    scaled = [factor * value for value in values]
    text = f"{statistics.median(scaled):.4g}"
    if len(scaled) > 1:
        text += f" ({min(scaled):.4g} to {max(scaled):.4g})"
    return {
        "what": what,
        "value": f"{text} {unit}",
        "share": share,
        "values": scaled,
        "unit": unit,
        **more,
    }
