"""Settings of solvers: one class a solver, the tuned defaults as one table, and files of tuned settings.

What settings suit depends on what an operator measures (``Kind``) and on the noise; nothing here knows a task's name.
``default_solver(prior, problem)`` is the choice that the command line makes, too.
"""

from reddiff_jax.settings.base import EVALUATIONS as EVALUATIONS
from reddiff_jax.settings.base import INITS as INITS
from reddiff_jax.settings.base import WORDS as WORDS
from reddiff_jax.settings.base import Choice as Choice
from reddiff_jax.settings.base import Range as Range
from reddiff_jax.settings.base import Rows as Rows
from reddiff_jax.settings.base import Settings as Settings
from reddiff_jax.settings.base import field_name as field_name
from reddiff_jax.settings.base import interpolate as interpolate
from reddiff_jax.settings.base import rounded as rounded
from reddiff_jax.settings.base import word as word
from reddiff_jax.settings.defaults import PUBLISHED_IS_BETTER as PUBLISHED_IS_BETTER
from reddiff_jax.settings.defaults import SETTINGS as SETTINGS
from reddiff_jax.settings.defaults import TUNED as TUNED
from reddiff_jax.settings.defaults import by_name as by_name
from reddiff_jax.settings.defaults import check_serves as check_serves
from reddiff_jax.settings.defaults import default_name as default_name
from reddiff_jax.settings.defaults import default_settings as default_settings
from reddiff_jax.settings.defaults import default_solver as default_solver
from reddiff_jax.settings.defaults import noise_level as noise_level
from reddiff_jax.settings.file import SettingsFile as SettingsFile
from reddiff_jax.settings.file import SettingsFileError as SettingsFileError
from reddiff_jax.settings.file import read_settings as read_settings
from reddiff_jax.settings.kinds import Kind as Kind
from reddiff_jax.settings.kinds import kind_of as kind_of
from reddiff_jax.settings.latents import FOR_LATENTS as FOR_LATENTS
from reddiff_jax.settings.latents import solver_for as solver_for
from reddiff_jax.settings.noise_aware import NoiseAwareSettings as NoiseAwareSettings
from reddiff_jax.settings.red import RedSettings as RedSettings
from reddiff_jax.settings.reddiff import ReddiffSettings as ReddiffSettings
from reddiff_jax.settings.reddiff_var import ReddiffVarSettings as ReddiffVarSettings
from reddiff_jax.settings.samplers import DapsSettings as DapsSettings
from reddiff_jax.settings.samplers import DdnmSettings as DdnmSettings
from reddiff_jax.settings.samplers import DdrmSettings as DdrmSettings
from reddiff_jax.settings.samplers import DiffpirSettings as DiffpirSettings
from reddiff_jax.settings.samplers import DpsSettings as DpsSettings
from reddiff_jax.settings.samplers import McgSettings as McgSettings
from reddiff_jax.settings.samplers import MmpsSettings as MmpsSettings
from reddiff_jax.settings.samplers import PigdmSettings as PigdmSettings
from reddiff_jax.settings.tweedie import TweedieSettings as TweedieSettings
