package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
	"github.com/twmb/franz-go/plugin/kzap"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// App is the assembled program. Call [App.Run] once to run it.
type App struct {
	cfg      *config.Config
	log      *zap.Logger
	registry *prometheus.Registry
	budget   *sink.Budget
	sink     *sink.Client
	consumer *consumer.Consumer
	listener net.Listener
	options  Options

	// The status page uses the fields below.
	config  string // effective configuration as YAML, with secrets redacted
	started time.Time
	history history
	recent  *recent

	progress atomic.Pointer[Progress] // of a run with Options.Until, as last reported; nil for any other
}

// New builds the program without starting it. New also opens the admin listener, so that a port
// conflict is found early.
func New(cfg *config.Config, log *zap.Logger, options Options) (*App, error) {
	a := &App{
		cfg: cfg, options: options, registry: prometheus.NewRegistry(),
		budget: sink.NewBudget(int64(cfg.Delivery.MaxBuffered)), started: time.Now(), recent: newRecent(),
	}
	log = log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return zapcore.NewTee(core, a.recent) }))
	a.log = log
	var effective strings.Builder
	if err := cfg.WriteEffective(&effective); err != nil {
		return nil, err
	}
	a.config = effective.String()
	// The group label distinguishes forwarders that run with different groups.
	registerer := prometheus.WrapRegistererWith(prometheus.Labels{"group": cfg.Kafka.Group}, a.registry)
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	registerer.MustRegister(collectors.NewGoCollector(), process, buildInfo())
	if hash := cfg.EventListHash(); hash != "" {
		registerer.MustRegister(eventListInfo(hash))
	}
	delivery, err := SinkConfig(cfg)
	if err != nil {
		return nil, err
	}
	delivery.Metrics, delivery.Log = sink.NewMetrics(registerer, a.budget), log.Named("sink")
	if a.sink, err = sink.New(delivery); err != nil {
		return nil, err
	}
	mapping, err := transform.Compile(cfg.Mapping())
	if err != nil {
		return nil, fmt.Errorf("compile the mapping: %w", err)
	}
	kafka, err := cfg.KafkaOptions()
	if err != nil {
		return nil, err
	}
	kafkaLog := log.Named("kafka").WithOptions(zap.IncreaseLevel(max(zap.WarnLevel, log.Level())))
	if a.consumer, err = consumer.New(consumer.Config{
		Client: kafka, TLS: cfg.Kafka.TLS.Enabled, SASL: cfg.Kafka.SASL.Mechanism,
		Hooks:  []kgo.Opt{kgo.WithHooks(a.newKafkaMetrics(registerer)), kgo.WithLogger(kzap.New(kafkaLog))},
		Topics: cfg.Kafka.Topics, Group: cfg.Kafka.Group,
		Start:      consumer.Start{Latest: cfg.Kafka.StartAt == "latest", Time: cfg.Kafka.StartTime()},
		InstanceID: cfg.Kafka.InstanceID, ConsumerProtocol: cfg.Kafka.RebalanceProtocol == "consumer",
		SessionTimeout: cfg.Kafka.SessionTimeout,
		MaxEvents:      cfg.Batch.MaxEvents, MaxBytes: int(cfg.Batch.MaxBytes), MaxAge: cfg.Batch.MaxAge,
		Gzip: cfg.Batch.Gzip, DrainTimeout: cfg.Delivery.DrainTimeout,
		CountNames: cfg.Admin.EventNames, DeliveredNames: cfg.SelectedEvents(),
		MetricsByTopic:  !cfg.Admin.PartitionMetrics,
		DeadLetterTopic: cfg.DeadLetters.Topic, Redrive: cfg.DeadLetters.Redrive,
		Until: options.Until, RedriveReasons: options.Reasons,
		Mapping: mapping, Sink: a.sink, Budget: a.budget, Registry: registerer, Log: log.Named("consumer"),
	}); err != nil {
		return nil, err
	}
	if a.listener, err = net.Listen("tcp", cfg.Admin.Listen); err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	return a, nil
}

