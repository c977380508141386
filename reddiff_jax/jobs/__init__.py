"""Work on folders of pictures: measuring, restoring and scoring them, training on them. Nothing is printed.

``restore`` reads ahead, restores pictures of one shape in batches of one compiled size, writes each result as it comes,
and notes it in ``manifest.jsonl``: the same call continues an interrupted run, with the same bits. A picture's random
numbers depend on (seed, its name) and nothing else, so order, batch size and neighbours change it by rounding at most.
Several processes, each with its ``Share``, work on one folder without communicating.
"""

from reddiff_jax.jobs.borders import Border as Border
from reddiff_jax.jobs.demonstration import DemoResult as DemoResult
from reddiff_jax.jobs.demonstration import Show as Show
from reddiff_jax.jobs.demonstration import demonstrate as demonstrate
from reddiff_jax.jobs.demonstration import sample_emoji as sample_emoji
from reddiff_jax.jobs.demonstration import sample_photos as sample_photos
from reddiff_jax.jobs.errors import JobError as JobError
from reddiff_jax.jobs.events import Event as Event
from reddiff_jax.jobs.events import Failure as Failure
from reddiff_jax.jobs.events import Outcome as Outcome
from reddiff_jax.jobs.finding import Item as Item
from reddiff_jax.jobs.finding import find_inputs as find_inputs
from reddiff_jax.jobs.gallery import draw_gallery as draw_gallery
from reddiff_jax.jobs.inputs import GROWTH as GROWTH
from reddiff_jax.jobs.inputs import read_kernel as read_kernel
from reddiff_jax.jobs.manifest import Manifest as Manifest
from reddiff_jax.jobs.manifest import fingerprint as fingerprint
from reddiff_jax.jobs.measuring import measure_pictures as measure_pictures
from reddiff_jax.jobs.options import Options as Options
from reddiff_jax.jobs.options import settings_class as settings_class
from reddiff_jax.jobs.places import check_log as check_log
from reddiff_jax.jobs.places import check_out as check_out
from reddiff_jax.jobs.restoring import restore as restore
from reddiff_jax.jobs.scoring import Pairs as Pairs
from reddiff_jax.jobs.scoring import mean as mean
from reddiff_jax.jobs.scoring import pair as pair
from reddiff_jax.jobs.scoring import score as score
from reddiff_jax.jobs.scoring import write_scores as write_scores
from reddiff_jax.jobs.shares import Share as Share
from reddiff_jax.jobs.shares import detect_share as detect_share
from reddiff_jax.jobs.training import LEVELS as LEVELS
from reddiff_jax.jobs.training import ResidualArchitecture as ResidualArchitecture
from reddiff_jax.jobs.training import UNetArchitecture as UNetArchitecture
from reddiff_jax.jobs.training import train_prior as train_prior
from reddiff_jax.jobs.tuning import tune_settings as tune_settings
from reddiff_jax.jobs.words import sigma_in_words as sigma_in_words
