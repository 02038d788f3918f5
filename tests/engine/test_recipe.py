"""Recipes: names are checked at once, `resolved` spells everything out, and other options are told apart."""

import json

import pytest

from ugc.core.errors import UserError
from ugc.engine.job import begun
from ugc.engine.recipe import Recipe, flat
from ugc.models.pix2pix_resnet import Pix2pixResNet


def recipe(**fields):
    return Recipe.parse({"data": {"path": "sans2serif", "size": 64}, **fields}, "test")


def test_resolved_spells_out_device_precision_options_and_budget():
    found = recipe(device="cpu", precision="fp32", options={"filter": "quality"}).resolved()
    assert (found.device, found.precision, found.budget) == ("cpu", "fp32", "40x")
    assert found.options == {"sample": "spread", "filter": "quality", "decay": 0.99, "discriminators": "own",
                             "order": "before", "every": 1, "teachers": "both", "nas_ssl": True, "finetune_ssl": True,
                             "nas": True, "student": "inherited", "supervised": 0.0, "average": 0.0}
    assert recipe(family="pix2pix-unet", device="cpu").resolved().budget == "15x"
    assert recipe(budget="macs=1.5G", device="cpu").resolved().budget == "macs=1.5G"
    assert recipe(method="original", device="cpu").resolved().options == {}


def test_resolved_spells_out_the_familys_discriminator_and_objective(monkeypatch):
    found = recipe(base=16, device="cpu").resolved()
    assert found.patch.model_dump() == {"ndf": 32, "strided": 2, "scales": 1, "padding": 1, "spectral": False,
                                        "norm": "instance"}
    assert found.objective.model_dump() == {
        "gan": "hinge", "lambda_gan": 1.0, "lambda_recon": 100.0, "lambda_features": 0.0, "lambda_perceptual": 0.0,
        "d_factor": 0.5, "scales": "mean", "augment": False, "backbone": "none"}
    monkeypatch.setattr(Pix2pixResNet, "judge", {"scales": 2, "padding": 2})
    monkeypatch.setattr(Pix2pixResNet, "objective", {"gan": "lsgan", "scales": "sum", "lambda_recon": 0.0,
                                                     "lambda_features": 10.0, "lambda_perceptual": 10.0})
    heir = recipe(base=16, device="cpu", patch={"padding": 1}, objective={"lambda_recon": 1.0}).resolved()
    assert (heir.patch.scales, heir.patch.padding, heir.patch.ndf) == (2, 1, 16)
    assert (heir.objective.gan, heir.objective.lambda_recon, heir.objective.d_factor) == ("lsgan", 1.0, 0.5)
    assert heir.objective.backbone in ("vgg19", "lite0") and heir.resolved() == heir
    setting = recipe(base=16, device="cpu").setting((3, 3))
    assert (setting.patch.scales, setting.objective.scales) == (2, "sum")


def test_a_run_from_before_families_had_objectives_goes_on(tmp_path):
    """Its recipe.json leaves fields out or open; read, it says what the family says."""
    one = recipe(device="cpu").resolved()
    data = one.model_dump(mode="json")
    data["patch"] = {"ndf": None, "strided": None, "norm": "instance"}
    data["objective"] = {"gan": "hinge", "lambda_gan": 1.0, "lambda_recon": 100.0}
    del data["optimiser"]["ttur"]
    (tmp_path / "recipe.json").write_text(json.dumps(data))
    (tmp_path / "labels.txt").write_text("")
    begun(one, tmp_path)


def test_auto_is_never_what_recipe_json_keeps():
    found = recipe().resolved()
    assert found.device != "auto" and found.precision in ("fp32", "bf16", "fp16")


def test_resolving_twice_and_reading_back_change_nothing():
    found = recipe(device="cpu").resolved()
    assert found.resolved() == found
    assert Recipe.parse(json.loads(json.dumps(found.model_dump(mode="json"))), "back") == found


