"""scikit-learn estimators as heads: same predictions as the estimator, isolated failures, safe loading."""

import logging
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, SVR

from features.errors import ConfigError, RunError, WeightsError
from heads.kinds.sklearn import head as sklearn_head
from heads.kinds.sklearn.head import SklearnOptions, check_estimator
from heads.splits.protocol import Split
from heads.training.checkpoint import load_head, save_head
from heads.training.train import train_head

pytestmark = pytest.mark.thorough

N = 72
FOLD = np.arange(N) // 3 % 3
SPLITS = [Split(k, *(np.flatnonzero((k + j) % 3 == FOLD) for j in (2, 1, 0))) for k in range(2)]
OTHERS = '''
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

class Odd(ClassifierMixin, BaseEstimator):
    """An estimator of another package that overwrites its input, and predicts NaN or raises on demand."""

    def __init__(self, mood="fine"):
        self.mood = mood

    def fit(self, X, y):
        if self.mood == "broken":
            raise ArithmeticError("in a broken mood")
        self.classes_, self.mean_ = np.unique(y)[::-1], np.stack([X[y == c].mean(0) for c in np.unique(y)[::-1]])
        X[:] = 0
        return self

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]

    def predict_proba(self, X):
        near = np.exp(-((X[:, None] - self.mean_) ** 2).mean(2))
        return near / near.sum(1, keepdims=True) * (np.nan if self.mood == "nan" else 1)

class Sure(Odd):
    predict_proba = property()

    def predict(self, X):
        return self.classes_[((X[:, None] - self.mean_) ** 2).mean(2).argmin(1)]

def helper():
    pass
'''


