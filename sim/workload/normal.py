"""The normal distribution's CDF and its inverse, and the inverse of the gamma's: scipy's values, bit for bit, without
importing scipy.special, which takes longer than most runs.

scipy keeps the functions in an extension module that needs nothing but numpy; it is loaded alone. The inverse of the
normal CDF is not in it and is computed here, by the rational approximations that scipy takes as well: S. L. Moshier,
Cephes Math Library 2.1, ndtri.c (1989).
"""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EXTENSION = "_special_ufuncs"
NEEDED = ("gammaincinv", "ndtr", "xlogy")

TAIL = 0.13533528323661269189  # exp(-2): below it, and above 1 - exp(-2), another approximation holds
FAR = 8.0  # of sqrt(-2 ln y)
SQRT_2PI = 2.50662827463100050242


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split()))


# Numerators and denominators, the highest power first.
MIDDLE = (
    _numbers("""-59.9633501014107895267 98.0010754185999661536 -56.6762857469070293439 13.9312609387279679503
    -1.23916583867381258016"""),
    _numbers("""1 1.95448858338141759834 4.67627912898881538453 86.3602421390890590575 -225.462687854119370527
    200.260212380060660359 -82.0372256168333339912 15.9056225126211695515 -1.18331621121330003142"""),
)
NEAR_TAIL = (
    _numbers("""4.05544892305962419923 31.5251094599893866154 57.1628192246421288162 44.0805073893200834700
    14.6849561928858024014 2.18663306850790267539 -0.140256079171354495875 -0.0350424626827848203418
    -8.57456785154685413611e-4"""),
    _numbers("""1 15.7799883256466749731 45.3907635128879210584 41.3172038254672030440 15.0425385692907503408
    2.50464946208309415979 -0.142182922854787788574 -0.0380806407691578277194 -9.33259480895457427372e-4"""),
)
FAR_TAIL = (
    _numbers("""3.23774891776946035970 6.91522889068984211695 3.93881025292474443415 1.33303460815807542389
    0.201485389549179081538 1.23716634817820021358e-2 3.01581553508235416007e-4 2.65806974686737550832e-6
    6.23974539184983293730e-9"""),
    _numbers("""1 6.02427039364742014255 3.67983563856160859403 1.37702099489081330271 0.216236993594496635890
    1.34204006088543189037e-2 3.28014464682127739104e-4 2.89247864745380683936e-6
    6.79019408009981274425e-9"""),
)


# What the approximations here cost above scipy's: a call, and each value; and what importing scipy.special takes.
CALL_S, VALUE_S, IMPORT_S = 50e-6, 21e-9, 0.13
_lost_s = [0.0]  # so far


@functools.cache
def functions() -> Any:
    """scipy's extension module of special functions; all of scipy.special where that cannot be loaded alone."""
    if "scipy.special" in sys.modules:
        return special()
    alone = _extension()
    if all(hasattr(alone, name) for name in NEEDED):
        return alone
    return special()


def special() -> Any:
    """All of scipy.special, waited for where another thread is importing it: until then it lies there half made."""
    return import_module("scipy.special")


def _extension() -> Any:
    """scipy's extension module, loaded without the package around it; None where it is not as it is today."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec, module_from_spec
    from pathlib import Path

    scipy = find_spec("scipy")
    places = scipy.submodule_search_locations if scipy is not None else None
    spec = PathFinder.find_spec(
        f"scipy.special.{EXTENSION}", [str(Path(place) / "special") for place in places or ()]
    )
    if spec is None or spec.loader is None:
        return None
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return module


def ndtr(z: Floats) -> Floats:
    """The standard normal CDF."""
    return functions().ndtr(z)  # type: ignore[no-any-return]


def gammaincinv(shape: float, u: Floats) -> Floats:
    """The inverse CDF of a gamma distribution of scale 1."""
    return functions().gammaincinv(shape, u)  # type: ignore[no-any-return]


def ndtri(u: Floats) -> Floats:
    """The inverse of the standard normal CDF, for u in [0, 1]; -inf at 0, inf at 1.

    scipy.special is asked where it is there already, and imported once doing without it has cost as much as the import:
    it takes a third of the time.
    """
    if "scipy.special" not in sys.modules:
        _lost_s[0] += CALL_S + VALUE_S * u.size
        if _lost_s[0] < IMPORT_S:
            return own_ndtri(u)
    return special().ndtri(u)  # type: ignore[no-any-return]


def own_ndtri(u: Floats) -> Floats:
    """`ndtri` by the approximations above."""
    z = np.empty(u.shape)
    is_upper = u > 1.0 - TAIL
    least = np.where(is_upper, 1.0 - u, u)
    is_middle = least > TAIL
    y = least[is_middle] - 0.5
    y2 = y * y
    z[is_middle] = (y + y * (y2 * _horner(MIDDLE[0], y2) / _horner(MIDDLE[1], y2))) * SQRT_2PI
    in_tail = ~is_middle
    tail = _tail(least[in_tail])
    z[in_tail] = np.where(is_upper[in_tail], tail, -tail)
    return z


def _tail(y: Floats) -> Floats:
    """How far from 0 the quantile lies that so little probability is beyond, for y in [0, exp(-2)]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.sqrt(-2.0 * _log(y))
        about, inverse = x - _log(x) / x, 1.0 / x
    is_near = x < FAR
    ratio = np.empty(x.shape)
    for chosen, (above, below) in ((is_near, NEAR_TAIL), (~is_near, FAR_TAIL)):
        z = inverse[chosen]
        ratio[chosen] = z * _horner(above, z) / _horner(below, z)
    return np.where(y == 0, np.inf, about - ratio)


def _log(x: Floats) -> Floats:
    """The C library's logarithm: numpy has one of its own for some processors, which may round otherwise."""
    return functions().xlogy(1.0, x)  # type: ignore[no-any-return]


def _horner(coefficients: tuple[float, ...], x: Floats) -> Floats:
    """The polynomial, its highest power first."""
    value = np.full(x.shape, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value
