from .cases import measure as measure
from .report import heading as heading
from .report import table as table
from .report import verdict as verdict
from .report import write as write
from .setting import FEWEST_IMAGES as FEWEST_IMAGES
from .setting import Setting as Setting
