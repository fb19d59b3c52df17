"""The class factor f: by frequency, and by what the policy gets wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.rewards import ClassFactor, class_name

COUNTS = st.dictionaries(st.sampled_from(["normal", "defect", "defect: dent"]), st.integers(1, 10**6), min_size=1)


def sample(label, defect_type=None):
    return Sample(id="a.png", image="a.png", label=label, category="gear", object_name="gear", defect_type=defect_type)


def test_classes_by_label_and_by_defect_type():
    assert class_name(sample("normal")) == "normal"
    assert class_name(sample("defect", "dent")) == "defect"
    assert class_name(sample("defect", "dent"), "defect_type") == "defect: dent"
    assert class_name(sample("defect"), "defect_type") == "defect"
    assert class_name(sample("normal", "good"), "defect_type") == "normal"


def test_a_defect_type_called_normal_is_still_a_defect():
    assert class_name(sample("defect", "normal"), "defect_type") != "normal"


def test_unlabelled_and_missing_samples_are_refused():
    with pytest.raises(LriadError, match=r"a\.png: has no label"):
        ClassFactor.from_samples([sample("unknown")])
    with pytest.raises(LriadError, match="no labelled images"):
        ClassFactor.from_samples([])


def test_inverse_frequency_on_visa():
    """1200 defects and 9621 normal images: f = 10821 / (2 n)."""
    factor = ClassFactor({"defect": 1200, "normal": 9621}, "inverse_frequency")
    assert factor.factors(["defect", "normal", "defect"]) == pytest.approx([4.50875, 0.56236, 4.50875], abs=1e-5)


def test_inverse_frequency_by_defect_type():
    samples = [sample("normal")] * 6 + [sample("defect", "dent")] * 2 + [sample("defect", "scratch")]
    table = ClassFactor.from_samples(samples, "inverse_frequency", "defect_type").table()
    assert table == pytest.approx({"normal": 0.5, "defect: dent": 1.5, "defect: scratch": 3.0})


def test_a_lone_image_does_not_outweigh_the_rest():
    assert ClassFactor({"normal": 10_000, "defect": 1}, "inverse_frequency").factors(["defect"]) == [10.0]


@settings(deadline=None, max_examples=50)
@given(COUNTS)
def test_inverse_frequency_averages_one_over_the_images_where_no_bound_is_met(counts):
    table = ClassFactor(counts, "inverse_frequency").table()
    assert all(0.1 <= f <= 10 for f in table.values())
    if all(0.1 < f < 10 for f in table.values()):
        total = sum(counts.values())
        assert sum(counts[name] * f for name, f in table.items()) / total == pytest.approx(1)


def test_none_is_one_whatever_happens():
    factor = ClassFactor({"normal": 9, "defect": 1})
    factor.update(["defect"], [1.0])
    assert factor.factors(["normal", "defect"]) == [1.0, 1.0]


def test_dynamic_begins_alike_and_follows_the_errors():
    factor = ClassFactor({"normal": 9, "defect": 1}, "dynamic")
    assert factor.factors(["normal", "defect"]) == [1.0, 1.0]
    factor.update(["normal", "defect"], [0.0, 1.0])
    # e = 0.95 x 0.5 + 0.05 x error = 0.475 and 0.525; their mean is 0.5.
    assert factor.table() == pytest.approx({"normal": 0.95, "defect": 1.05})
    for _ in range(200):
        factor.update(["normal", "defect"], [0.0, 1.0])
    assert factor.table() == pytest.approx({"normal": 0.1, "defect": 2.0}, abs=1e-3)
    for _ in range(400):
        factor.update(["normal", "defect"], [0.5, 0.0])
    assert factor.table()["normal"] > factor.table()["defect"]


def test_dynamic_without_any_error_left_is_one():
    factor = ClassFactor({"normal": 1, "defect": 1}, "dynamic")
    factor.load_state_dict({"mode": "dynamic", "error_rates": {"normal": 0.0, "defect": 0.0}})
    assert factor.factors(["normal", "defect"]) == [1.0, 1.0]


@settings(deadline=None, max_examples=50)
@given(st.permutations([("normal", 0.0), ("normal", 1.0), ("defect", 0.5), ("defect", 1.0), ("defect", 0.25)]))
def test_an_update_does_not_depend_on_the_order_of_its_images(images):
    factor = ClassFactor({"normal": 2, "defect": 3}, "dynamic")
    factor.update([name for name, _ in images], [error for _, error in images])
    assert factor.error_rates["normal"] == pytest.approx(0.5)
    assert factor.error_rates["defect"] == pytest.approx(0.95**3 * 0.5 + (1 - 0.95**3) * 1.75 / 3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["normal", "defect"]), st.floats(0, 1)), max_size=30))
def test_dynamic_stays_within_its_bounds(images):
    factor = ClassFactor({"normal": 9, "defect": 1}, "dynamic")
    factor.update([name for name, _ in images], [error for _, error in images])
    assert all(0.1 <= f <= 10 for f in factor.table().values())
    assert all(0 <= rate <= 1 for rate in factor.error_rates.values())


def test_the_state_survives_a_checkpoint():
    factor = ClassFactor({"normal": 9, "defect": 1}, "dynamic")
    factor.update(["defect", "normal"], [0.9, 0.2])
    resumed = ClassFactor({"normal": 9, "defect": 1}, "dynamic")
    resumed.load_state_dict(json.loads(json.dumps(factor.state_dict())))
    assert resumed.table() == factor.table()
    factor.update(["defect"], [1.0])  # the saved state is a copy
    assert resumed.table() != factor.table()


@pytest.mark.parametrize(
    "state", [{}, {"mode": "none"}, {"mode": "dynamic", "error_rates": {"normal": 0.5, "defect: dent": 0.5}}]
)
def test_a_state_of_another_run_is_refused(state):
    factor = ClassFactor({"normal": 9, "defect": 1}, "dynamic")
    with pytest.raises(LriadError, match="class factor of the checkpoint"):
        factor.load_state_dict(state)
