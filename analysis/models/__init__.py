"""Models that correct a public forecast, such as a market's price, where a correction is proven to help.

trained = train(rows, splits.time_ordered(rows.spans, 0.3), seed=1)
probability = trained.model.predict(rows.take(trained.split.test))
folder = registry.save(trained.model, home / "models", papers)
"""

from analysis.errors import extra_packages

with extra_packages("analysis.models"):
    from analysis.models.boost import Params
    from analysis.models.model import Model, ModelMetadata
    from analysis.models.search import Budget
    from analysis.models.train import Trained, no_holdout, train

__all__ = ["Budget", "Model", "ModelMetadata", "Params", "Trained", "no_holdout", "train"]