@pytest.mark.parametrize("fields, words", [
    ({"family": "pix2pix-resnt"}, ("family", "'pix2pix-resnet'")),
    ({"method": "ugd"}, ("method", "'ugc'")),
    ({"options": {"filtre": "off"}}, ("filtre", "'filter'")),
    ({"options": {"filter": "of"}}, ("filter", "'off'")),
    ({"bach": 4}, ("bach", "'batch'")),
    ({"steps": {"destill": 4}}, ("destill", "'distill'")),
    ({"steps": {"distill": 0}}, ("steps.distill", "0")),
    ({"data": {"path": "x", "lables": 0.5}}, ("lables", "'labels'")),
    ({"data": {"path": "x", "labels": 1.5}}, ("labels", "fraction")),
    ({"data": {"path": "x", "labels": 0}}, ("labels", "fraction")),
    ({"data": {"path": "x", "size": "big"}}, ("size", "256")),
    ({"data": {"path": "x", "size": 64, "load": 32}}, ("load 32x32", "64x64")),
    ({"precision": "int8"}, ("precision", "int8")),
    ({"distillation": {"backbone": "vgg19"}}, ("backbone", "'vgg16'")),
    ({"objective": {"backbone": "vgg16"}}, ("objective.backbone", "'vgg19'")),
    ({"batch": 0}, ("batch", "0")), ({"base": 0}, ("base", "0")), ({"seed": -1}, ("seed", "-1")),
])
def test_what_is_wrong_is_named_in_one_sentence(fields, words):
    with pytest.raises(UserError) as error:
        recipe(**fields)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("fields", [
    {"optimiser": {"schedule": "cosine"}}, {"optimiser": {"lr": -1.0}}, {"search": {"population": 0}},
    {"search": {"generations": -1}}, {"options": {"every": 0}}, {"options": {"decay": 1.5}},
    {"objective": {"gan": "wgan"}}, {"objective": {"lambda_gan": 0, "lambda_recon": 0}},
    {"objective": {"lambda_perceptual": 1, "backbone": "none"}}, {"patch": {"scales": 5}}, {"device": "tpu"}], ids=str)
def test_values_that_no_run_can_use_are_refused_before_it_starts(fields):
    recipe().resolved().setting((3, 3))
    with pytest.raises(UserError):
        recipe(**fields).resolved().setting((3, 3))


def test_the_setting_checks_the_size_and_the_familys_fields():
    with pytest.raises(UserError, match="multiples of 4"):
        recipe(data={"path": "x", "size": 30}, device="cpu").setting((1, 1))
    with pytest.raises(UserError, match="blocs"):
        recipe(generator={"blocs": 3}, device="cpu").setting((1, 1))
    found = recipe(family="pix2pix-unet", base=16, device="cpu").setting((1, 3))
    assert found.size == (64, 64) and found.judged_channels == 4
    assert (found.config.in_channels, found.config.out_channels, found.config.base, found.config.levels) == (1, 3, 16, 6)
    assert (found.patch.ndf, found.patch.strided) == (32, 2)


def test_flat():
    assert flat({"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "f": {}}) == {"a": 1, "b.c": [1, 2], "b.d.e": None, "f": {}}
    assert flat({}) == {"": {}}


def saved(folder, found):
    folder.mkdir(exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(found.model_dump(mode="json")))
    (folder / "labels.txt").write_text("")


def test_begun_names_what_differs(tmp_path):
    one = recipe(device="cpu").resolved()
    saved(tmp_path / "run", one)
    begun(one, tmp_path / "run")
    other = one.with_settings(["seed=7", "data.labels=0.5", "options.nas=false"])
    with pytest.raises(UserError, match="other options") as error:
        begun(other, tmp_path / "run")
    text = str(error.value)
    for words in ("seed (0 there, 7 now)", "data.labels (1.0 there, 0.5 now)", "options.nas (True there, False now)"):
        assert words in text
    assert "and more" not in text
    many = one.with_settings(["seed=7", "batch=1", "base=8", "grids=1", "log_every=3"])
    with pytest.raises(UserError, match="and more"):
        begun(many, tmp_path / "run")


def test_a_run_that_began_before_an_option_was_made_goes_on(tmp_path):
    """It is at its default there, whether it is a field of the recipe or an option of the method."""
    one = recipe(device="cpu").resolved()
    saved(tmp_path / "run", one)
    older = one.model_dump(mode="json")
    del older["grids"], older["options"]["teachers"], older["search"]["deep"]
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(older))
    begun(one, tmp_path / "run")
    with pytest.raises(UserError, match=r"options\.teachers"):
        begun(one.with_settings(["options.teachers=deep"]), tmp_path / "run")


def test_begun_on_new_empty_and_foreign_folders(tmp_path):
    one = recipe(device="cpu").resolved()
    begun(one, tmp_path / "new")
    (tmp_path / "empty").mkdir()
    begun(one, tmp_path / "empty")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty"]
    (tmp_path / "empty" / "x").write_text("")
    with pytest.raises(UserError, match="no run"):
        begun(one, tmp_path / "empty")
    with pytest.raises(UserError, match="is a file"):
        begun(one, tmp_path / "empty" / "x")
