"""Sends requests to the fake with LaunchDarkly's own client, and prints what the client returns."""

import json
import sys

from launchdarkly_api import AccountUsageBetaApi, ApiClient, Configuration, MetricsApi
from launchdarkly_api.exceptions import ApiException

url, token, other_token, hour = sys.argv[1:]
project, environment = "sample-project", "test"


def api(kind, token=token, version=None):
    client = ApiClient(Configuration(host=url, api_key={"ApiKey": token}))
    if version:  # otherwise, the client sets a date
        client.set_default_header("LD-API-Version", version)
    return kind(client)


def list_metrics(project=project, token=token, **parameters):
    return api(MetricsApi, token).get_metrics(project, **parameters)


def usage(version="beta", granularity="hourly"):
    return api(AccountUsageBetaApi, version=version).get_experimentation_events_usage(
        project_key=project,
        environment_key=environment,
        group_by="eventKey",
        aggregation_type="incremental",
        granularity=granularity,
        var_from=hour,
        to=str(int(hour) + 2 * 3600 * 1000),
    )


def keys(page):
    return " ".join(m.key for m in page.items)


metrics = {}
for number in range(1, 4):
    page = list_metrics(limit=2, offset=len(metrics), sort="createdAt")
    print(f"page {number} of {page.total_count} metrics: {keys(page)}")
    metrics.update((m.key, m) for m in page.items)
used = list_metrics(filter="eventKind equals custom,metricUsedIn equals any")
print(f"used custom metrics: {keys(used)}")

m = metrics["revenue"]
print(
    f"revenue: {m.name}, {m.event_key}, numeric {m.is_numeric}, units {m.randomization_units}, "
    f"data source {m.data_source.key}, experiments {m.active_experiment_count}"
)
members = [dict(sorted(v.items())) for v in m.filters.values]
print(f"revenue: filter {m.filters.op} {members}")
m = metrics["signup"]
print(f"signup: units {m.analysis_units}, archived {m.archived}")
print(f"warehouse: data source {metrics['warehouse'].data_source.key}")
print(f"old: archived {metrics['old'].archived}")

counts = usage()
totals = {
    series["eventKey"]: sum(point.get(str(i), 0) for point in counts.series)
    for i, series in enumerate(counts.metadata)
}
print(f"counted: {dict(sorted(totals.items()))}")

for name, request in {
    "limit too large": lambda: list_metrics(limit=51),
    "unknown filter": lambda: list_metrics(filter="kind equals custom"),
    "unknown granularity": lambda: usage(granularity="weekly"),
    "unknown token": lambda: list_metrics(token="api-unknown"),
    "token of another role": lambda: list_metrics(token=other_token),
    "no beta header": lambda: usage(version=None),
    "unknown project": lambda: list_metrics(project="other"),
}.items():
    try:
        print(f"{name}: no error: {request()}")
    except ApiException as e:
        # Only the documented statuses have a model.
        print(f"{name}: {type(e).__name__} {e.status} {json.loads(e.body)['code']} {type(e.data).__name__}")
