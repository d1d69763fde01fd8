"""Real tuning tasks: models of scikit-learn on the data sets that it ships, cross-validated, a loss for each point."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from benchmarks.optimum_functions import Task
from idds_core import Categorical, Integer, Log, Ordered, Real, Space

__all__ = ["TUNING"]


@cache
def _data(name: str, most: int) -> tuple[Any, Any]:
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:most]
    return StandardScaler().fit_transform(X[rows]), y[rows]


def _loss(model: Any, data: str, scoring: str, most: int = 400) -> float:
    """Minus the mean score of three folds."""
    from sklearn.model_selection import cross_val_score

    X, y = _data(data, most)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of models that have not converged: that is what is compared
        scores = cross_val_score(model, X, y, cv=3, scoring=scoring, error_score=np.nan)
    found = -float(np.mean(scores))
    return found if np.isfinite(found) else 1e3


def svc_digits(p: Mapping[str, Any]) -> float:
    from sklearn.svm import SVC

    return _loss(SVC(C=p["c"], gamma=p["gamma"]), "digits", "accuracy")


def svc_kernels(p: Mapping[str, Any]) -> float:
    from sklearn.svm import SVC

    model = SVC(C=p["c"], kernel=p["kernel"], gamma=p["gamma"], degree=p["degree"], coef0=p["coef0"])
    return _loss(model, "breast_cancer", "roc_auc")


def pca_svc(p: Mapping[str, Any]) -> float:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    model = make_pipeline(PCA(p["components"], random_state=0), SVC(C=p["c"], gamma=p["gamma"]))
    return _loss(model, "digits", "accuracy")


def knn(p: Mapping[str, Any]) -> float:
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(p["neighbours"], weights=p["weights"], p=p["power"])
    return _loss(model, "digits", "neg_log_loss")


def tree(p: Mapping[str, Any]) -> float:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(criterion=p["criterion"], max_depth=p["depth"], min_samples_leaf=p["leaf"],
                                   max_features=p["share"], ccp_alpha=p["alpha"], random_state=0)  # fmt: skip
    return _loss(model, "breast_cancer", "neg_log_loss")


def elastic_net(p: Mapping[str, Any]) -> float:
    from sklearn.linear_model import ElasticNet

    return _loss(ElasticNet(alpha=p["alpha"], l1_ratio=p["share"]), "diabetes", "neg_mean_squared_error")


def kernel_ridge(p: Mapping[str, Any]) -> float:
    from sklearn.kernel_ridge import KernelRidge

    model = KernelRidge(alpha=p["alpha"], kernel=p["kernel"], gamma=p["gamma"], degree=p["degree"])
    return min(_loss(model, "diabetes", "neg_mean_squared_error"), 1e6)


def svr(p: Mapping[str, Any]) -> float:
    from sklearn.svm import SVR

    return _loss(SVR(C=p["c"], gamma=p["gamma"], epsilon=p["epsilon"]), "diabetes", "neg_mean_squared_error")


def sgd(p: Mapping[str, Any]) -> float:
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss=p["loss"], penalty=p["penalty"], alpha=p["alpha"], eta0=p["rate"], max_iter=20, tol=None,
                          learning_rate=p["schedule"], random_state=0)  # fmt: skip
    return _loss(model, "digits", "accuracy")


def boosting(p: Mapping[str, Any]) -> float:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(learning_rate=p["rate"], max_depth=p["depth"], min_samples_leaf=p["leaf"],
                                      subsample=p["share"], n_estimators=p["trees"], random_state=0)  # fmt: skip
    return _loss(model, "diabetes", "neg_mean_squared_error")


def forest(p: Mapping[str, Any]) -> float:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(p["trees"], max_depth=p["depth"], max_features=p["share"], criterion=p["criterion"],
                                   min_samples_leaf=p["leaf"], random_state=0)  # fmt: skip
    return _loss(model, "wine", "neg_log_loss")


def mlp(p: Mapping[str, Any]) -> float:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((p["width"],), activation=p["activation"], alpha=p["alpha"], learning_rate_init=p["rate"],
                          batch_size=p["batch"], max_iter=25, random_state=0)  # fmt: skip
    return _loss(model, "iris", "neg_log_loss")


def qda(p: Mapping[str, Any]) -> float:
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    return _loss(QuadraticDiscriminantAnalysis(reg_param=p["shrink"]), "wine", "neg_log_loss")


def choice(p: Mapping[str, Any]) -> float:
    """Which model, with which parameters."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    model = {
        "svc": lambda: SVC(C=p["c"], gamma=p["gamma"]),
        "knn": lambda: KNeighborsClassifier(p["neighbours"]),
        "tree": lambda: DecisionTreeClassifier(max_depth=p["depth"], min_samples_leaf=p["leaf"], random_state=0),
        "logistic": lambda: LogisticRegression(C=p["strength"], max_iter=50),
    }[p["model"]]()
    return _loss(model, "digits", "accuracy")


