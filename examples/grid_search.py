"""A scikit-learn grid search on leased processors: joblib's backend is the only change."""

from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import worldos  # noqa: F401  (joblib knows the name from now on)

if __name__ == "__main__":
    images, digits = load_digits(return_X_y=True)
    search = GridSearchCV(SVC(), {"C": [1, 10], "gamma": [0.0005, 0.001]}, cv=3)
    with parallel_config("worldos", n_jobs=2):
        search.fit(images[:800], digits[:800])
    print(f"best: {search.best_params_}, right in {search.best_score_:.1%}")
