package config

// help maps the path of each section and key to its description, in struct order. [WriteExample]
// and [WriteSchema] write the descriptions, followed by the bounds. fileHelp describes a secret's
// file key.
var help = map[string]string{
	"kafka": "Kafka cluster, topics, and consumer group to read from.",
	"kafka.brokers": "Brokers for the initial connection, each as host:port. " +
		"The client discovers the other brokers from them.",
	"kafka.topics": "Topics to read.",
	"kafka.group": "Consumer group. Replicas with the same group share the partitions. " +
		"A new group starts at start_at. If it delivers events again, LaunchDarkly counts them again.",
	"kafka.start_at": "Position at which a group without committed offsets starts: " +
		"earliest, latest, or a time such as 2026-01-31T00:00:00Z. " +
		"The position is resolved once, at the first assignment.",
	"kafka.instance_id": "ID of this replica for static membership, different for each replica. " +
		"A restart within session_timeout then moves no partitions. Empty means dynamic membership.",
	"kafka.rack": "Rack or availability zone of this process. " +
		"Records are fetched from the nearest replica of each partition if the brokers support it. " +
		"Empty means that records are fetched from the leaders.",
	"kafka.rebalance_protocol": "Group protocol: classic (cooperative-sticky) or consumer (KIP-848). " +
		"The consumer protocol requires Kafka 4.0 or later on all brokers; 4.3 or later is recommended.",
	"kafka.session_timeout": "Time without heartbeats after which the group removes a replica. " +
		"A shorter timeout moves the partitions of a crashed replica sooner, " +
		"but also removes slow replicas more often. " +
		"With the consumer protocol this key has no effect: the brokers' setting applies, 45s by default.",

	"kafka.tls":           "TLS for connections to the brokers. The files are read again for each new connection.",
	"kafka.tls.enabled":   "Whether to use TLS, version 1.2 or later.",
	"kafka.tls.ca_file":   "PEM file with the trusted CA certificates. Empty means the system's CA certificates.",
	"kafka.tls.cert_file": "PEM file with the client certificate, for mutual TLS. Empty means no client certificate.",
	"kafka.tls.key_file":  "PEM file with the private key for cert_file.",
	"kafka.tls.server_name": "Name that the brokers' certificates must match. " +
		"Empty means the host in each broker's address.",

	"kafka.sasl": "SASL authentication to the brokers. Secret files are read again for each new connection.",
	"kafka.sasl.mechanism": "SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, or AWS_MSK_IAM. " +
		"Empty means no authentication. AWS_MSK_IAM requires TLS and reads its credentials from " +
		"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN, " +
		"or from the file AWS_SHARED_CREDENTIALS_FILE under the profile AWS_PROFILE. " +
		"Instance and pod roles are not supported.",
	"kafka.sasl.username": "Username for PLAIN and SCRAM.",
	"kafka.sasl.password": "Password for PLAIN and SCRAM.",
	"kafka.sasl.token":    "Bearer token for OAUTHBEARER.",

	"segment": "Filtering of calls by their integrations object.",
	"segment.integration_names": "Names that refer to this destination in a call's integrations object. " +
		"If a call contains several of them, the first one in this list decides. " +
		"Replays through Segment's Kafka destination use the name Kafka. " +
		"Empty means that only the All entry of the object decides.",
	"segment.honor_integrations": "Whether to filter out calls whose integrations object excludes this destination. " +
		"false delivers them.",

	"launchdarkly": "LaunchDarkly destination, and the mapping of calls to events.",
	"launchdarkly.events_url": "Base URL of the LaunchDarkly events service: https://events.launchdarkly.com, " +
		"https://events.eu.launchdarkly.com (EU), or https://events.launchdarkly.us (federal). " +
		"The environment variables HTTPS_PROXY and SSL_CERT_FILE are respected.",
	"launchdarkly.endpoint": "LaunchDarkly API that receives the events. client_side requires client_side_id. " +
		"metric_import requires project_key, environment_key, access_token, and event_schema 4.",
	"launchdarkly.client_side_id": "Client-side ID of the environment, from LaunchDarkly's account settings. " +
		"Required for client_side. LaunchDarkly may respond with 202 even if the ID does not exist.",
	"launchdarkly.project_key":     "Key of the project. Required for metric_import.",
	"launchdarkly.environment_key": "LaunchDarkly environment key. Required for metric_import.",
	"launchdarkly.access_token": "Access token whose role allows importEventData. Required for metric_import. " +
		"If it is set by file, the file is read again for each request.",
	"launchdarkly.event_schema": "Version of the event schema, 3 or 4. " +
		"Version 3 events have a userKey, like those of Segment's LaunchDarkly Events destination. " +
		"Version 4 events have contextKeys.",
	"launchdarkly.contexts": "Context kinds for event_schema 4, each with the call fields that can contain its key. " +
		"The first field that contains a key is used.",
	"launchdarkly.metric_value": "Call fields that can contain the metric's value, as names joined by dots. " +
		"The first field that contains a number, or a string that is a number, is used. " +
		"Empty means that events have no metric value.",

	"batch": "Limits of a batch. The first limit reached seals the batch, which is sent as one request.",
	"batch.max_events": "Maximum number of events in a batch. Only a record that contains more calls exceeds it. " +
		"Larger batches need fewer requests, but each retry resends more events.",
	"batch.max_bytes": "Maximum size of a request body before compression. " +
		"Only a record that contains several calls can exceed it. " +
		"A call whose event alone is larger is rejected. LaunchDarkly accepts less than 10 MB.",
	"batch.max_age": "Maximum time that an event waits for its batch to fill. " +
		"A shorter time delivers events sooner, in more requests.",
	"batch.gzip": "Whether to compress request bodies. Compression uses some CPU and sends about a tenth of the bytes.",

	"delivery": "Concurrency, retries, and draining.",
	"delivery.max_in_flight": "Maximum number of concurrent requests, over all partitions. " +
		"Concurrency is lower while LaunchDarkly fails or throttles requests. " +
		"Throughput in events per second is at most max_in_flight * batch.max_events / request latency.",
	"delivery.max_buffered": "Memory for request bodies that wait for delivery, over all partitions. " +
		"When it is used up, reading from Kafka pauses; nothing is dropped.",
	"delivery.timeout": "Timeout of one attempt, from dialing to the end of the response.",
	"delivery.backoff_min": "Upper bound of the backoff before the first retry; the bound doubles with each attempt. " +
		"The backoff is random between zero and the bound.",
	"delivery.backoff_max": "Upper bound of the backoff before any retry. " +
		"A longer Retry-After from LaunchDarkly takes precedence.",
	"delivery.drain_timeout": "Maximum time to drain when partitions are revoked or the program stops. " +
		"New requests start only in the first half; in-flight requests may finish in the second half. " +
		"If it is less than twice delivery.timeout, in-flight requests may be cancelled; " +
		"they are resent under the same IDs. " +
		"Must be less than 1m, the group's rebalance timeout. " +
		"0s leaves all undelivered batches to the next owner.",

	"dead_letters": "Topic for calls that can never be delivered, and its redrive.",
	"dead_letters.topic": "Topic for rejected calls and for events rejected by LaunchDarkly. " +
		"The record headers give the reason. " +
		"Must not be one of kafka.topics, or dead letters would be read again indefinitely. " +
		"Empty means that they are only counted and logged, by topic, partition, and offset.",
	"dead_letters.redrive": "Whether kafka.topics contain dead letters. " +
		"true delivers only the call that each dead letter was written for.",

	"admin": "HTTP server for operators.",
	"admin.listen": "Address (host:port) of the status page at / and of /metrics, /healthz, and /readyz. " +
		"The server has no authentication. An empty host means all interfaces.",

	"log":        "Log output on standard error.",
	"log.level":  "Minimum level of log entries: debug, info, warn, or error.",
	"log.format": "Log format: json for machines or console for people.",
}

// fileHelp returns the description of a secret's file key.
func fileHelp(secret string) string {
	return "File that contains " + secret + ". Set either " + secret + " or this key, not both."
}
