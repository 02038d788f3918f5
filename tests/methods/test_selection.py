"""The score of a sub-network, and the board that keeps scores."""

import json
from types import SimpleNamespace

import pytest
import torch

from ugc.core.clock import Clock
from ugc.core.device import Device
from ugc.core.errors import UserError
from ugc.methods import selection
from ugc.methods.selection import Scoreboard, SelectionConfig, SupernetScore, planned, select
from ugc.methods.uniform import even
from ugc.models.generator import shrink
from ugc.nn.elastic import ElasticBatchNorm
from ugc.search.budget import Budget

KINDS = ("l_od", "l1", "ssim")
FAMILIES = {"pix2pix-resnet": {"blocks": 3, "widths": (1, 4, 8), "depths": (0, 1)},
            "pix2pix-unet": {"levels": 3, "widths": (1, 4, 8), "depths": (0, 1)},
            "gaugan": {"upsampling": "normal", "widths": (1, 4, 8), "depths": (0, 1)}}


@pytest.fixture(scope="module")
def supernets(setting_of):
    """family -> a setting, and a supernet whose weights are random but not tiny."""
    found = {}
    for family, fields in FAMILIES.items():
        setting = setting_of(family, **fields)
        net = setting.generator(setting.config, "supernet")
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(5)
        found[family] = SimpleNamespace(setting=setting, net=net, cost=setting.cost_model(setting.config))
    return found


@pytest.fixture
def score_of(supernets, batch_of):
    def make(family="pix2pix-resnet", kind="l_od", v=5, calibration=6, precision="fp32"):
        it = supernets[family]
        sources, plain = (batch_of(seed, n=n, size=it.setting.size).source for seed, n in ((1, v), (2, calibration)))
        return SupernetScore(it.net, sources, plain, it.setting.l_od(), kind,
                             Device(it.setting.device.device, precision))

    return make


def archs(space):
    return [space.smallest, space.uniform(4, 0), space.uniform(4, 1), space.largest]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_net_is_at_no_distance_from_itself(score_of, supernets, family, kind):
    space = supernets[family].net.space
    score = score_of(family, kind)
    least = score(space.largest)
    own = 0.0
    if kind == "l_od":  # of whose parts the total variation is the picture's own
        look = score.look(torch.cat(score.pictures))
        own = float(score.l_od(look, look)["tv"].mean())
    assert least == pytest.approx(own, abs=1e-4)
    assert all(score(arch) > least + 1e-3 for arch in archs(space)[:3])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_deterministic_and_leaves_the_supernet_alone(score_of, supernets, family, kind):
    net = supernets[family].net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    first, second = score_of(family, kind), score_of(family, kind)
    some = archs(net.space)
    assert [first(a) for a in some] == [second(a) for a in reversed(some)][::-1] == [first(a) for a in some]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_it_says(score_of, supernets, kind):
    """mean over v of the distance between the pictures of two members, made here by hand."""
    it = supernets["pix2pix-resnet"]
    score = score_of(kind=kind)
    v, arch = torch.cat(score.v), it.net.space.uniform(4, 1)
    l_od = it.setting.l_od()
    with torch.no_grad():
        teacher, student = it.net(v), it.net(v, arch)
        parts = l_od(l_od.look(teacher), l_od.look(student))
    wanted = {"l1": (teacher - student).abs().mean(), "ssim": parts["ssim"].mean(),
              "l_od": sum(p.mean() for p in parts.values())}[kind]
    assert score(arch) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize("precision, within", [("fp32", 1e-4), ("bf16", 0.02)])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_makes_it_quick_does_not_change_it(score_of, supernets, family, kind, precision, within):
    """Scores by a plain reading: layers as they are, every chunk by itself, every term of L_OD, fresh looks.

    In bf16, whose cells are 0.008 wide, sums in another order round elsewhere.
    """
    it, score = supernets[family], score_of(family, kind, precision=precision)

    def pictures(arch):
        net = shrink(it.net, arch).train()
        with torch.no_grad():
            sums = statistics(net, score.calibration, score.device)
            for layer, (mean, var) in sums.items():
                layer.running_mean.copy_(mean / len(score.calibration))
                layer.running_var.copy_(var / len(score.calibration))
            net.eval()
            return torch.cat([within_autocast(score.device, net, chunk) for chunk in score.v])

    l_od = it.setting.l_od()
    for arch in archs(it.net.space):
        teacher, student = pictures(it.net.space.largest), pictures(arch)
        parts = l_od(l_od.look(teacher), l_od.look(student))
        wanted = {"l1": (teacher - student).abs().mean((1, 2, 3)), "ssim": parts["ssim"],
                  "l_od": sum(parts.values())}[kind].mean()
        assert score(arch) == pytest.approx(float(wanted), rel=within, abs=within)


def within_autocast(device, net, x):
    with device.autocast():
        return net(x)


