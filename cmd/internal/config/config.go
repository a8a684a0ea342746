package config

import "time"

// Config is the program's configuration. [Load] returns only valid configurations.
//
// The help map describes each section and key. Field tags specify everything else:
//
//	yaml     name of the key in the file
//	default  value if the key is not set, in the syntax of environment variables
//	example  value in the example file, for a key without a default
//	enum     allowed values, separated by |; letter case is ignored
//	rule     name of a rule in the rules table, applied to each element of a list;
//	         ",required" after it means that the value must not be empty
//	min, max bounds of a number, a size, or a duration
type Config struct {
	Kafka        Kafka        `yaml:"kafka"`
	Segment      Segment      `yaml:"segment"`
	LaunchDarkly LaunchDarkly `yaml:"launchdarkly"`
	Batch        Batch        `yaml:"batch"`
	Delivery     Delivery     `yaml:"delivery"`
	DeadLetters  DeadLetters  `yaml:"dead_letters"`
	Admin        Admin        `yaml:"admin"`
	Log          Log          `yaml:"log"`

	// origins maps a key's path to the variable, or the file and line, that set the key. Keys that
	// are not set are absent.
	origins map[string]string
	events  eventList    // the content of segment.events.only_file
	tokens  *tokens      // the OAuth token, shared by all Kafka clients
	msk     *mskIdentity // the AWS identity, shared by all Kafka clients
}

// Kafka selects the brokers, the topics, and the consumer group.
type Kafka struct {
	Brokers           []string      `yaml:"brokers" example:"localhost:9092" rule:"broker,required"`
	Topics            []string      `yaml:"topics" example:"segment" rule:"topic,required"`
	Group             string        `yaml:"group" default:"segment-to-launchdarkly" rule:"group,required"`
	StartAt           string        `yaml:"start_at" default:"earliest" rule:"start,required"`
	InstanceID        string        `yaml:"instance_id" rule:"topic"`
	ClientID          string        `yaml:"client_id" default:"segment-to-launchdarkly" rule:",required"`
	Rack              string        `yaml:"rack"`
	RebalanceProtocol string        `yaml:"rebalance_protocol" default:"classic" enum:"classic|consumer" rule:",required"`
	SessionTimeout    time.Duration `yaml:"session_timeout" default:"10s" min:"1s" max:"5m"`
	TLS               TLS           `yaml:"tls"`
	SASL              SASL          `yaml:"sasl"`
}

// TLS configures encrypted connections to the brokers. The files are read again for each new
// connection.
type TLS struct {
	Enabled    bool   `yaml:"enabled" default:"false"`
	CAFile     string `yaml:"ca_file" rule:"file"`
	CertFile   string `yaml:"cert_file" rule:"file"`
	KeyFile    string `yaml:"key_file" rule:"file"`
	ServerName string `yaml:"server_name"`
}

// SASL configures authentication to the brokers. The mechanism AWS_MSK_IAM uses only the key AWS.
type SASL struct {
	Mechanism string `yaml:"mechanism" enum:"PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER|AWS_MSK_IAM"`
	Username  string `yaml:"username"`
	Password  Secret `yaml:"password"`
	Token     Secret `yaml:"token"`

	Extensions map[string]string `yaml:"extensions" rule:"extension"`
	OAuth      OAuth             `yaml:"oauth"`
	AWS        AWS               `yaml:"aws"`
}

// OAuth configures the requests for tokens, with the client credentials grant. The files are read
// again for each request.
type OAuth struct {
	TokenURL      string            `yaml:"token_url" rule:"token_url"`
	ClientID      string            `yaml:"client_id"`
	ClientSecret  Secret            `yaml:"client_secret"`
	AssertionFile string            `yaml:"assertion_file" rule:"file"`
	Scopes        []string          `yaml:"scopes" rule:"scope"`
	Parameters    map[string]Secret `yaml:"parameters" rule:"parameter"`
	CAFile        string            `yaml:"ca_file" rule:"file"`
}

// AWS configures the identity for AWS_MSK_IAM. The default chain of the AWS SDK provides the
// credentials.
type AWS struct {
	Region      string `yaml:"region" rule:"region"`
	RoleARN     string `yaml:"role_arn" rule:"role"`
	ExternalID  string `yaml:"external_id" rule:"external_id"`
	SessionName string `yaml:"session_name" rule:"session_name"`
	Profile     string `yaml:"profile"`
}

// Segment configures how to find and select the calls in records.
type Segment struct {
	Unwrap            []string `yaml:"unwrap" default:"auto" rule:"path"`
	IntegrationNames  []string `yaml:"integration_names" default:"LaunchDarkly Events" rule:"integration"`
	HonorIntegrations bool     `yaml:"honor_integrations" default:"true"`

	Consent   Consent       `yaml:"consent"`
	Only      []Condition   `yaml:"only"`
	Events    Events        `yaml:"events"`
	Require   []string      `yaml:"require" rule:"path"`
	MaxAge    time.Duration `yaml:"max_age" default:"0s" min:"0s"`
	NotBefore string        `yaml:"not_before" rule:"time"`
}

