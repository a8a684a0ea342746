package config

// help maps the path of each section and key to its description. The entries are in struct order.
// [WriteExample] and [WriteSchema] write the descriptions, followed by the bounds. fileHelp
// describes a secret's file key.
var help = map[string]string{
	"kafka": "Kafka cluster, topics, and consumer group.",
	"kafka.brokers": "Brokers for the initial connection, each as host:port. " +
		"The client discovers the other brokers from them.",
	"kafka.topics": "Topics to read.",
	"kafka.group": "Consumer group. Replicas with the same group share the partitions. " +
		"A new group starts at start_at. Events already delivered by another group then count again.",
	"kafka.start_at": "Position at which a partition without a committed offset starts: " +
		"earliest, latest, or a time such as 2026-01-31T00:00:00Z. " +
		"Each partition's position is resolved once, when the partition is first assigned.",
	"kafka.instance_id": "ID of this replica for static membership, unique to each replica. " +
		"With an ID, a restart within session_timeout moves no partitions. Empty means dynamic membership.",
	"kafka.client_id": "Client ID that the brokers use for quotas, metrics, and logs.",
	"kafka.rack": "Rack or availability zone of this process. " +
		"If the brokers support it, each partition is read from the nearest broker that has a replica. " +
		"Empty means that each partition is read from its leader.",
	"kafka.rebalance_protocol": "Group protocol: classic (cooperative-sticky) or consumer (KIP-848). " +
		"The consumer protocol requires Kafka 4.0 or later on all brokers; 4.3 or later is recommended. " +
		"With many replicas, it rebalances faster than classic, but it detects crashes later; see session_timeout.",
	"kafka.session_timeout": "Time without heartbeats after which the group removes a replica. " +
		"A shorter timeout moves the partitions of a crashed replica sooner, " +
		"but also removes slow replicas more often. " +
		"With the consumer protocol, the brokers' setting applies instead, 45s by default.",

	"kafka.tls":           "TLS for connections to the brokers. The files are read again for each new connection.",
	"kafka.tls.enabled":   "Whether to use TLS, version 1.2 or later.",
	"kafka.tls.ca_file":   "PEM file with the trusted CA certificates. Empty means the system's CA certificates.",
	"kafka.tls.cert_file": "PEM file with the client certificate, for mutual TLS. Empty means no client certificate.",
	"kafka.tls.key_file":  "PEM file with the private key for cert_file.",
	"kafka.tls.server_name": "Name that the brokers' certificates must match. " +
		"Empty means the host in each broker's address.",

	"kafka.sasl": "SASL authentication to the brokers. " +
		"The files of password and token are read again for each new connection.",
	"kafka.sasl.mechanism": "SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, or AWS_MSK_IAM. " +
		"Empty means no authentication. AWS_MSK_IAM requires TLS.",
	"kafka.sasl.username": "Username for PLAIN and SCRAM.",
	"kafka.sasl.password": "Password for PLAIN and SCRAM.",
	"kafka.sasl.token":    "Bearer token for OAUTHBEARER.",
	"kafka.sasl.extensions": "SASL extensions for OAUTHBEARER. " +
		"Confluent Cloud requires logicalCluster and identityPoolId.",

	"kafka.sasl.oauth": "Requests for OAUTHBEARER tokens, with the OAuth 2.0 client credentials grant. " +
		"A token is replaced after four fifths of its lifetime. If this fails, the old token is used until it expires.",
	"kafka.sasl.oauth.token_url": "URL of the issuer's token endpoint. Must use https, unless the host is a loopback " +
		"address. A token whose lifetime the issuer omits is considered valid for 1m. " +
		"The environment variables HTTPS_PROXY and, except on macOS, SSL_CERT_FILE are respected. " +
		"Empty means that the token is set by kafka.sasl.token.",
	"kafka.sasl.oauth.client_id": "Client ID of this program at the issuer. Required if token_url is set.",
	"kafka.sasl.oauth.client_secret": "Client secret of this program at the issuer. " +
		"Either client_secret or assertion_file is required if token_url is set. " +
		"A secret file is read again for each token.",
	"kafka.sasl.oauth.assertion_file": "File with a JWT that is sent as client assertion (RFC 7523) in place of a " +
		"client secret, such as the token of a Kubernetes service account. The file is read again for each token.",
	"kafka.sasl.oauth.scopes": "Scopes to request.",
	"kafka.sasl.oauth.parameters": "Additional parameters of the token request, such as audience or resource. " +
		"The values are never shown. " +
		"In the variable, a value that contains a semicolon requires the JSON form.",
	"kafka.sasl.oauth.ca_file": "PEM file with the CA certificates trusted for token_url. " +
		"Empty means the system's CA certificates. The file is read again for each token.",

	"kafka.sasl.aws": "AWS identity for AWS_MSK_IAM. The credentials come from the first available source: " +
		"the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity token (IRSA), " +
		"a profile in the shared AWS files (keys, role, SSO, or credential_process, which requires an image with a shell), " +
		"the container endpoint of EKS Pod Identity or ECS, or the EC2 instance role. " +
		"Variables and shared files are read once, at the start. Expiring credentials are renewed. " +
		"The check command prints the source.",
	"kafka.sasl.aws.region": "Region of the cluster and of STS. " +
		"Empty means the region in the broker addresses, in AWS_REGION, or in the profile, in this order.",
	"kafka.sasl.aws.role_arn": "ARN of a role to assume with these credentials. Empty means no further role.",
	"kafka.sasl.aws.external_id": "External ID that the trust policy of role_arn requires. " +
		"Empty means no external ID.",
	"kafka.sasl.aws.session_name": "Name of the session of role_arn, which AWS CloudTrail records. " +
		"Empty means segment-to-launchdarkly.",
	"kafka.sasl.aws.profile": "Profile in the shared AWS files. If set, the profile has precedence over the variables. " +
		"Empty means the profile in AWS_PROFILE, or default.",

	"segment": "Format of the records, and selection of calls. The filters apply in this order: consent, " +
		"honor_integrations, only, events, require, max_age, and not_before. " +
		"Each has its own reason in the metrics, except that max_age and not_before share too_old. " +
		"If a replica crashes while you change a filter, events in flight can count twice.",
	"segment.unwrap": "Fields that can contain a record's calls, as dotted paths. " +
		"The first field present is used. If none is present, the record itself is used. " +
		"auto unwraps EventBridge, CloudEvents, Kafka Connect, API Gateway, and Jitsu envelopes, " +
		"and records that are a JSON string. Empty means that nothing is unwrapped.",
	"segment.integration_names": "Names of this destination in a call's integrations object. " +
		"If the object contains several of these names, the first name in this list decides. " +
		"Replays through Segment's Kafka destination use the name Kafka. " +
		"Empty means that only the object's All entry decides.",
	"segment.honor_integrations": "Whether to filter out calls whose integrations object excludes this destination. " +
		"If false, such calls are delivered.",

	"segment.consent": "Consent that a call must contain, " +
		"in context.consent.categoryPreferences (Segment) or context.consentManagement (RudderStack).",
	"segment.consent.categories": "Categories (or RudderStack consent IDs) to which the user must have consented. " +
		"A category that the call's consent object does not contain counts as declined. " +
		"Empty means that consent is not required.",
	"segment.consent.match": "Whether consent to all categories or to any one of them is required.",
	"segment.consent.missing": "What to do with calls that contain no consent object: send or drop. " +
		"Required if categories is set.",
	"segment.only": "Conditions that must all hold. " +
		"Each is on a field ({field: projectId, in: [a, b]}), a record header ({header: source, not_in: [ios]}), " +
		"or the topic ({topic: web}). Values match exactly; numbers are compared as written. " +
		"An absent field or header is not in any list. In the variable, conditions require the JSON form.",
	"segment.events":        "Selection of events by name. Names must match exactly.",
	"segment.events.only":   "Names of the events to send. Empty means all, unless only_file is set.",
	"segment.events.except": "Names of events not to send, even if only or only_file lists them.",
	"segment.events.only_file": "File with names of events to send, one per line, in addition to only. " +
		"The metrics command writes such a list. Read at the start. " +
		"The log, the status page, and the metrics show its SHA-256 hash, so that replicas can be compared.",
	"segment.require": "Fields that must contain a non-empty string or a number, as dotted paths. " +
		"The list [userId] filters out anonymous calls.",
	"segment.max_age": "Maximum time between the call's time, which becomes creationDate, " +
		"and the record's timestamp. 0s means no limit.",
	"segment.not_before": "Earliest time of a call, such as 2026-01-31T00:00:00Z. Empty means no limit.",

	"launchdarkly": "LaunchDarkly destination, and the mapping of calls to events.",
	"launchdarkly.events_url": "Base URL of the LaunchDarkly events service: https://events.launchdarkly.com, " +
		"https://events.eu.launchdarkly.com (EU), or https://events.launchdarkly.us (federal). " +
		"Must not be a Relay Proxy, which accepts all events and forwards only some of them. " +
		"The environment variables HTTPS_PROXY and, except on macOS, SSL_CERT_FILE are respected.",
	"launchdarkly.endpoint": "LaunchDarkly API that receives the events. client_side requires client_side_id. " +
		"metric_import requires project_key, environment_key, access_token, and event_schema 4.",
	"launchdarkly.client_side_id": "Client-side ID of the LaunchDarkly environment, from the account settings. " +
		"Required for client_side. LaunchDarkly may respond with 202 even if the ID does not exist.",
	"launchdarkly.project_key": "Key of the LaunchDarkly project. Required for metric_import, " +
		"and for the commands that use api_token.",
	"launchdarkly.environment_key": "Key of the LaunchDarkly environment. Required for metric_import, " +
		"and for the verify command.",
	"launchdarkly.access_token": "Access token whose role allows importEventData. Required for metric_import. " +
		"A token file is read again for each request.",
	"launchdarkly.api_url": "Base URL of LaunchDarkly's REST API. " +
		"Empty means the host that belongs to events_url: https://app.launchdarkly.com, " +
		"https://app.eu.launchdarkly.com (EU), or https://app.launchdarkly.us (federal).",
	"launchdarkly.api_token": "Access token for LaunchDarkly's REST API. The role Reader is sufficient. " +
		"Only the commands metrics, check --metrics, verify, and preview use it. The run command does not use it.",
	"launchdarkly.ca_file": "PEM file with CA certificates, for instance those of a gateway. " +
		"For events_url, they replace the system's CA certificates. For api_url, they are added to them. " +
		"Empty means the system's CA certificates. Read at the start.",
	"launchdarkly.headers": "Additional request headers, for a gateway in front of LaunchDarkly. " +
		"The values are credentials and are never shown. " +
		"In the variable, a value that contains a semicolon requires the JSON form.",
	"launchdarkly.header_files": "Additional request headers whose values are in files. " +
		"Each file is read again for each request.",
	"launchdarkly.event_schema": "Version of the event schema, 3 or 4. " +
		"Version 3 events have a userKey, like those of Segment's LaunchDarkly Events destination. " +
		"Version 4 events have contextKeys.",
	"launchdarkly.contexts": "Context kinds for event_schema 4, each with the call fields that can contain its key. " +
		"The first field that contains a key is used.",
	"launchdarkly.metric_value": "Call fields that can contain the metric's value, as dotted paths. " +
		"The first field that contains a number or a numeric string is used. " +
		"Empty means that events have no metric value.",
	"launchdarkly.data": "Selection of the properties that are sent as an event's data. " +
		"metric_value is read before properties are removed.",
	"launchdarkly.data.only":   "Names of the top-level properties to send. Empty means all.",
	"launchdarkly.data.except": "Names of top-level properties not to send.",
	"launchdarkly.data.scalars_only": "Whether to send only properties that are strings, numbers, or booleans. " +
		"LaunchDarkly's metrics can filter only on these.",

	"batch": "Batch limits and compression. A batch is sealed when it reaches any limit, and sent as one request.",
	"batch.max_events": "Maximum number of events in a batch. " +
		"A batch exceeds this number only if a single record contains more calls, " +
		"or if the batch was recorded with a larger number before a restart. " +
		"Larger batches need fewer requests, but each retry resends more events.",
	"batch.max_bytes": "Maximum size of a request body before compression. " +
		"A request body exceeds this size only if the events of a single record do, " +
		"or if the batch was recorded with other settings before a restart. " +
		"A call whose event alone exceeds this size is rejected. " +
		"LaunchDarkly rejects request bodies of 10 MB or more.",
	"batch.max_age": "Maximum time that an event waits for its batch to fill. " +
		"A shorter time delivers events sooner, but in more requests.",
	"batch.gzip": "Whether to compress request bodies. " +
		"Compression uses some CPU time and reduces request bodies to about a sixth of their size.",

	"delivery": "Concurrency, retries, and draining.",
	"delivery.max_in_flight": "Maximum number of concurrent requests, across all partitions. " +
		"The program sends fewer concurrent requests while LaunchDarkly is failing or throttling. " +
		"Throughput in events per second is at most " +
		"max_in_flight * batch.max_events / request latency in seconds.",
	"delivery.max_events_per_second": "Maximum number of events sent per second, in all requests of the process, " +
		"including retries. The limit delays the start of requests. It never splits a batch. 0 means no limit.",
	"delivery.max_buffered": "Maximum memory for request bodies waiting for delivery, across all partitions. " +
		"When this memory is used up, reading from Kafka pauses, and nothing is dropped.",
	"delivery.timeout": "Timeout of one attempt, from dialing to the end of the response.",
	"delivery.backoff_min": "Upper bound of the backoff before the first retry. The bound doubles with each retry. " +
		"The backoff is a random time between zero and the bound.",
	"delivery.backoff_max": "Upper bound of the backoff before any retry. " +
		"More than 10s applies only to batches that fail repeatedly while others succeed. " +
		"A Retry-After header in a 429 or 503 response replaces the backoff.",
	"delivery.drain_timeout": "Maximum time to deliver batches when partitions are revoked or the program stops. " +
		"New requests start only in the first half; in-flight requests may finish in the second half. " +
		"If drain_timeout is less than twice delivery.timeout, in-flight requests may be canceled. " +
		"The next owner resends canceled requests under the same IDs. " +
		"Must be less than 1m, the group's rebalance timeout. " +
		"0s leaves all undelivered batches to the next owner.",

	"dead_letters": "Handling of calls that can never be delivered.",
	"dead_letters.topic": "Topic for calls rejected by the mapping and events rejected by LaunchDarkly. " +
		"The headers of each dead letter give the reason. Must not be one of kafka.topics. " +
		"Otherwise, the program would read its own dead letters in an endless loop. " +
		"Empty means that rejected calls and events are only counted and logged. " +
		"The log contains every event rejected by LaunchDarkly. " +
		"Of the calls rejected by the mapping, it contains at most one per reason per minute.",
	"dead_letters.redrive": "Whether the topics in kafka.topics are dead-letter topics. " +
		"If true, the program delivers only the call or event for which each dead letter was written.",

	"admin": "HTTP server for operators.",
	"admin.listen": "Address (host:port) of the status page at / and of /metrics, /delivered.json, /healthz, and " +
		"/readyz. The server has no authentication. An empty host means all interfaces.",
	"admin.event_names": "Whether the status page lists the most frequent event names, " +
		"and /delivered.json and an hourly log entry list delivered events by name. " +
		"The command verify --replica needs /delivered.json.",
	"admin.partition_metrics": "Whether /metrics contains a series per partition. " +
		"If false, each of these metrics has one series per topic instead: " +
		"the sum of offsets, lag, or batches in flight, or the value of the oldest batch or record.",

	"log":        "Log output on standard error.",
	"log.level":  "Minimum level of log entries: debug, info, warn, or error.",
	"log.format": "Log format: json for machines or console for people.",
}

// fileHelp returns the description of a secret's file key.
func fileHelp(secret string) string {
	return "File to read " + secret + " from. Set either " + secret + " or this key, not both."
}
