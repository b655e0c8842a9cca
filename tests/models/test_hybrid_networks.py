"""ECO, bLVNet-TAM, CPNet, TRN and graphs of regions: formulas, published counts, training."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet.errors import UserError
from tanet.models.factory import build, create_model
from tanet.models.heads import Relations
from tanet.models.network import Network
from tanet.models.region_graph import RegionGraph, graphs_in_time, grid_boxes, overlaps, region_features
from tanet.models.video_backbones.cpnet import CorrespondenceProposal, double, nearest_in_other_frames
from tanet.profiling.flops import build_on_meta, count_cost
from tanet.recipes.network2d import Network2D
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet
from tanet.recipes.published2d import GST_50, TRN_BN_INCEPTION, TSN_BN_INCEPTION

# Network, classes → parameters and multiply-adds (G) of a clip of 224², from the authors' networks.
PUBLISHED = [
    (replace(TSN_BN_INCEPTION, frames=8), 174, 10_448_590, 16.254),
    (replace(TSN_BN_INCEPTION, frames=8), 400, 10_680_240, None),
    (replace(TSN_BN_INCEPTION, consensus="trn"), 174, 11_670_990, 16.256),
    (TRN_BN_INCEPTION, 174, 13_141_218, 16.261),
    (TRN_BN_INCEPTION, 400, 13_547_792, None),
    (Network2D(temporal="none", consensus="trn-multiscale"), 174, 26_641_154, 32.708),
    (ECO(), 174, 37_387_918, 46.486),
    (ECO(variant="full"), 174, 47_154_766, 64.413),
    (ECO(variant="full"), 400, 47_502_128, None),
    (GST_50, 174, 21_035_246, 29.001),
    (replace(GST_50, frames=16), 174, 21_035_246, 58.001),
    (GST_50, 400, 21_498_320, None),
    (replace(GST_50, gst_groups=1), 174, 29_523_182, 40.099),
    (CPNet(frames=12), 174, 21_646_638, 46.94),
    (BLVNet(), 174, 25_020_142, 23.851),
    (BLVNet(frames=32), 174, 25_020_142, 47.703),
    (BLVNet(frames=48), 400, 25_483_216, 71.565),
    (Network2D(temporal="tam-ibm"), 174, 23_903_918, 32.835),
    (Network2D(temporal="stm"), 174, 24_050_770, None),
]


@pytest.mark.parametrize(("model", "classes", "parameters", "giga"), PUBLISHED)
def test_counts_are_those_of_published_networks(model, classes, parameters, giga):
    network = build_on_meta(model, classes=classes)
    assert sum(tensor.numel() for tensor in network.parameters()) == parameters
    if giga:
        layers = count_cost(network, size=224).total.layers / 1e9
        assert abs(layers - giga) <= 0.5 * 10 ** -(len(str(giga).split(".")[1])) + 1e-9


def test_counts_of_other_frame_sizes():
    # bLVNet-TAM 24×2 at 256²; Inception-v3 of CUHK at 299², one frame and 1000 classes; k-NN of CPNet.
    assert count_cost(build_on_meta(BLVNet(frames=48), classes=400), size=256).total.layers == pytest.approx(
        93.47e9, abs=5e6
    )
    inception = Network2D(backbone="inception_v3_cuhk", temporal="none", frames=1)
    assert count_cost(build_on_meta(inception, classes=1000), size=299).total.layers == pytest.approx(
        5.713e9, abs=5e5
    )
    cost = count_cost(build_on_meta(CPNet(frames=12), classes=174), size=224).total
    assert cost.products == pytest.approx(5.66e9, abs=5e6)


NARROW = {
    "eco-lite": ECO(frames=4),
    "eco": ECO(frames=4, variant="full"),
    "eco-c3d": ECO(frames=4, variant="c3d"),
    "blvnet": BLVNet(frames=4),
    "cpnet": CPNet(frames=3, width=8),
    "graph": RegionGraphNet(frames=4, width=8, features=16, non_local=False),
    "trn": Network2D(backbone="resnet18_w16", temporal="none", consensus="trn", frames=3),
    "trn-multiscale": Network2D(
        backbone="resnet18_w16", temporal="none", consensus="trn-multiscale", frames=4
    ),
    "tsn": Network2D(backbone="resnet18_w16", temporal="none", frames=4),
    "nl-tsm": Network2D(backbone="resnet18_w16", temporal="tsm", frames=4, non_local="dot"),
    "gst": Network2D(backbone="resnet18_w16", temporal="gst", frames=4),
}
BLIND = ("tsn",)
"""Networks whose answer does not depend on the order of frames."""


@pytest.fixture(scope="module")
def networks():
    """Return the networks of NARROW in evaluation mode, with random norms, built once."""
    return {name: awake(model) for name, model in NARROW.items()}


def awake(model):
    """Build a network in which no BatchNorm scales by zero, so that every layer has an effect."""
    torch.manual_seed(0)
    network = build(model, classes=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    nn.init.normal_(network.head.weight, std=0.5)
    for name, parameter in network.named_parameters():
        if name.endswith("temporal.weight") and parameter.ndim == 2:  # temporal aggregation
            nn.init.uniform_(parameter)
    return network.eval()


@pytest.mark.parametrize("name", NARROW)
def test_order_of_frames_matters_where_it_should(name, networks):
    network = networks[name]
    torch.manual_seed(1)
    clips = torch.randn(1, network.frames, 3, 64, 64)
    with torch.inference_mode():
        forward, backward = network(clips), network(clips.flip(1))
    same = (forward - backward).abs().max() <= 1e-5 * forward.abs().max()
    assert bool(same) == (name in BLIND)


@pytest.mark.parametrize("name", NARROW)
def test_head_of_features_gives_logits_for_each_clip_alone(name, networks):
    network = networks[name]
    torch.manual_seed(1)
    clips = torch.randn(2, network.frames, 3, 64, 64)
    with torch.inference_mode():
        logits = network(clips)
        torch.testing.assert_close(network.head(network.features(clips)), logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(clips[1:]), logits[1:], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="expected clips"):
        network(clips[:, :-1])


@pytest.mark.parametrize("name", NARROW)
def test_training_step_lowers_loss_and_reaches_every_parameter(name):
    network = awake(NARROW[name]).train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.manual_seed(1)
    clips, labels = torch.randn(2, network.frames, 3, 64, 64), torch.tensor([0, 2])
    torch.manual_seed(2)  # TRN draws subsets
    before = F.cross_entropy(network(clips), labels)
    before.backward()
    assert all(p.grad is not None for p in network.parameters())
    with torch.no_grad():
        squared = sum(p.grad.square().sum() for p in network.parameters())
        for parameter in network.parameters():
            parameter -= 1e-3 * before * parameter.grad / squared
    torch.manual_seed(2)
    assert F.cross_entropy(network(clips), labels) < before


@pytest.mark.parametrize("name", NARROW)
def test_optimized_copy_gives_the_same_logits(name, networks, monkeypatch):
    # Generated code is tested on a GPU; here, only what is changed in the network before it is compiled.
    monkeypatch.setattr(torch, "compile", lambda network, mode=None: network)
    network = networks[name]
    torch.manual_seed(1)
    clips = torch.randn(1, network.frames, 3, 64, 64)
    with torch.inference_mode():
        expected = network(clips)
        found = network.optimize()(clips)
    assert (found - expected).abs().max() <= 2e-4 * expected.abs().max()


def test_trn_repeats_its_answer_unless_relations_are_drawn_as_published(networks):
    network = networks["trn-multiscale"]
    clips = torch.randn(1, 4, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(clips), network(clips))
        published = build(
            replace(NARROW["trn-multiscale"], relation_draw="published", frames=5), classes=3
        ).eval()
        published.load_state_dict(published.state_dict())
        clips = torch.randn(1, 5, 3, 64, 64)
        answers = {round(float(published(clips)[0, 0]), 6) for _ in range(8)}
    assert len(answers) > 1


def test_relations_are_those_of_the_formula():
    torch.manual_seed(0)
    module = Relations(4, frames=4, multiscale=True, draw="same").eval()
    x = torch.randn(2, 4, 4)
    expected = []
    for size, layer in zip((4, 3, 2), module.layers, strict=True):
        subsets = module.get_buffer(f"subsets_{size}").tolist()
        assert len(subsets) == len({tuple(subset) for subset in subsets}) == min(3, {4: 1, 3: 4, 2: 6}[size])
        assert all(subset == sorted(subset) for subset in subsets)
        expected.append(sum(layer(x[:, subset].flatten(1).relu()).relu() for subset in subsets))
    torch.testing.assert_close(module(x), torch.cat(expected, 1))
    module.train()
    assert any(not torch.equal(module(x), module(x)) for _ in range(5))
    with pytest.raises(UserError, match="at least 2 frames, not 1"):
        Network2D(consensus="trn", frames=1)


def test_nearest_places_are_in_other_frames_and_by_distance():
    torch.manual_seed(0)
    points = torch.randn(2, 12, 5)  # 3 frames of 4 points
    found = nearest_in_other_frames(points, frames=3, count=3)
    for clip in range(2):
        for point in range(12):
            others = [i for i in range(12) if i // 4 != point // 4]
            order = sorted(
                others, key=lambda i: float((points[clip, i] - points[clip, point]).square().sum())
            )
            assert found[clip, point].tolist() == order[:3]
    assert nearest_in_other_frames(points, frames=1, count=3)[0, 5].tolist() == [5]


def test_correspondences_are_those_of_the_formula():
    torch.manual_seed(0)
    module = CorrespondenceProposal(8, frames=3, neighbours=2, shrink=False).double().eval()
    nn.init.uniform_(module.bn_final.weight, 0.5, 1.5)
    x = torch.randn(3, 8, 2, 3, dtype=torch.float64)
    rows = x.permute(0, 2, 3, 1).reshape(18, 8)
    places = torch.tensor(
        [(t / 3, y / 2, z / 3) for t in range(3) for y in range(2) for z in range(3)], dtype=torch.float64
    )
    found = nearest_in_other_frames(rows[None], frames=3, count=2)[0]

    def norm(values, bn):
        return values / (1 + 1e-3) ** 0.5 * bn.weight + bn.bias

    out = []
    for p in range(18):
        pairs = [torch.cat((places[q] - places[p], rows[p], rows[q])) for q in found[p].tolist()]
        hidden = [norm(module.conv0(pair), module.bn0).relu() for pair in pairs]
        hidden = [norm(module.conv1(one), module.bn1).relu() for one in hidden]
        out.append(norm(module.conv_final(torch.stack(hidden).amax(0)), module.bn_final))
    expected = torch.stack(out).view(3, 2, 3, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(module(x), expected)


def test_doubled_maps_have_means_between_values():
    assert double(torch.tensor([[[[0.0, 2.0]]]]))[0, 0].tolist() == [[0.0, 1.0, 2.0, 2.0]] * 2


def eval_layer_norm(x, norm):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


@torch.no_grad()
def test_graph_of_regions_is_that_of_the_formula():
    torch.manual_seed(0)
    graph = RegionGraph(6, layers=2).double()
    for parameter in graph.parameters():
        nn.init.normal_(parameter, std=0.5)
    maps = torch.randn(1, 6, 2, 4, 4, dtype=torch.float64)
    boxes = torch.tensor(
        [[[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], [[0, 0, 0.25, 1], [0.9, 0.9, 0.9, 0.9]]]], dtype=torch.float64
    )
    nodes = region_features(maps, boxes)[0].flatten(0, 1)[:3]  # the last box has no area
    scores = torch.tensor(
        [[float(graph.from_node.weight @ a @ (graph.to_node.weight @ b)) for b in nodes] for a in nodes],
        dtype=torch.float64,
    )
    alike, in_time, similarity = nodes, nodes, scores.softmax(1)
    ahead = torch.zeros(3, 3, dtype=torch.float64)
    ahead[0, 2] = 1.0  # the only overlap: rows are normalised
    for k in range(2):
        step = similarity @ alike @ graph.similar[k].weight.T
        alike = alike + eval_layer_norm(step, graph.norms_similar[k]).relu()
        step = ahead @ in_time @ graph.forward_in_time[k].weight.T
        step = step + ahead.T @ in_time @ graph.backward_in_time[k].weight.T
        in_time = in_time + eval_layer_norm(step, graph.norms_time[k]).relu()
    torch.testing.assert_close(graph(maps, boxes)[0], (alike + in_time).mean(0))


def test_overlaps_are_intersections_over_unions():
    first = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0], [0.3, 0.3, 0.3, 0.3]]])
    second = torch.tensor([[[0.25, 0.0, 0.75, 1.0]]])
    torch.testing.assert_close(overlaps(first, second)[0, :, 0], torch.tensor([0.5, 1 / 3, 0.0]))
    ahead, behind = graphs_in_time(torch.stack((first[0], first[0]))[None])
    assert ahead[0, :3, :3].abs().sum() == ahead[0, 3:].abs().sum() == 0
    torch.testing.assert_close(ahead[0, 0, 3:], torch.tensor([2 / 3, 1 / 3, 0.0]))
    torch.testing.assert_close(behind[0, 3, :3], torch.tensor([2 / 3, 1 / 3, 0.0]))


def test_features_of_a_region_are_bilinear_samples_of_its_cells():
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 1, 5, 6, dtype=torch.float64)
    box = (0.2, 0.1, 0.9, 0.6)

    def sample(x, y):  # pixel i is at (i + 0.5) / size
        column, row = min(max(x * 6 - 0.5, 0), 5), min(max(y * 5 - 0.5, 0), 4)
        x0, y0 = min(int(column), 4), min(int(row), 3)
        dx, dy = column - x0, row - y0
        here = maps[0, :, 0]
        top = here[:, y0, x0] * (1 - dx) + here[:, y0, x0 + 1] * dx
        low = here[:, y0 + 1, x0] * (1 - dx) + here[:, y0 + 1, x0 + 1] * dx
        return top * (1 - dy) + low * dy

    def cell(i, j):
        places = [(i * 2 + a + 0.5, j * 2 + b + 0.5) for a in range(2) for b in range(2)]
        values = [
            sample(box[0] + (box[2] - box[0]) * x / 14, box[1] + (box[3] - box[1]) * y / 14)
            for x, y in places
        ]
        return sum(values) / 4

    expected = torch.stack([cell(i, j) for i in range(7) for j in range(7)]).amax(0)
    found = region_features(maps, torch.tensor([[[box]]], dtype=torch.float64))[0, 0, 0]
    torch.testing.assert_close(found, expected)


def test_graph_takes_given_boxes_and_asks_for_them(networks):
    network = networks["graph"]
    clips = torch.randn(2, 4, 3, 64, 64)
    boxes = torch.tensor([[0.1, 0.1, 0.6, 0.9], [0.5, 0.2, 0.9, 0.8]]).expand(2, 2, -1, -1)
    with torch.inference_mode():
        assert not torch.equal(network(clips), network(clips, boxes=boxes))
        assert torch.equal(network(clips), network(clips, boxes=grid_boxes(2).expand(2, -1, -1, -1)))
        # Boxes without area stand for none.
        padded = torch.cat((boxes, torch.zeros(2, 2, 3, 4)), 2)
        torch.testing.assert_close(network(clips, boxes=padded), network(clips, boxes=boxes))
        assert network(clips, boxes=torch.zeros(2, 2, 1, 4)).isfinite().all()
    with pytest.raises(ValueError, match=r"expected boxes \[2, 2, R, 4\]"):
        network(clips, boxes=boxes[:, :1])
    given = build(replace(NARROW["graph"], boxes="given"), classes=3)
    with pytest.raises(UserError, match=r"looks at given regions.*--data\.boxes FILE"):
        given(clips)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda: ECO(frames=6), "multiple of 4"),
        (lambda: BLVNet(frames=5), "must be even"),
        (lambda: CPNet(width=7), "width must be even"),
    ],
)
def test_settings_that_do_not_fit_a_network_are_refused(make, cause):
    with pytest.raises(UserError, match=cause):
        make()


@pytest.mark.parametrize("name", ["tsn", "cpnet", "gst", "nl-tsm"])
def test_networks_whose_weights_fit_any_length_can_be_set_to_another(name):
    model = NARROW[name]
    assert model.any_clip_length
    torch.manual_seed(0)
    network = build(model, classes=3).eval()
    longer = build(replace(model, frames=6), classes=3).eval()
    longer.load_state_dict(network.state_dict())
    clips = torch.randn(1, 6, 3, 32, 32)
    with torch.inference_mode():
        network.set_frames(6)
        assert torch.equal(network(clips), longer(clips))


def test_networks_by_name_are_made():
    network = create_model("trn-bn-inception", classes=5, frames=2)
    assert isinstance(network, Network)
    assert network.input_spec.channels == "bgr"
    assert network.input_spec.mean == (104, 117, 128)


def test_search_in_bfloat16_finds_what_float32_finds():
    torch.manual_seed(0)
    points = (
        8 + torch.randn(1, 4 * 25, 16)
    ).bfloat16()  # far from zero, so that bfloat16 products are coarse
    with torch.autocast("cpu", torch.bfloat16):
        found = nearest_in_other_frames(points, frames=4, count=3)
    distance = (points.double()[:, :, None] - points.double()[:, None]).square().sum(-1)
    own = torch.arange(100) // 25
    distance[:, own[:, None] == own] = torch.inf
    assert (found == distance.topk(3, largest=False).indices).float().mean() > 0.99


def test_boxes_that_are_not_numbers_are_padding_and_do_not_crash_training():
    network = awake(RegionGraphNet(frames=4, width=8, features=16, non_local=False, boxes="given"))
    clips = torch.randn(1, 4, 3, 64, 64)
    boxes = torch.tensor([[0.1, 0.1, 0.6, 0.7], [0.4, 0.2, 0.9, 0.8]]).repeat(1, 2, 1, 1)
    empty, missing = boxes.clone(), boxes.clone()
    empty[0, 0, 1], missing[0, 0, 1] = 0, torch.nan
    torch.testing.assert_close(network(clips, boxes=missing), network(clips, boxes=empty))
    network(clips, boxes=missing).sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in network.parameters() if tensor.grad is not None)
