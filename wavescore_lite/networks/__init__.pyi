from .designs import DESIGNS as DESIGNS
from .files import load_network as load_network
from .files import save_network as save_network
from .files import trained as trained
from .files import training_log as training_log
from .networks import SIGMA_RANGE as SIGMA_RANGE
from .networks import Network as Network
from .networks import preconditioning as preconditioning
