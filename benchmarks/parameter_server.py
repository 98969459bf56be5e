"""The figures of the parameter server; `servers/figures.py` says what they are.

    python benchmarks/parameter_server.py [--json] [--only push,pull,tcp,ray,rpc,crowd,kills] [--rounds 30]

Scripts of this folder see this file before the package of its name: to whoever imports it, it becomes the package.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":
    from servers.figures import main

    main()
else:
    del sys.modules[__name__]
    importlib.import_module(__name__)