// SinkConfig returns the configuration of package sink, without metrics or a log. The error is a
// [config.Problem].
func SinkConfig(cfg *config.Config) (sink.Config, error) {
	roots, err := cfg.LaunchDarkly.RootCAs()
	return sink.Config{
		EventsURL: cfg.LaunchDarkly.EventsURL, Endpoint: sink.Endpoint(cfg.LaunchDarkly.Endpoint),
		ClientSideID: cfg.LaunchDarkly.ClientSideID, ProjectKey: cfg.LaunchDarkly.ProjectKey,
		EnvironmentKey: cfg.LaunchDarkly.EnvironmentKey, AccessToken: cfg.LaunchDarkly.AccessToken.Read,
		Schema: cfg.LaunchDarkly.EventSchema, Version: Version(),
		MaxInFlight: cfg.Delivery.MaxInFlight, MaxEventsPerSecond: cfg.Delivery.MaxEventsPerSecond,
		Timeout:    cfg.Delivery.Timeout,
		BackoffMin: cfg.Delivery.BackoffMin, BackoffMax: cfg.Delivery.BackoffMax,
		Headers: cfg.LaunchDarkly.ReadHeaders, RootCAs: roots,
	}, err
}

// kafkaMetrics contains the metrics of all Kafka clients. Each group session has its own client.
// The series belong to the process and outlive the clients.
type kafkaMetrics struct {
	*kprom.Metrics
	once sync.Once
}

// OnNewClient implements [kgo.HookNewClient]. It registers the metrics for the first client only.
func (m *kafkaMetrics) OnNewClient(client *kgo.Client) {
	m.once.Do(func() { m.Metrics.OnNewClient(client) })
}

// OnClientClosed implements [kgo.HookClientClosed]. It keeps the metrics registered.
func (*kafkaMetrics) OnClientClosed(*kgo.Client) {}

// newKafkaMetrics returns the metrics for all Kafka clients.
func (a *App) newKafkaMetrics(r prometheus.Registerer) *kafkaMetrics {
	return &kafkaMetrics{Metrics: kprom.NewMetrics("segment_launchdarkly_kafka",
		kprom.Registerer(r), kprom.Gatherer(a.registry))}
}

// AdminAddress returns the address of the admin server.
func (a *App) AdminAddress() string { return a.listener.Addr().String() }

// Gatherer returns the program's metrics.
func (a *App) Gatherer() prometheus.Gatherer { return a.registry }

// Status returns the status of the consumer and of the LaunchDarkly client. The consumer's problems
// include a failure to renew its credentials, even while the old ones are still valid.
func (a *App) Status() (consumer.Status, sink.Status) {
	read := a.consumer.Status()
	if problem := a.cfg.KafkaCredentialsProblem(); problem != "" {
		read.Problems = slices.Concat(read.Problems, []string{problem})
	}
	return read, a.sink.Status()
}

// adminTimeout is the time that requests to the admin server have to finish at the end of Run.
const adminTimeout = 2 * time.Second

// ShutdownTimeout is the maximum time that [App.Run] takes after delivery.drain_timeout. The chart,
// the compose file, and their documents state this time.
const ShutdownTimeout = consumer.ShutdownTimeout + adminTimeout

// Run runs the program until ctx is done and the drain is complete, or until the end in
// Options.Until is reached. It returns after all of the program's goroutines have exited.
func (a *App) Run(ctx context.Context) error {
	server := a.server(ctx)
	sampleCtx, stopSampling := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { a.history.sample(sampleCtx, a.sample) })
	if a.options.Until.IsZero() {
		background.Go(func() { progress{a.log, a.counts}.run(sampleCtx) })
	} else {
		background.Go(func() { a.reportProgress(sampleCtx) })
	}
	if a.cfg.Admin.EventNames {
		background.Go(func() { logDelivered(sampleCtx, a.log, a.started, a.consumer.Delivered) })
	}
	background.Go(func() { a.cfg.RefreshToken(sampleCtx, a.log.Named("kafka")) })
	background.Go(func() {
		if err := server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("admin server failed; metrics and probes unavailable", zap.Error(err))
		}
	})
	a.log.Info("started", zap.String("version", Version()),
		zap.String("group", a.cfg.Kafka.Group), zap.Strings("topics", a.cfg.Kafka.Topics),
		zap.String("address", a.sink.Address()), zap.String("admin", a.AdminAddress()))
	if hash := a.cfg.EventListHash(); hash != "" {
		a.log.Info("event list read", zap.String("file", a.cfg.Segment.Events.OnlyFile),
			zap.Int("selected_events", len(a.cfg.SelectedEvents())), zap.String("sha256", hash))
	}

	err := a.consumer.Run(ctx)
	a.sink.Close()
	stopSampling()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminTimeout)
	defer cancel()
	_ = server.Shutdown(stopCtx) // requests still in progress are ended by Close below
	_ = server.Close()
	background.Wait()
	if err != nil {
		return err
	}
	a.log.Info("stopped; all sealed batches delivered and committed")
	return nil
}
