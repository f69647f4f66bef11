"""Images that were not trained on become figures.

`evaluate` is the verb; `measure` and `summarise` take a network or its logits.
"""

from softonce.evaluation.comparison import Comparison as Comparison
from softonce.evaluation.deciding import decide as decide
from softonce.evaluation.measuring import collect_logits as collect_logits
from softonce.evaluation.measuring import headline as headline
from softonce.evaluation.measuring import measure as measure
from softonce.evaluation.measuring import summarise as summarise
from softonce.evaluation.result import Evaluation as Evaluation
from softonce.evaluation.result import ScoredImage as ScoredImage
from softonce.evaluation.result import choices_of_val as choices_of_val
from softonce.evaluation.run import compare as compare
from softonce.evaluation.run import evaluate as evaluate
from softonce.evaluation.suspects import Suspect as Suspect
from softonce.evaluation.suspects import suspects_to_csv as suspects_to_csv