def statistics(net, batches, device):
    """layer -> sums of the mean and the unbiased variance of what each batch norm saw of each batch."""
    norms = [m for m in net.modules() if isinstance(m, ElasticBatchNorm)]
    sums = {m: [0.0, 0.0] for m in norms}

    def watch(layer, args):
        var, mean = torch.var_mean(args[0].float(), (0, 2, 3))
        sums[layer][0] += mean
        sums[layer][1] += var

    handles = [m.register_forward_pre_hook(watch) for m in norms]
    for batch in batches:
        within_autocast(device, net, batch)
    for handle in handles:
        handle.remove()
    return sums


def test_terms_that_are_not_asked_for_are_not_computed(supernets, batch_of, eyes):
    """`ssim` and `l1` are the same with a backbone and without, and show it nothing."""
    it = supernets["pix2pix-resnet"]
    v, seen = batch_of(1, n=3, size=it.setting.size).source, []
    eyes.feature_tap, eyes.style_taps = 1, (0, 1)
    eyes.register_forward_hook(lambda *args: seen.append(1))
    for kind in KINDS:
        l_od = it.setting.l_od()
        plain = SupernetScore(it.net, v, v, l_od, kind, it.setting.device)
        l_od = it.setting.l_od()
        l_od.backbone, l_od.weights = eyes, {**l_od.weights, "feature": 1.0, "style": 1.0}
        del seen[:]
        score = SupernetScore(it.net, v, v, l_od, kind, it.setting.device)
        same = score(it.net.space.smallest) == plain(it.net.space.smallest)
        assert (same, bool(seen)) == ((False, True) if kind == "l_od" else (True, False))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_without_the_cache_the_numbers_are_the_same(score_of, supernets, family, kind, monkeypatch):
    some = archs(supernets[family].net.space)
    kept = score_of(family, kind)
    assert kept.looks is not None
    wanted = [kept(a) for a in some]
    monkeypatch.setattr(selection, "CACHE", 0)
    fresh = score_of(family, kind)
    assert fresh.looks is None and [fresh(a) for a in some] == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_v_do_not_matter(score_of, supernets, kind, monkeypatch):
    """Instance norm: pictures do not touch each other. (Batch norm is recalibrated by chunks, so there they do.)"""
    some = archs(supernets["pix2pix-resnet"].net.space)
    wanted = [score_of(kind=kind)(a) for a in some]
    for chunk in (1, 2, 4):
        monkeypatch.setattr(selection, "CHUNK", chunk)
        score = score_of(kind=kind)
        assert len(score.v) == -(-5 // chunk)
        assert [score(a) for a in some] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_chunks_of_v_do_not_matter_for_batch_norm(score_of, supernets, monkeypatch):
    """A recalibrated net in eval mode: only the calibration's chunks decide, and these are left as they are here."""
    some = archs(supernets["pix2pix-unet"].net.space)
    whole = score_of("pix2pix-unet", "l1")
    wanted = [whole(a) for a in some]
    parts = score_of("pix2pix-unet", "l1")
    parts.v = torch.cat(parts.v).split(2)
    parts.pictures = list(torch.cat(parts.pictures).split(2))
    parts.looks = [parts.look(p) for p in parts.pictures]
    assert [parts(a) for a in some] == pytest.approx(wanted, rel=1e-4, abs=1e-6)


# ---- the board ----

class Counted:
    """A score that counts how often each arch is asked for; lower for wider nets."""

    def __init__(self, cost):
        self.cost, self.asked = cost, []

    def __call__(self, arch):
        self.asked.append(arch.text)
        return 1.0 / self.cost(arch).macs


@pytest.fixture
def board_of(supernets, tmp_path):
    cost = supernets["pix2pix-resnet"].cost

    def make(name="candidates.jsonl"):
        score = Counted(cost)
        return Scoreboard(tmp_path / "search" / name, cost, score), score.asked

    return make


def test_the_board_asks_once_and_keeps_it(board_of, supernets, tmp_path):
    space, cost = supernets["pix2pix-resnet"].net.space, supernets["pix2pix-resnet"].cost
    board, asked = board_of()
    board.role, board.generation = "student", 2
    (first,) = board([space.smallest])
    assert board([space.smallest] * 2) == [first] * 2 == [1.0 / cost(space.smallest).macs] * 2 and len(asked) == 1
    (line,) = (tmp_path / "search/candidates.jsonl").read_text().splitlines()
    assert json.loads(line) == {"arch": space.smallest.text, "role": "student", "generation": 2, "score": first,
                                **vars(cost(space.smallest))}
    other, asked = board_of()
    assert other([space.smallest]) == [first] and not asked  # another process knows it from the file
    board.all("ladder", space.ladder())
    assert {row["role"] for row in board.rows.values()} == {"student", "ladder"}
    assert len(board.rows) == len(space.ladder())  # the smallest net is one of them, and keeps its role
    assert board.rows[space.smallest.text]["role"] == "student"


@pytest.mark.parametrize("cut", [1, 20, 60, None])
def test_a_half_written_line_is_scored_again(board_of, supernets, tmp_path, cut):
    space = supernets["pix2pix-resnet"].net.space
    board, _ = board_of()
    board.all("ladder", space.ladder()[:3])
    path = tmp_path / "search/candidates.jsonl"
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    last = lines[2][:cut] if cut else lines[2].rstrip("\n")  # None: all of it, but for the end of the line
    path.write_text("".join(lines[:2]) + last)
    again, asked = board_of()
    again.all("ladder", space.ladder()[:3])
    assert len(asked) == (1 if cut else 0)
    assert path.read_text() == whole


CONFIG = SelectionConfig(population=6, generations=2, random=3, trials=0)


def budget_of(supernets, text="4x"):
    it = supernets["pix2pix-resnet"]
    return Budget.parse(text, it.cost(it.net.space.largest))


def test_select_is_a_function_of_seed_and_scores(board_of, supernets, tmp_path):
    budget = budget_of(supernets)
    board, asked = board_of("a")
    chosen, notes = select(board, budget, CONFIG, Clock(5))
    again, asked_again = board_of("b")
    assert select(again, budget, CONFIG, Clock(5)) == (chosen, notes) and asked == asked_again
    assert (tmp_path / "search/a").read_text() == (tmp_path / "search/b").read_text()
    other, asked_other = board_of("c")
    select(other, budget, CONFIG, Clock(6))
    assert asked_other != asked
    cost = supernets["pix2pix-resnet"].cost
    assert budget.holds(cost(chosen.student))
    of_student = {row["arch"]: row["score"] for row in board.rows.values() if row["role"] == "student"}
    assert of_student[chosen.student.text] == min(of_student.values())
    assert len(asked) == len(set(asked)) <= planned(CONFIG, len(supernets["pix2pix-resnet"].net.space.ladder()))


def test_a_killed_search_walks_the_same_path(board_of, supernets, tmp_path):
    budget = budget_of(supernets)
    board, asked = board_of("whole")
    chosen, notes = select(board, budget, CONFIG, Clock(5))
    lines = (tmp_path / "search/whole").read_text().splitlines(keepends=True)
    for kept in (0, 1, 7, len(lines) - 1, len(lines)):
        half = lines[kept][:30] if kept < len(lines) else ""
        (tmp_path / "search/killed").write_text("".join(lines[:kept]) + half)
        again, asked_again = board_of("killed")
        assert select(again, budget, CONFIG, Clock(5)) == (chosen, notes)
        assert asked_again == asked[kept:]
        assert (tmp_path / "search/killed").read_text() == "".join(lines)


def test_a_student_by_hand(board_of, supernets):
    space = supernets["pix2pix-resnet"].net.space
    arch = space.uniform(1, 1)
    board, _ = board_of()
    chosen, _ = select(board, budget_of(supernets), CONFIG.model_copy(update={"student": arch.text}), Clock(5))
    assert chosen.student == arch and board.rows[arch.text]["role"] == "student"
    config = CONFIG.model_copy(update={"student": space.largest.text})
    with pytest.raises(UserError, match="above the budget 4x"):
        select(board, budget_of(supernets), config, Clock(5))


def test_trials_have_the_last_word_on_the_student(board_of, supernets):
    """The supernet's favourite and the even net are tried first; the rest is bred from what is best after its trial."""
    budget, cost = budget_of(supernets), supernets["pix2pix-resnet"].cost
    favourite = select(board_of("a")[0], budget, CONFIG, Clock(5))[0].student
    config, asked = CONFIG.model_copy(update={"trials": 10}), []

    def tried(archs):
        asked.extend(arch for arch in archs if arch not in asked)
        return [float(cost(arch).params) for arch in archs]  # the other way round

    board, _ = board_of("b")
    chosen, _ = select(board, budget, config, Clock(5), tried=tried)
    assert asked[:2] == [favourite, even(cost, budget)] and 4 < len(asked) <= 10
    assert chosen.student == min(asked, key=lambda arch: cost(arch).params) != favourite
    assert all(budget.holds(cost(arch)) for arch in asked) and chosen.student.text in board.rows
    again, _ = board_of("c")
    assert select(again, budget, config, Clock(5), tried=tried)[0] == chosen
    asked.clear()
    one = CONFIG.model_copy(update={"trials": 1})
    assert select(board_of("d")[0], budget, one, Clock(5), tried=tried)[0].student == favourite and asked == [favourite]
    assert planned(config, 3) == planned(CONFIG, 3) + 8  # three generations of 4 with 2 parents


def test_a_budget_out_of_reach_is_said_before_anything_is_scored(board_of, supernets):
    board, asked = board_of()
    with pytest.raises(UserError, match="out of reach"):
        select(board, budget_of(supernets, "params=1"), CONFIG, Clock(0))
    assert not asked
