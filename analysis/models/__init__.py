"""Models that correct a forecast everybody can read, such as a market's price, where they have shown to know better.

trained = train(rows, splits.time_ordered(rows.spans, 0.3), seed=1)
probability = trained.model.predict(rows.take(trained.split.test))
folder = registry.save(trained.model, home / "models", papers)
"""

from analysis.models.boost import Params
from analysis.models.model import Facts, Model
from analysis.models.search import Budget
from analysis.models.train import Trained, everything, train

__all__ = ["Budget", "Facts", "Model", "Params", "Trained", "everything", "train"]
