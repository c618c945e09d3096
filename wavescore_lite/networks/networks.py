"""Trained denoisers to compare with: any of the `designs`, preconditioned for every noise level."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..denoisers.protocol import WithScore
from ..support.checks import check_choice, check_images, check_sigma, check_size
from .backbones import Backbone
from .designs import DESIGNS

SIGMA_RANGE = (0.1, 5.0)  # noise levels that networks are trained on, and asked about
BATCH_PIXELS = {"cpu": 2**15, "cuda": 2**18}  # denoised at a time: what stays in a cache, or keeps a GPU busy


def preconditioning(sigma: torch.Tensor, sigma_data: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The factors c_skip, c_out, c_in, c_noise of Karras et al. (2022, table 1) at noise levels `sigma`.

    With the data of mean 0 and standard deviation sigma_data, c_in makes the input of the trained part of unit
    variance, c_out its target, and c_skip is the choice for which c_out is least: the best linear estimate of a pixel
    from itself.

    Examples
    --------
    >>> preconditioning(torch.tensor(3.0), torch.tensor(4.0))[:3]
    (tensor(0.6400), tensor(2.4000), tensor(0.2000))
    """
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4


class Network(WithScore, nn.Module):
    """A denoiser D(x; sigma) = mean + c_skip (x - mean) + c_out F(c_in (x - mean); c_noise) with a trained F.

    This is the parametrisation of Karras et al. (2022, eq. 7), with one grey as the mean, so that the CNN commutes with
    shifts away from the borders. An untrained F is zero.

    Parameters
    ----------
    name : str
        One of the designs:

        ==============  ========================  ==========  ===============  ===============
        name            channels from 32 pixels   attention   parameters, 32   parameters, 64
        ==============  ========================  ==========  ===============  ===============
        cnn             32 (6 blocks)             none        143,649          143,649
        unet-small      16, 32, 64                none        168,801          184,449
        unet-medium     16, 32, 64, 128           none        629,281          644,929
        unet-wide       32, 64, 128               none        611,905          665,729
        unet-attention  16, 32, 64, 128           8, 4 px     729,121          744,769
        ==============  ========================  ==========  ===============  ===============
    size : int
        Pixels along a side, a power of two >= 8.
    mean, sigma_data : float
        Mean and standard deviation of all pixels of the training images.

    Raises
    ------
    ValueError
        For an unknown name, another size, or a sigma_data that is not > 0.

    Examples
    --------
    >>> network = Network("unet-small", size=8, mean=0.25, sigma_data=0.5)
    >>> network.denoise(torch.full((2, 8, 8), 2.25), sigma=0.5)[0, 0, 0]
    tensor(1.2500)
    """

    mean: torch.Tensor
    sigma_data: torch.Tensor

    def __init__(self, name: str, size: int = 32, mean: float = 0.0, sigma_data: float = 1.0) -> None:
        super().__init__()
        check_choice("network", name, tuple(DESIGNS))
        if not 0 < sigma_data < math.inf or not math.isfinite(mean):
            raise ValueError(
                f"mean and sigma_data are {mean} and {sigma_data}; expected finite numbers, the latter > 0"
            )
        self.name, self.size = name, check_size(size)
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("sigma_data", torch.tensor(float(sigma_data)))
        self.backbone = Backbone(DESIGNS[name], self.size)

    def __repr__(self) -> str:
        return f"Network({self.name!r}, size={self.size})"

    @property
    def num_parameters(self) -> int:
        """Trained parameters, for all noise levels together."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and largest noise level that it was trained on."""
        return SIGMA_RANGE

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """D(x; sigma) for images [n, s, s] and noise levels [n], unchecked and differentiable."""
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.sigma_data)
        c_skip, c_out, c_in = (factor[:, None, None] for factor in (c_skip, c_out, c_in))
        centred = noisy - self.mean
        trained = self.backbone((c_in * centred)[:, None], c_noise)[:, 0]
        return self.mean + c_skip * centred + c_out * trained

    @torch.no_grad()
    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy], computed in float32.

        Parameters
        ----------
        noisy : tensor [n, size, size], float32 or float64
        sigma : float
            Standard deviation of the noise in a pixel, in SIGMA_RANGE: elsewhere the network was not trained.

        Returns
        -------
        tensor [n, size, size] of the same dtype and device, not clipped

        Raises
        ------
        TypeError, ValueError
            For other images, or another sigma.
        """
        noisy, sigma = check_images(noisy, self.size), check_sigma(sigma)
        if not SIGMA_RANGE[0] * (1 - 1e-6) <= sigma <= SIGMA_RANGE[1] * (1 + 1e-6):
            raise ValueError(f"sigma is {sigma:g}; expected one in {list(SIGMA_RANGE)}, where networks are trained")
        estimate, batch = torch.empty_like(noisy), max(1, BATCH_PIXELS[noisy.device.type] // self.size**2)
        for images, out in zip(noisy.split(batch), estimate.split(batch), strict=True):
            out.copy_(self(images.to(self.mean), self.mean.new_full((len(images),), sigma)))
        return estimate
