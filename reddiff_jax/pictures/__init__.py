"""Picture files to arrays in [-1, 1] and back: what comes in goes out.

A picture file has pixels, and a ``Form``: size, bits, grayness, alpha, the number that is white, colour profile, EXIF.
``read`` gives both, ``read_picture`` the pixels alone, and ``write_picture(path, x, like=...)`` gives an image the form
of another picture. Pixels are float32 (H, W, C) with -1 = 0 (black) and 1 = white of the file.
"""

from reddiff_jax.pictures.arrays import ROUNDING_SIGMA as ROUNDING_SIGMA
from reddiff_jax.pictures.arrays import center_crop as center_crop
from reddiff_jax.pictures.arrays import shrink as shrink
from reddiff_jax.pictures.arrays import to_channels as to_channels
from reddiff_jax.pictures.arrays import to_float as to_float
from reddiff_jax.pictures.arrays import to_uint8 as to_uint8
from reddiff_jax.pictures.form import FLOAT as FLOAT
from reddiff_jax.pictures.form import FORMATS as FORMATS
from reddiff_jax.pictures.form import SUFFIXES as SUFFIXES
from reddiff_jax.pictures.form import Form as Form
from reddiff_jax.pictures.form import Picture as Picture
from reddiff_jax.pictures.form import PictureError as PictureError
from reddiff_jax.pictures.form import find_pictures as find_pictures
from reddiff_jax.pictures.reading import Raw as Raw
from reddiff_jax.pictures.reading import look as look
from reddiff_jax.pictures.reading import picture_size as picture_size
from reddiff_jax.pictures.reading import read as read
from reddiff_jax.pictures.reading import read_one as read_one
from reddiff_jax.pictures.reading import read_picture as read_picture
from reddiff_jax.pictures.reading import read_raw as read_raw
from reddiff_jax.pictures.reading import read_uint8 as read_uint8
from reddiff_jax.pictures.writing import FAR as FAR
from reddiff_jax.pictures.writing import write_picture as write_picture