@pytest.fixture(scope="module", autouse=True)
def third_party(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    (folder / "oddities.py").write_text(OTHERS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


def targets_of(task):
    classes = np.arange(N) % 3
    if task == "multi-label":
        return np.stack([classes == 0, classes > 0, np.arange(N) % 5 < 2], 1).astype(np.float32)
    return classes if task == "single-label" else classes * 40.0 + 7 + np.random.default_rng(1).normal(size=N)


def features(n_layers=1, noise=0.7):
    rng = np.random.default_rng(0)
    signal = np.stack([np.arange(N) % 3, np.arange(N) % 5], 1)[:, None]
    return (rng.normal(size=(N, n_layers, 6)) * noise + np.tile(signal, 3) * 2 + 5).astype(np.float32)


def train(estimator, parameters=None, task="single-label", seeds=(0, 1), x=None, targets=None, splits=SPLITS, **kwargs):
    options = SklearnOptions(estimator=estimator, parameters=parameters or {})
    targets = targets_of(task) if targets is None else targets
    x = features() if x is None else x
    n = {"single-label": 3, "multi-label": 3, "regression": 1}[task]
    return train_head(options, x, targets, splits, list(seeds), n_classes=n, task=task, **kwargs)


def standardised(split, x):
    rows = x[split.train, 0].astype(np.float64)
    return (x[:, 0] - rows.mean(0)) / rows.std(0)


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def test_probabilities_are_the_estimators_own():
    split, y, rows = SPLITS[0], targets_of("single-label"), standardised(SPLITS[0], features())
    own = LogisticRegression(C=0.3).fit(rows[split.train], y[split.train]).predict_proba(rows[split.test])
    fit = train("sklearn.linear_model.LogisticRegression", {"C": 0.3}).fits[0]
    assert np.allclose(fit.probabilities, own, atol=1e-6)
    scores = SVC(C=2).fit(rows[split.train], y[split.train]).decision_function(rows[split.test])
    fit = train("sklearn.svm.SVC", {"C": 2}).fits[0]
    assert np.allclose(fit.probabilities, softmax(scores), atol=1e-4)  # rows are standardised in float32


def test_an_estimator_that_only_predicts_is_sure():
    fit = train("oddities.Sure").fits[0]
    y = targets_of("single-label")[fit.test_rows]
    assert np.array_equal(np.unique(fit.probabilities), [0, 1]) and (fit.probabilities.argmax(1) == y).mean() > 0.7


def test_columns_follow_the_labels_whatever_order_the_estimator_has():
    result = train("oddities.Odd")
    y = targets_of("single-label")
    right = np.mean([(fit.probabilities.argmax(1) == y[fit.test_rows]).mean() for fit in result.fits])
    assert right > 0.7


@pytest.mark.parametrize(
    "estimator",
    [
        "sklearn.neighbors.KNeighborsClassifier",  # a list of arrays
        "sklearn.ensemble.ExtraTreesClassifier",
        "sklearn.neural_network.MLPClassifier",  # one array
        "sklearn.linear_model.LogisticRegression",  # one per label
        "sklearn.svm.SVC",  # by its decision function
        "sklearn.linear_model.RidgeClassifier",
    ],
)
def test_several_labels_are_learnt_each(estimator):
    small = {"n_estimators": 20} if "Trees" in estimator else {"max_iter": 60} if "MLP" in estimator else {}
    y = targets_of("multi-label")
    for fit in train(estimator, small, "multi-label", seeds=[0]).fits:
        assert fit.probabilities.shape == (len(fit.test_rows), 3)
        assert ((fit.probabilities > 0.5) == y[fit.test_rows]).mean() > 0.8
        if "KNeighbors" in estimator:
            split = SPLITS[fit.fold]
            rows = standardised(split, features())
            alone = [
                KNeighborsClassifier().fit(rows[split.train], y[split.train, label]).predict_proba(rows[split.test])
                for label in range(3)
            ]
            assert np.allclose(fit.probabilities, np.stack([each[:, 1] for each in alone], 1))


def test_numbers_are_standardised_for_the_fit_and_come_back_on_their_own_scale():
    x, y = features(), targets_of("regression")
    fit = train("sklearn.svm.SVR", {"C": 3}, "regression").fits[0]
    split = SPLITS[0]
    rows, mean, scale = standardised(split, x), y[split.train].mean(), y[split.train].std()
    wanted = SVR(C=3).fit(rows[split.train], (y[split.train] - mean) / scale).predict(rows[split.test]) * scale + mean
    assert np.allclose(fit.probabilities[:, 0], wanted, rtol=1e-5)
    refitted = train("sklearn.svm.SVR", {"C": 3}, "regression", refit=True).fits[0]
    assert not np.allclose(refitted.probabilities, fit.probabilities)


def test_a_seed_reaches_random_state_unless_the_user_set_it():
    forest = "sklearn.ensemble.ExtraTreesClassifier"
    first, second = train(forest, {"n_estimators": 3}).fits[:2]
    assert not np.array_equal(first.probabilities, second.probabilities)
    fixed = train(forest, {"n_estimators": 3, "random_state": 5}).fits
    assert fixed[0].state is fixed[1].state and (fixed[0].seed, fixed[1].seed) == (0, 1)
    assert np.array_equal(train(forest, {"n_estimators": 3}).fits[1].probabilities, second.probabilities)


def test_nothing_chosen_or_trained_depends_on_test_rows():
    grid = {"C": [0.1, 1, 10]}
    x, y = features(n_layers=2, noise=3.0), targets_of("single-label")
    before = train("sklearn.svm.SVC", grid, x=x, seeds=[0])
    test = SPLITS[0].test
    other_x, other_y = x.copy(), y.copy()
    other_x[test] *= -3
    other_y[test] = (y[test] + 1) % 3
    for after in (train("sklearn.svm.SVC", grid, x=other_x), train("sklearn.svm.SVC", grid, x=x, targets=other_y)):
        assert before.candidates[0, 0] == after.candidates[0, 0]
        assert before.candidates[1, 0] != after.candidates[1, 0]
        one, other = before.fits[0], after.fits[0]
        assert (one.configuration, one.layer) == (other.configuration, other.layer)
        assert all(np.array_equal(one.state[name], other.state[name]) for name in one.state)


def test_fits_side_by_side_in_processes_are_the_same_to_the_bit(monkeypatch):
    grid = {"C": [0.1, 1.0], "tol": 1e-6}
    alone = train("sklearn.linear_model.LogisticRegression", grid)
    monkeypatch.setattr(sklearn_head, "PARALLEL_S", 0.0)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    together = train("sklearn.linear_model.LogisticRegression", grid)
    assert alone.candidates == together.candidates
    for one, other in zip(alone.fits, together.fits, strict=True):
        assert np.array_equal(one.state["estimator"], other.state["estimator"])


def test_a_fit_that_fails_is_no_candidate_and_the_others_go_on(caplog):
    with caplog.at_level(logging.INFO):
        result = train("oddities.Odd", {"mood": ["nan", "broken", "fine"]})
    for scores in result.candidates.values():
        assert [np.isfinite(score.valid_loss) for score in scores] == [False, False, True]
    assert [fit.configuration["mood"] for fit in result.fits] == ["fine"] * 4
    assert caplog.messages == ["Odd: 4 of 6 fits failed; the first: it predicts NaN or infinity"]
    with pytest.raises(RunError, match="Odd: every fit failed; the first: ArithmeticError: in a broken mood"):
        train("oddities.Odd", {"mood": ["broken", "nan"]})
    no_valid = [Split(0, SPLITS[0].train, SPLITS[0].train[:0], SPLITS[0].test)]
    with pytest.raises(RunError, match="broken mood"):
        train("oddities.Odd", {"mood": "broken"}, splits=no_valid)


def test_warnings_of_all_fits_are_one_note(caplog):
    with caplog.at_level(logging.INFO):
        train("sklearn.linear_model.LogisticRegression", {"max_iter": [1, 2]}, refit=True)
    assert len(caplog.messages) == 1
    assert "8 of 8 fits warned; ConvergenceWarning" in caplog.text


@pytest.mark.parametrize(
    ("estimator", "parameters", "task", "message"),
    [
        ("sklearn.svm.SVCC", {}, "single-label", r"estimator: sklearn.svm.SVCC: sklearn.svm has no 'SVCC', .* 'SVC'\?"),
        ("sklearn.smv.SVC", {}, "single-label", r"estimator: sklearn.smv.SVC: cannot import sklearn.smv"),
        ("oddities.helper", {}, "single-label", "oddities.helper: a function is no estimator"),
        ("sklearn.preprocessing.StandardScaler", {}, "single-label", "a class without `predict` is no estimator"),
        ("subprocess.Popen", {}, "single-label", "is no estimator"),
        ("sklearn.svm.SVC", {"c": 1}, "single-label", r"parameters.c: SVC takes no 'c', did you mean 'C'\?"),
        ("sklearn.multiclass.OneVsRestClassifier", {}, "single-label", "parameters: .*'estimator'"),
        ("sklearn.svm.SVR", {}, "single-label", "SVR is a regressor, but the labels are classes"),
        ("sklearn.svm.SVC", {}, "regression", "SVC is a classifier, but the labels are numbers"),
    ],
)
def test_what_cannot_be_built_is_named_before_any_training(estimator, parameters, task, message):
    with pytest.raises(ConfigError, match=message):
        check_estimator(SklearnOptions(estimator=estimator, parameters=parameters), task)


def saved(path, fit):
    about = {"labels": ["a", "b", "c"], "backbone": {}, "pooling": ["mean"], "layer": 0, "configuration": {}}
    save_head(path, fit.state, head="sklearn", **about)
    return path


@pytest.mark.parametrize(
    "estimator",
    ["sklearn.svm.SVC", "sklearn.neural_network.MLPClassifier", "sklearn.gaussian_process.GaussianProcessClassifier"],
)
def test_a_saved_head_predicts_what_was_scored(tmp_path, estimator):
    small = {"max_iter": 200, "tol": 1.0} if "MLP" in estimator else {}
    fit = train(estimator, small).fits[0]
    head = load_head(saved(tmp_path / "head.safetensors", fit))
    assert np.array_equal(head.predict(features()[fit.test_rows, 0]), fit.probabilities)
    with pytest.raises(ValueError, match=r"needs \(n, 6\)"):
        head.predict(np.zeros((2, 7)))


@pytest.mark.parametrize(
    ("estimator", "name"),
    [("oddities.Odd", "oddities.Odd"), ("sklearn.tree.DecisionTreeClassifier", "sklearn.tree._tree.Tree")],
)
def test_types_that_a_crafted_file_could_misuse_have_to_be_allowed(tmp_path, estimator, name):
    fit = train(estimator).fits[0]
    path = saved(tmp_path / "head.safetensors", fit)
    with pytest.raises(
        WeightsError, match=rf"head.safetensors: contains {name}, .*load_head\(path, trusted=\['{name}'\]"
    ):
        load_head(path)
    head = load_head(path, trusted=[name])
    assert np.array_equal(head.predict(features()[fit.test_rows, 0]), fit.probabilities)
    state = {**fit.state, "estimator": fit.state["estimator"][:-30]}
    save_head(path, state, head="sklearn", labels=["a"], backbone={}, pooling=["mean"], layer=0, configuration={})
    with pytest.raises(WeightsError, match="the estimator cannot be read"):
        load_head(path)
