//go:build unix

package kafkatest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ApacheConfig configures a cluster started by [StartApache].
type ApacheConfig struct {
	// Dir is an empty directory for configuration, data, and logs. StartApache requires Dir. If Dir
	// is empty, NewApache creates a temporary directory.
	Dir string
	// Nodes is the number of nodes, 3 by default. Each node is both a broker and a controller.
	Nodes int
	// Properties overrides this package's broker settings.
	Properties map[string]string
	// Users maps user names to passwords. If Users is not empty, the cluster is secured; see
	// Listener.
	Users map[string]string
	// Issuer issues OAuth tokens for the SASL listener of a secured cluster. If Issuer is nil, the
	// listener does not support OAUTHBEARER.
	Issuer *Issuer
}

// Apache is a cluster of Apache Kafka nodes. Each node is a Java process on loopback ports. Nodes
// are numbered from 0 by node.id. Methods are safe for concurrent use.
type Apache struct {
	cfg   ApacheConfig
	nodes []*node
	certs *authority // nil unless the cluster is secured
	cert  string     // PEM file with the brokers' certificate and key; empty unless the cluster is secured
	cl    *kgo.Client
	adm   *kadm.Client
}

// NewApache starts a cluster and stops it when t ends. It skips t unless KAFKA_TEST is set in the
// environment, and fails t if the cluster does not start. If t fails, NewApache logs the end of
// each node's log, without INFO lines.
func NewApache(t testing.TB, cfg ApacheConfig) *Apache {
	t.Helper()
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("needs Apache Kafka (make test-kafka)")
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	a, err := StartApache(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		if t.Failed() {
			for _, n := range a.nodes {
				t.Logf("end of the log of node %d:\n%s", n.id, n.logTail())
			}
		}
	})
	return a
}

// StartApache formats and starts a cluster. It returns when all brokers are registered, and the
// coordinators for groups and transactions are available. ctx bounds only the startup.
func StartApache(ctx context.Context, cfg ApacheConfig) (*Apache, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	a := &Apache{cfg: cfg}
	if err := a.start(ctx); err != nil {
		a.Close()
		return nil, fmt.Errorf("start Apache Kafka: %w", err)
	}
	return a, nil
}

func (a *Apache) start(ctx context.Context) error {
	cp, err := classPath()
	if err != nil {
		return err
	}
	if len(a.cfg.Users) > 0 {
		if a.certs, err = newAuthority(a.cfg.Dir); err != nil {
			return err
		}
		if a.cert, err = a.certs.issue("broker"); err != nil {
			return err
		}
	}
	addrs, err := freeAddrs(a.cfg.Nodes)
	if err != nil {
		return err
	}
	for id := range a.cfg.Nodes {
		dir := filepath.Join(a.cfg.Dir, "node-"+strconv.Itoa(id))
		n := &node{id: id, dir: dir, classPath: cp, addrs: addrs[id]}
		if a.cfg.Issuer != nil {
			n.allowedURL = a.cfg.Issuer.keysURL()
		}
		a.nodes = append(a.nodes, n)
	}
	if a.cl, err = kgo.NewClient(kgo.SeedBrokers(a.Brokers()...)); err != nil {
		return err
	}
	a.adm = kadm.NewClient(a.cl)

	id := uuid.New()
	clusterID := base64.RawURLEncoding.EncodeToString(id[:]) // Kafka's UUID format
	errs := make([]error, len(a.nodes))
	var formatted sync.WaitGroup
	for i, n := range a.nodes {
		formatted.Go(func() {
			if errs[i] = n.format(ctx, clusterID, a.properties(n)); errs[i] == nil {
				errs[i] = n.start()
			}
		})
	}
	formatted.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := a.Ready(ctx); err != nil {
		return err
	}
	if err := a.addUsers(ctx); err != nil {
		return err
	}
	if err := a.createCoordinators(ctx); err != nil {
		return err
	}
	return a.Ready(ctx) // waits until all nodes know the new topics and users
}

// Close kills all nodes and waits until they have exited. It may be called more than once.
func (a *Apache) Close() {
	for i := range a.nodes {
		_ = a.Kill(i)
	}
	if a.cl != nil {
		a.cl.Close()
	}
}

// Kill sends SIGKILL to a node and waits until it has exited.
func (a *Apache) Kill(i int) error { return a.nodes[i].stop(syscall.SIGKILL) }

// Stop sends SIGTERM to a node and waits until it has exited. Before exiting, the node transfers
// its partition leadership to other nodes.
func (a *Apache) Stop(i int) error { return a.nodes[i].stop(syscall.SIGTERM) }

// Pause suspends a node with SIGSTOP. The node's connections stay open, but the node does not
// respond.
func (a *Apache) Pause(i int) error { return a.nodes[i].signal(syscall.SIGSTOP) }

// Continue resumes a paused node with SIGCONT.
func (a *Apache) Continue(i int) error { return a.nodes[i].signal(syscall.SIGCONT) }

// Start restarts a stopped node with the same data and ports. Use Ready to wait until the node has
// joined.
func (a *Apache) Start(i int) error { return a.nodes[i].start() }

// Brokers returns the Plain listener's addresses. Clients of this listener need no credentials and
// have all permissions.
func (a *Apache) Brokers() []string { return a.BrokersBy(Plain) }

// BrokersBy returns a listener's addresses, one per node. All listeners except Plain require a
// secured cluster.
func (a *Apache) BrokersBy(l Listener) []string {
	var all []string
	for _, n := range a.nodes {
		all = append(all, n.addrs[l])
	}
	return all
}

// Log returns the path of a node's log.
func (a *Apache) Log(i int) string { return a.nodes[i].logPath() }

// freeAddrs returns free loopback addresses for all listeners of all nodes. The ports are below the
// ephemeral port range. Otherwise, an outgoing connection could use a stopped node's port and
// prevent the node's restart, and a client that repeatedly dials an unused port could connect to
// itself.
func freeAddrs(nodes int) ([]map[Listener]string, error) {
	all := make([]map[Listener]string, nodes)
	for i := range all {
		all[i] = make(map[Listener]string)
		for l := range securityProtocols {
			for tries := 0; all[i][l] == ""; tries++ {
				ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))))
				if err == nil {
					defer ln.Close() // reserve the port until all are found
					all[i][l] = ln.Addr().String()
				} else if tries == 100 {
					return nil, fmt.Errorf("find a free port: %w", err)
				}
			}
		}
	}
	return all, nil
}
