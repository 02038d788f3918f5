"""Every row of the table is a recipe that a run can start from."""

import pytest
import torch

from ugc.core.errors import UserError
from ugc.data.dataset import DATASETS
from ugc.models.generator import FAMILIES
from ugc.nn.cost import total, trace
from ugc.recipes.table import TABLE, YOURS, parsed, recipe
from ugc.search.budget import Budget

every = pytest.mark.parametrize("name", list(TABLE))


@every
def test_it_parses_and_is_named(name):
    found = parsed(name)
    assert found.name == name and found.family in FAMILIES
    assert found.data.path in (*DATASETS, YOURS)


@every
def test_its_budget_is_within_reach_of_its_net(name):
    found = parsed(name).model_copy(update={"device": "cpu"}).resolved()
    pictures = (1, 1) if found.data.path in DATASETS else (3, 3)
    channels = (36, 3) if found.family in ("pix2pixhd", "gaugan") else pictures
    setting = found.setting(channels)
    with torch.device("meta"):
        original, net = setting.family(setting.family.original(setting.config)), setting.family(setting.config)
    budget = Budget.parse(found.budget, total(trace(original, None, setting.size)))
    budget.check_reachable(*(total(trace(net, arch, setting.size)) for arch in (net.space.smallest, net.space.largest)))


def test_the_papers_rows():
    for name in (n for n in TABLE if parsed(n).data.path == YOURS):
        data, family, percent = name.split("-")
        found, maps = parsed(name), family in ("pix2pixhd", "gaugan")
        assert found.data.size == ((256, 512) if maps else (256, 256)) and found.base == 64
        assert found.family == (family if maps else f"pix2pix-{family}") and found.data.labels == int(percent) / 100
        assert found.distillation.backbone == "vgg16" and found.distillation.l1 == 0
        assert found.data.direction == ("BtoA" if data == "cityscapes" and not maps else "AtoB")


def test_the_hours_of_streets():
    for family in ("pix2pixhd", "gaugan"):
        found = parsed(f"streets-{family}-hour")
        assert found.family == family and found.data.path == "streets" and found.data.size == (128, 256)
        assert found.budget == "12x" and found.base == 16 and found.data.labels == 0.25


def test_the_demo():
    found = parsed("sans2serif-demo")
    assert found.data.path == "sans2serif" and found.data.size == (64, 64) and found.data.labels == 0.25
    times = float(found.budget.removesuffix("x"))
    assert times >= 12
    hour = parsed("sans2serif-hour")
    assert sum(hour.steps.model_dump().values()) > 3 * sum(found.steps.model_dump().values())
    same = {"data", "family", "base", "budget", "patch", "distillation", "batch"}
    assert all(getattr(found, field) == getattr(hour, field) for field in same)


def test_a_row_is_plain_data_and_not_the_table_itself():
    row = recipe("sans2serif-demo")
    assert row["name"] == "sans2serif-demo" and "name" not in TABLE["sans2serif-demo"]


def test_an_unknown_name_is_told_what_is_near():
    with pytest.raises(UserError, match="did you mean 'sans2serif-demo'"):
        recipe("sans2serif-dmeo")
