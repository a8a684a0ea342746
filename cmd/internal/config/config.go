package config

import "time"

// Config is everything that can be set. [Load] returns it checked.
//
// The tags of a field, from which all else derives:
//
//	yaml     its name in the file
//	doc      what it does, as the example file and the JSON schema tell it
//	default  its default, written as in the environment
//	example  what the example file holds in place of an empty default
//	enum     the values it may have, separated by |; letter case is ignored
//	rule     the name of its rule, see rules.go, for a list each element's; then ",required" if it must not be empty
//	min, max the bounds of a number, a size or a duration
type Config struct {
	Kafka        Kafka        `yaml:"kafka" doc:"Where the Segment events are read from."`
	Segment      Segment      `yaml:"segment" doc:"Which of the calls are meant for LaunchDarkly."`
	LaunchDarkly LaunchDarkly `yaml:"launchdarkly" doc:"Where the events go, and what is made of a call."`
	Batch        Batch        `yaml:"batch" doc:"When a request is full. Whichever comes first seals it."`
	Delivery     Delivery     `yaml:"delivery" doc:"How requests are sent, and sent again."`
	DeadLetters  DeadLetters  `yaml:"dead_letters" doc:"Where records go that can never be delivered."`
	Admin        Admin        `yaml:"admin" doc:"The HTTP server for the operator."`
	Log          Log          `yaml:"log" doc:"What the program says on standard error."`

	origins map[string]string // by path: the file and line or the variable that set it; absent for a default
}

// Kafka says where the records are.
type Kafka struct {
	Brokers           []string      `yaml:"brokers" example:"localhost:9092" rule:"broker,required" doc:"Brokers to start from, each host:port. The others are found through them."`
	Topics            []string      `yaml:"topics" example:"segment" rule:"topic,required" doc:"Topics to read."`
	Group             string        `yaml:"group" default:"segment-to-launchdarkly" rule:"group,required" doc:"Consumer group. Replicas with the same group share the partitions. A new group begins at start_at, and its events count again."`
	StartAt           string        `yaml:"start_at" default:"earliest" rule:"start,required" doc:"Where a group without a committed offset starts: earliest, latest, or a time such as 2026-01-31T00:00:00Z."`
	InstanceID        string        `yaml:"instance_id" rule:"topic" doc:"Static membership: a name for this replica, different for each. A restart within session_timeout then moves no partitions."`
	Rack              string        `yaml:"rack" doc:"This replica's rack or zone. Set, it reads from the nearest replica of a partition, where the brokers allow it."`
	RebalanceProtocol string        `yaml:"rebalance_protocol" default:"classic" enum:"classic|consumer" rule:",required" doc:"classic (cooperative-sticky), or consumer (KIP-848), which needs Kafka 4.0 or later on all brokers."`
	SessionTimeout    time.Duration `yaml:"session_timeout" default:"10s" min:"1s" max:"5m" doc:"How long after its last heartbeat a replica counts as dead. The consumer protocol takes the brokers' setting instead."`
	TLS               TLS           `yaml:"tls" doc:"Encryption, and the certificate that this client shows."`
	SASL              SASL          `yaml:"sasl" doc:"Who we are to the brokers."`
}

// TLS says how connections to the brokers are encrypted: TLS 1.2 or newer. The files are read again for each new
// connection.
type TLS struct {
	Enabled    bool   `yaml:"enabled" default:"false" doc:"Connect by TLS 1.2 or newer."`
	CAFile     string `yaml:"ca_file" rule:"file" doc:"PEM file of the authorities to trust. Empty: the system's."`
	CertFile   string `yaml:"cert_file" rule:"file" doc:"PEM file of this client's certificate (mTLS)."`
	KeyFile    string `yaml:"key_file" rule:"file" doc:"PEM file of the key of cert_file."`
	ServerName string `yaml:"server_name" doc:"Name to expect in the brokers' certificates. Empty: the host that was dialled."`
}

// SASL says how we authenticate to the brokers. AWS_MSK_IAM takes the standard AWS variables or the shared credentials
// file, and none of the keys here.
type SASL struct {
	Mechanism string `yaml:"mechanism" enum:"PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER|AWS_MSK_IAM" doc:"Empty for none, or PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM. The last takes its credentials from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or from AWS_SHARED_CREDENTIALS_FILE and AWS_PROFILE."`
	Username  string `yaml:"username" doc:"For PLAIN and SCRAM."`
	Password  Secret `yaml:"password" doc:"For PLAIN and SCRAM."`
	Token     Secret `yaml:"token" doc:"For OAUTHBEARER: the bearer token."`
}

// Segment says which calls are ours.
type Segment struct {
	IntegrationNames  []string `yaml:"integration_names" default:"LaunchDarkly Events" rule:"integration" doc:"Names under which a call's integrations object may address us."`
	HonorIntegrations bool     `yaml:"honor_integrations" default:"true" doc:"false: deliver a call whatever its integrations object says."`
}