// Consent configures the consent that a call must contain.
type Consent struct {
	Categories []string `yaml:"categories" rule:"name"`
	Match      string   `yaml:"match" default:"all" enum:"all|any" rule:",required"`
	Missing    string   `yaml:"missing" enum:"send|drop"`
}

// Condition is a condition that a call must satisfy. The type has the same fields as
// [transform.Condition].
type Condition struct {
	Field  string   `yaml:"field,omitempty" json:"field,omitempty"`
	Header string   `yaml:"header,omitempty" json:"header,omitempty"`
	Topic  string   `yaml:"topic,omitempty" json:"topic,omitempty"`
	In     []string `yaml:"in,omitempty" json:"in,omitempty"`
	NotIn  []string `yaml:"not_in,omitempty" json:"not_in,omitempty"`
}

// Events selects events by name.
type Events struct {
	Only     []string `yaml:"only" rule:"name"`
	Except   []string `yaml:"except" rule:"name"`
	OnlyFile string   `yaml:"only_file" rule:"file"`
}

// LaunchDarkly configures the destination and the mapping of calls to events.
type LaunchDarkly struct {
	EventsURL      string `yaml:"events_url" default:"https://events.launchdarkly.com" rule:"url,required"`
	Endpoint       string `yaml:"endpoint" default:"client_side" enum:"client_side|metric_import" rule:",required"`
	ClientSideID   string `yaml:"client_side_id" rule:"id"`
	ProjectKey     string `yaml:"project_key" rule:"key"`
	EnvironmentKey string `yaml:"environment_key" rule:"key"`
	AccessToken    Secret `yaml:"access_token"`

	APIURL   string `yaml:"api_url" rule:"api_url"`
	APIToken Secret `yaml:"api_token"`

	CAFile      string            `yaml:"ca_file" rule:"file"`
	Headers     map[string]Secret `yaml:"headers" rule:"header"`
	HeaderFiles map[string]string `yaml:"header_files" rule:"header"`

	EventSchema int      `yaml:"event_schema" default:"3" enum:"3|4"`
	Contexts    Contexts `yaml:"contexts" default:"user=userId,anonymousId;unauthenticatedUser=anonymousId" rule:"kind"`
	MetricValue []string `yaml:"metric_value" default:"properties.value" rule:"path"`
	Data        Data     `yaml:"data"`
}

// Data selects the properties that are sent.
type Data struct {
	Only        []string `yaml:"only" rule:"name"`
	Except      []string `yaml:"except" rule:"name"`
	ScalarsOnly bool     `yaml:"scalars_only" default:"false"`
}

// Contexts maps each context kind to the call fields that can contain its key, in order of
// precedence.
type Contexts = map[string][]string

// Batch configures the limits and the compression of batches. A batch is sealed when it reaches any
// limit.
type Batch struct {
	MaxEvents int           `yaml:"max_events" default:"1000" min:"1"`
	MaxBytes  Bytes         `yaml:"max_bytes" default:"1MiB" min:"1KiB" max:"9MiB"`
	MaxAge    time.Duration `yaml:"max_age" default:"5s" min:"10ms" max:"10m"`
	Gzip      bool          `yaml:"gzip" default:"true"`
}

// Delivery configures concurrency, retries, and draining.
type Delivery struct {
	MaxInFlight        int           `yaml:"max_in_flight" default:"64" min:"1" max:"1024"`
	MaxEventsPerSecond int           `yaml:"max_events_per_second" default:"0" min:"0"`
	MaxBuffered        Bytes         `yaml:"max_buffered" default:"64MiB" min:"1MiB"`
	Timeout            time.Duration `yaml:"timeout" default:"10s" min:"100ms" max:"5m"`
	BackoffMin         time.Duration `yaml:"backoff_min" default:"500ms" min:"1ms"`
	BackoffMax         time.Duration `yaml:"backoff_max" default:"1m" max:"1h"`
	DrainTimeout       time.Duration `yaml:"drain_timeout" default:"20s"`
}

// DeadLetters configures the topic for calls that can never be delivered.
type DeadLetters struct {
	Topic   string `yaml:"topic" rule:"topic"`
	Redrive bool   `yaml:"redrive" default:"false"`
}

// Admin configures the HTTP server for operators.
type Admin struct {
	Listen     string `yaml:"listen" default:":9464" rule:"listen,required"`
	EventNames bool   `yaml:"event_names" default:"true"`

	PartitionMetrics bool `yaml:"partition_metrics" default:"true"`
}

// Log configures logging to standard error.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug|info|warn|error" rule:",required"`
	Format string `yaml:"format" default:"json" enum:"json|console" rule:",required"`
}

// StartTime returns the start time for a group without committed offsets. The time is zero for
// earliest and latest.
func (k Kafka) StartTime() time.Time {
	t, _ := time.Parse(time.RFC3339, k.StartAt)
	return t
}
