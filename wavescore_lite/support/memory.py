"""Whether there is room for what is about to be computed: known before it starts."""

from __future__ import annotations

from collections.abc import Callable

import torch


def free_bytes(device: str) -> int:
    """Memory that is free: on a GPU, whose sums are solved in the host's memory, the less of the two.

    Examples
    --------
    >>> free_bytes("cpu") > 2**20
    True
    """
    import psutil  # here, because what needs little asks for nothing

    free: int = psutil.virtual_memory().available
    return min(free, torch.cuda.mem_get_info()[0]) if device == "cuda" else free


def check_free(
    needed: int,
    what: str,
    device: str = "cpu",
    way_out: Callable[[int], str] = lambda free: "expected smaller images or a smaller coupling",
) -> None:
    """Refuse what would take more bytes than are free.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What takes them, for the message.
    device : str
        "cpu" or "cuda".
    way_out : callable
        From the bytes that are free to what to do instead, for the message.

    Raises
    ------
    MemoryError
        With both numbers in GiB.

    Examples
    --------
    >>> check_free(2**60, "this fit")
    Traceback (most recent call last):
    ...
    MemoryError: this fit takes 1073741824.0 GiB, and ... GiB are free: expected smaller images or a smaller coupling
    """
    free = free_bytes(device)
    if needed > free:
        raise MemoryError(
            f"{what} takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free: {way_out(free)}"
        )
