"""The bare counterparts do the arithmetic they say, cases take turns, limits are judged, and all is written down."""

import csv
import re
import time
from math import prod

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from wavescore_lite import Coupling, WaveletBasis, band_tied, independent, local_coupled
from wavescore_lite.benchmarks import Setting, bare, cases, memory, report, timing
from wavescore_lite.couplings import FAMILIES
from wavescore_lite.moments import over_features

COUPLINGS = [independent(3), band_tied(3), local_coupled(3, radius=1), local_coupled(2, 1, parent=True)]


@pytest.fixture
def one_thread():
    """Blocks are worked on in this thread, where torch counts its operations."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def counted(run):
    """What `run` says it did, and what torch counted in matrix products, those in place among them."""
    in_place = dict.fromkeys(
        [torch.ops.aten.addmm_, torch.ops.aten.baddbmm_], lambda total, a, b, **_: 2 * prod(a) * b[-1]
    )
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        said = run()
    return said, counter.get_total_flops()


@pytest.mark.parametrize("count", [1, 700, 1500])
def test_products_of_a_transform_are_counted(count, one_thread):
    said, done = counted(lambda: bare.transform(WaveletBasis(16), torch.rand(count, 16, 16)))
    assert said == done > 0


@pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
@pytest.mark.parametrize("count", [1, 1500])
def test_products_of_sums_and_predictions_are_counted(coupling, count, one_thread):
    groups, coefficients = coupling.groups(WaveletBasis(8)), torch.rand(64, count, dtype=torch.float64)
    said, done = counted(lambda: bare.products(groups, coefficients))
    assert said == done > 0
    powers = sum(len(g.targets) * int((g.family.closed.sum(axis=1) > 1).sum()) for g in groups) * count
    assert counted(lambda: bare.arithmetic(groups, coefficients)) == (said + powers, done)
    said, done = counted(lambda: bare.predictions(groups, coefficients))
    assert said == done > 0


def test_products_of_the_joint_fit_are_counted():
    features, dim = 193, 64
    sums, with_a_level = (bare.joint(features, dim, images=1500, levels=levels) for levels in (0, 1))
    assert sums == 1500 * 2 * len(np.tril_indices(features)[0])
    assert with_a_level - sums == features**3 // 3 + 2 * features**2 * dim


def test_products_of_a_level_are_counted(one_thread):
    groups = independent(2).groups(WaveletBasis(8))
    said, done = counted(lambda: bare.level(groups))
    solutions = 64 * (2 * 3**3 // 3 + 2 * 3**2)
    assert said - solutions == done == 64 * 2 * 2 * 3**3


@pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
def test_reading_forms_the_features(coupling):
    coefficients = torch.randn(256, 1100, dtype=torch.float64)
    for group in coupling.groups(WaveletBasis(16)):
        shape = len(group.targets), len(group.family.closed), 1100
        ours, theirs = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))

        def keep(into):
            return lambda rows, images, features: into[rows, :, images].copy_(features)

        bare._over_features(group, coefficients, keep(ours), read=True)
        over_features(group, coefficients, keep(theirs))
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=0)


def test_cases_take_turns_and_the_first_does_not_count(monkeypatch):
    clock, order = iter([0, 0, 50, 50, 90, 1, 1, 3, 3, 7, 2, 2, 6, 6, 7, 3, 3, 9, 9, 12, 4]), []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    medians = timing.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, turns=1, seconds=4)
    assert order == list("abababab")
    assert medians == {"a": 4, "b": 3}


def test_one_turn_counts():
    medians = timing.interleaved({"a": lambda: time.sleep(0.01)}, turns=1, seconds=0)
    assert 0.01 <= medians["a"] < 60


def case(**options):
    return timing.Case("wait", lambda: time.sleep(0.02), lambda: 3_000_000_000, "nothing", 5, 8, **options)


def test_a_row_says_what_was_timed():
    row = timing.timed(case(share_of="pass", axis="size", at=8), {"pass": 10.0}, turns=1, seconds=0, judged=True)
    assert (row["case"], row["beside"], row["images"], row["size"]) == ("wait", "nothing", 5, 8)
    assert (row["axis"], row["at"], row["gflop"]) == ("size", 8, 3.0)
    assert row["ratio"] == row["seconds"] / row["beside_seconds"]
    assert row["share"] == row["seconds"] / 10
    assert (row["measure"], row["limit"], row["within"]) == ("", "", "")


@pytest.mark.parametrize(
    ("most", "judged", "within"), [(10.0, True, "yes"), (0.001, True, "no"), (10.0, False, ""), (0.001, False, "")]
)
def test_limits_are_judged_where_they_apply(most, judged, within):
    row = timing.timed(case(limit=timing.Limit("seconds", most)), {}, turns=1, seconds=0, judged=judged)
    assert (row["measure"], row["limit"], row["within"]) == ("seconds", most, within)


NAMES = [family.name for family in cases.FAMILIES]


def made_up_rows(power, names=NAMES):
    """Passes whose time is pixels of all images to a power."""
    values = [("images", count, count, 32) for count in (100, 200, 400)]
    values += [("size", size, 64**2 // size**2, size) for size in (16, 32, 64)]
    values += [(axis, at, 10, 16) for axis in ("radius", "degree") for at in (1, 2, 3)]
    return [
        timing.row(
            case=f"pass, {name}(3)",
            axis=axis,
            at=at,
            images=images,
            size=size,
            seconds=1e-9 * images * float(size**2) ** power if axis == "size" else 1e-9 * float(images) ** power,
            beside_seconds=1e-9,
        )
        for axis, at, images, size in values
        for name in names
    ]


@pytest.mark.parametrize(("power", "within"), [(1.0, "yes"), (2.0, "no")])
def test_growth_is_the_exponent(power, within):
    rows = timing.growth(made_up_rows(power), judged=True)
    assert [row["case"] for row in rows] == [
        f"growth with {unit}, pass, {name}(3)" for unit in ("images", "pixels") for name in NAMES
    ]
    np.testing.assert_allclose([row["exponent"] for row in rows], power, rtol=1e-10)
    assert {row["within"] for row in rows} == {within}


def test_picture_has_a_line_for_each_family_and_its_bare_arithmetic():
    rows = made_up_rows(1.0)
    figure = report.picture(rows)
    assert [axis.get_xlabel() for axis in figure.axes] == list(report.AXES.values())
    for axis in figure.axes:
        assert len(axis.lines) == 2 * len(NAMES)
    line = figure.axes[1].lines[0]
    assert line.get_xdata().tolist() == [16, 32, 64]
    np.testing.assert_allclose(line.get_ydata(), 1.0)
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), [1 / (n * 32**2) for n in (100, 200, 400)])
    plt.close(figure)


def test_a_family_has_its_own_points_and_not_those_of_a_longer_name(monkeypatch):
    def tied(degree):
        return Coupling(f"tied({degree})", independent(degree).build)

    monkeypatch.setattr(report, "FAMILIES", [cases.Family(tied), cases.Family(band_tied)])
    figure = report.picture(made_up_rows(1.0, ["tied", "band_tied"]))
    assert [line.get_label() for line in figure.axes[1].lines] == [
        "tied", "tied, bare arithmetic", "band_tied", "band_tied, bare arithmetic",
    ]  # fmt: skip
    assert {len(line.get_xdata()) for axis in figure.axes for line in axis.lines} == {3}
    plt.close(figure)


def test_rows_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    rows = made_up_rows(1.0)
    report.write(rows, "made up", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(report.FILES)
    with open(tmp_path / "bench.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["case"] for row in read] == [row["case"] for row in rows]
    np.testing.assert_allclose([float(row["seconds"]) for row in read], [row["seconds"] for row in rows], rtol=1e-3)

    def full_disk(figure, file, **options):
        file.write(b"half")
        raise OSError("no space left on device")

    before = (tmp_path / "bench.png").read_bytes()
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full_disk)
    with pytest.raises(OSError, match="no space"):
        report.write(rows, "made up", tmp_path)
    assert (tmp_path / "bench.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(report.FILES)
    plt.close("all")


def test_memory_is_what_is_held_at_the_peak():
    def hold(megabytes):
        held = np.ones(megabytes * 2**20, np.uint8)
        time.sleep(0.1)
        return held[0]

    assert 150 <= memory.peak_above(lambda: hold(150)) / 2**20 < 200
    assert memory.peak_above(lambda: hold(1)) / 2**20 < 20


def test_limits_are_the_ones_that_were_set():
    setting = Setting("strokes", images=64, size=16, turns=1, seconds=0)
    limits = {}
    for part in (cases.passes, cases.after_a_pass, cases.joint_fit, cases.sampling, cases.transforms, cases.sweeps):
        for made in part(setting):
            if made.limit:
                limits[made.name, made.images] = (made.limit.measure, made.limit.most)
    local, *others = [re.sub(r"\w+=", "", repr(family.at_degree(3))) for family in cases.FAMILIES]
    assert (local, len(others)) == ("local_coupled(3, 1)", len(FAMILIES) - 1)
    expected = {(f"further noise level, {name}", 64): ("share", 0.02) for name in (local, *others)}
    expected |= {
        (f"{what}, {name}", 64): ("ratio", 3.0) for what in ("pass", "sums from coefficients") for name in others
    }
    expected |= {
        (f"{what}, {name}", 64): ("ratio", 0.1)
        for what in ("call of a step", "samples in 8 steps")
        for name in (local, *others)
    }
    assert limits == expected | {
        ("pass, local_coupled(3, 1)", 64): ("ratio", 2.5),
        ("denoise, local_coupled(3, 1)", 64): ("seconds", 1.5),
        ("denoise, local_coupled(3, 1)", 1): ("seconds", 0.003),
        ("joint, independent(3), 4 noise levels", 64): ("ratio", 2.5),
        ("analysis and synthesis, float32", 64): ("ratio", 3.0),
        ("analysis and synthesis, float64", 64): ("ratio", 3.0),
    }


def test_samples_and_calls_are_timed_beside_the_same_of_a_unet(monkeypatch):
    """Each case calls its own denoiser as often as its counterpart the U-Net, on as many images, at as few levels."""
    made, asked = list(cases.sampling(Setting("strokes", images=64, size=8))), []

    def denoise(self, noisy, sigma):
        asked.append((type(self), noisy.shape, sigma))
        return noisy

    for kind in (cases.WaveletScore, cases.JointScore, cases.Wiener, cases.Network):
        monkeypatch.setattr(kind, "denoise", denoise)
    for case in made:
        calls, levels = (1, 1) if case.name.startswith("call of a step, ") else (2 * 8 - 1, 8)
        for run, network in ((case.run, False), (case.bare, True)):
            asked.clear()
            assert run() is None
            assert len(asked) == calls
            assert len({sigma for _, _, sigma in asked}) == levels <= cases.KEPT
            assert {(kind is cases.Network, shape) for kind, shape, _ in asked} == {(network, (64, 8, 8))}
    assert [case.name.partition(", ")[2] for case in made[::2]] == [
        "local_coupled(3, 1)", "band_tied(3)", "independent(3)", "Wiener", "joint independent(3)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "judged"),
    [({}, True), ({"images": 500}, False), ({"size": 16}, False), ({"device": "cuda"}, False)],
)
def test_limits_are_for_the_full_run_on_the_cpu(options, judged):
    assert Setting(**options).judged is judged


def test_equally_many_pixels_at_every_size():
    setting = Setting("strokes", images=640, size=16)
    shapes = {(made.size, made.images) for made in cases.sweeps(setting) if made.axis == "size"}
    assert shapes == {(8, 640), (16, 160), (32, 40), (64, 10)}
