"""Run a job: `python docker/trainer train` or `score`, over the tree that `SAGEMAKER_BASE_DIR` names."""

import sys

from job import main

sys.exit(main())
