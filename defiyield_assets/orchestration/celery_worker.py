"""Celery's application as workers load it: `celery -A defiyield_assets.orchestration.celery_worker worker`.

Lives here: the tasks by which Dagster executes steps. Not here: what runs send (executors.py) or what a step does.
Nothing imports this module but Celery. `dagster-celery worker start -y` would write the broker's password into a file.
"""

from dagster_celery.executor import CeleryExecutor
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task

from defiyield_assets.orchestration.executors import CODE_LOCATION, celery_options
from defiyield_assets.settings import load_settings

app = make_app(CeleryExecutor.for_cli(**celery_options(load_settings())).app_args())  # type: ignore[no-untyped-call]
execute_plan = create_task(app)  # type: ignore[no-untyped-call]
app.conf.imports = (CODE_LOCATION,)  # loaded once, before a worker forks its processes