def _task(name: str, value: Any, **parameters: Any) -> Task:
    return Task(name, Space(parameters), value, kind="tuning")


TUNING: tuple[Task, ...] = (
    _task("SVC on digits", svc_digits, c=Log(1e-2, 1e3), gamma=Log(1e-6, 1)),
    _task("SVC with kernels on cancer", svc_kernels, c=Log(1e-3, 1e3), kernel=Categorical(["rbf", "poly", "sigmoid"]),
          gamma=Log(1e-5, 1), degree=Integer(2, 5, when="kernel == 'poly'"),
          coef0=Real(0, 1, when="kernel != 'rbf'")),
    _task("PCA and SVC on digits", pca_svc, components=Integer(2, 50), c=Log(1e-2, 1e3), gamma=Log(1e-6, 1)),
    _task("k neighbours on digits", knn, neighbours=Integer(1, 40), weights=Categorical(["uniform", "distance"]),
          power=Real(1, 5)),
    _task("tree on cancer", tree, criterion=Categorical(["gini", "entropy"]), depth=Integer(1, 15),
          leaf=Integer(1, 40), share=Real(0.1, 1), alpha=Log(1e-5, 0.1)),
    _task("elastic net on diabetes", elastic_net, alpha=Log(1e-4, 100), share=Real(0.01, 1)),
    _task("kernel ridge on diabetes", kernel_ridge, alpha=Log(1e-4, 100),
          kernel=Categorical(["rbf", "laplacian", "polynomial"]), gamma=Log(1e-4, 1),
          degree=Integer(2, 4, when="kernel == 'polynomial'")),
    _task("SVR on diabetes", svr, c=Log(1e-1, 1e4), gamma=Log(1e-5, 1), epsilon=Log(1e-2, 100)),
    _task("linear SGD on digits", sgd, loss=Categorical(["hinge", "log_loss", "modified_huber"]),
          penalty=Categorical(["l2", "l1"]), alpha=Log(1e-7, 1),
          schedule=Categorical(["optimal", "constant", "invscaling"]),
          rate=Log(1e-4, 10, when="schedule != 'optimal'")),
    _task("boosting on diabetes", boosting, rate=Log(1e-3, 1), depth=Integer(1, 6), leaf=Integer(1, 40),
          share=Real(0.3, 1), trees=Ordered([10, 20, 40])),
    _task("forest on wine", forest, trees=Ordered([5, 10, 20]), depth=Integer(1, 12), share=Real(0.05, 1),
          criterion=Categorical(["gini", "entropy"]), leaf=Integer(1, 20)),
    _task("neural net on iris", mlp, width=Ordered([4, 8, 16, 32]),
          activation=Categorical(["relu", "tanh", "logistic"]), alpha=Log(1e-6, 1), rate=Log(1e-4, 1),
          batch=Ordered([8, 16, 32, 64])),
    _task("QDA on wine", qda, shrink=Real(0, 1)),
    _task("model choice on digits", choice, model=Categorical(["svc", "knn", "tree", "logistic"]),
          c=Log(1e-2, 1e3, when="model == 'svc'"), gamma=Log(1e-6, 1, when="model == 'svc'"),
          neighbours=Integer(1, 40, when="model == 'knn'"), depth=Integer(1, 20, when="model == 'tree'"),
          leaf=Integer(1, 40, when="model == 'tree'"), strength=Log(1e-4, 1e3, when="model == 'logistic'")),
)  # fmt: skip