// LaunchDarkly says where events go and what is in them.
type LaunchDarkly struct {
	EventsURL      string              `yaml:"events_url" default:"https://events.launchdarkly.com" rule:"url,required" doc:"Address of LaunchDarkly's event service. EU: https://events.eu.launchdarkly.com, federal: https://events.launchdarkly.us. The variables HTTPS_PROXY and SSL_CERT_FILE are heeded."`
	Endpoint       string              `yaml:"endpoint" default:"client_side" enum:"client_side|metric_import" rule:",required" doc:"client_side needs client_side_id. metric_import needs project_key, environment_key, access_token and event_schema 4."`
	ClientSideID   string              `yaml:"client_side_id" rule:"id" doc:"The environment's client-side ID, from LaunchDarkly's account settings. Required for client_side."`
	ProjectKey     string              `yaml:"project_key" rule:"key" doc:"The project's key. For metric_import."`
	EnvironmentKey string              `yaml:"environment_key" rule:"key" doc:"The environment's key. For metric_import."`
	AccessToken    Secret              `yaml:"access_token" doc:"Access token whose role allows importEventData. For metric_import."`
	EventSchema    int                 `yaml:"event_schema" default:"3" enum:"3|4" doc:"3: events carry userKey, as Segment's LaunchDarkly Events destination sends them. 4: contextKeys."`
	Contexts       map[string][]string `yaml:"contexts" default:"user=userId,anonymousId;unauthenticatedUser=anonymousId" rule:"kind" doc:"For event_schema 4: each context kind, and the fields of a call of which the first that holds a key gives it."`
	MetricValue    []string            `yaml:"metric_value" default:"properties.value" rule:"path" doc:"Paths in a call, names joined by dots, of which the first that holds a number gives the metric's value."`
}

// Batch says when a batch is sealed.
type Batch struct {
	MaxEvents int           `yaml:"max_events" default:"1000" min:"1" doc:"Events in one request, at most."`
	MaxBytes  Bytes         `yaml:"max_bytes" default:"1MiB" min:"1KiB" max:"9MiB" doc:"Size of one request's body before compression, at most, but for a single record that holds more calls. A single larger event is rejected. LaunchDarkly takes less than 10 MB."`
	MaxAge    time.Duration `yaml:"max_age" default:"5s" min:"10ms" max:"10m" doc:"Longest wait of an event for a request to fill. Shorter: fresher and more requests."`
	Gzip      bool          `yaml:"gzip" default:"true" doc:"Compress bodies. false saves CPU and sends several times the bytes."`
}

// Delivery says how batches are sent.
type Delivery struct {
	MaxInFlight  int           `yaml:"max_in_flight" default:"64" min:"1" max:"1024" doc:"Requests at once, over all partitions. Fewer are made while LaunchDarkly fails or asks for less. Throughput is at most this number times batch.max_events, divided by the time of a request."`
	MaxBuffered  Bytes         `yaml:"max_buffered" default:"64MiB" min:"1MiB" doc:"Memory for bodies that wait, over all partitions. Used up, reading from Kafka waits; nothing is dropped."`
	Timeout      time.Duration `yaml:"timeout" default:"10s" min:"100ms" max:"5m" doc:"Longest wait for LaunchDarkly's answer before the request is sent again."`
	BackoffMin   time.Duration `yaml:"backoff_min" default:"500ms" min:"1ms" doc:"Upper bound of the first wait before a request is sent again; it doubles with each attempt."`
	BackoffMax   time.Duration `yaml:"backoff_max" default:"1m" max:"1h" doc:"Upper bound of every such wait, unless LaunchDarkly asks for longer."`
	DrainTimeout time.Duration `yaml:"drain_timeout" default:"20s" doc:"Longest wait when a partition is given up or the program stops: in the first half of it requests start as ever, in the second those under way end. Best at least twice delivery.timeout. Below one minute, the group's rebalance timeout."`
}

// DeadLetters says where records go that can never be delivered.
type DeadLetters struct {
	Topic   string `yaml:"topic" rule:"topic" doc:"Topic for records that can never be delivered, with the reason in their headers. Empty: they are counted and logged by topic, partition and offset."`
	Redrive bool   `yaml:"redrive" default:"false" doc:"true: kafka.topics hold dead letters. Of each record, only the call that it was written for is delivered."`
}

// Admin is the HTTP server for the operator.
type Admin struct {
	Listen string `yaml:"listen" default:":9464" rule:"listen,required" doc:"host:port of the status page at /, and of /metrics, /healthz and /readyz. No authentication. Without a host: all interfaces."`
}

// Log says what is logged, on standard error.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug|info|warn|error" rule:",required" doc:"The least severe level that is logged: debug, info, warn or error."`
	Format string `yaml:"format" default:"json" enum:"json|console" rule:",required" doc:"json for machines, console for people."`
}

// StartTime returns the time at which a group without committed offsets starts, and the zero time for earliest and
// latest.
func (k Kafka) StartTime() time.Time {
	t, _ := time.Parse(time.RFC3339, k.StartAt)
	return t
}
