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

// ApacheConfig says what cluster StartApache starts.
type ApacheConfig struct {
	Dir        string            // an empty directory for configuration, data and logs; only NewApache finds one itself
	Nodes      int               // combined brokers and controllers; 0 means 3
	Properties map[string]string // brokers' settings, over those of this package
	Users      map[string]string // name to password; if there are any, the cluster is secured, see Listener
}

// Apache is a cluster of Apache Kafka nodes, each a Java process on loopback ports. A node's number
// is its node.id and counts from 0. Methods may be called concurrently.
type Apache struct {
	cfg   ApacheConfig
	nodes []*node
	certs *authority // nil unless secured
	cert  string     // the brokers' certificate and key, empty unless secured
	cl    *kgo.Client
	adm   *kadm.Client
}

// NewApache starts a cluster for t, and ends it with t. Where the environment lacks KAFKA_TEST it
// skips t; where it has it, t fails unless the cluster starts. A failed test shows the end of each
// node's log, without INFO.
func NewApache(t testing.TB, cfg ApacheConfig) *Apache {
	t.Helper()
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("left out: needs Apache Kafka (make test-kafka)")
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
				t.Logf("the end of node %d's log:\n%s", n.id, n.logTail())
			}
		}
	})
	return a
}

// StartApache formats and starts a cluster, and returns when it answers: all brokers are
// registered, and groups and transactions have their coordinators. ctx bounds the start only.
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
		a.nodes = append(a.nodes, &node{id: id, dir: dir, classPath: cp, addrs: addrs[id]})
	}
	if a.cl, err = kgo.NewClient(kgo.SeedBrokers(a.Brokers()...)); err != nil {
		return err
	}
	a.adm = kadm.NewClient(a.cl)

	id := uuid.New()
	clusterID := base64.RawURLEncoding.EncodeToString(id[:]) // as Kafka writes a UUID
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
	return a.Ready(ctx) // all nodes know all of the above
}

// Close kills all nodes and waits for their end. It may be called more than once.
func (a *Apache) Close() {
	for i := range a.nodes {
		_ = a.Kill(i)
	}
	if a.cl != nil {
		a.cl.Close()
	}
}

// Kill ends a node by SIGKILL.
func (a *Apache) Kill(i int) error { return a.nodes[i].end(syscall.SIGKILL) }

// Stop ends a node by SIGTERM: it hands over its leaderships first.
func (a *Apache) Stop(i int) error { return a.nodes[i].end(syscall.SIGTERM) }

// Pause halts a node by SIGSTOP: its connections stay open and nobody answers.
func (a *Apache) Pause(i int) error { return a.nodes[i].pause(syscall.SIGSTOP) }

// Continue lets a paused node go on, by SIGCONT.
func (a *Apache) Continue(i int) error { return a.nodes[i].pause(syscall.SIGCONT) }

// Start runs an ended node again on the same data and ports. Ready tells when it takes part.
func (a *Apache) Start(i int) error { return a.nodes[i].start() }

// Brokers are the addresses for clients that show nothing and may do everything.
func (a *Apache) Brokers() []string { return a.BrokersBy(Plain) }

// BrokersBy are the addresses of a listener, one for each node. All but Plain need a secured
// cluster.
func (a *Apache) BrokersBy(l Listener) []string {
	var all []string
	for _, n := range a.nodes {
		all = append(all, n.addrs[l])
	}
	return all
}

// Log is the path of a node's log.
func (a *Apache) Log(i int) string { return a.nodes[i].logPath() }

// freeAddrs finds free loopback ports for all listeners of the nodes. They lie below the ports that
// systems give to outgoing connections: one of those on the port of a node that is down would keep
// it from coming back, and a client that dials such a port again and again may in the end be
// connected to itself.
func freeAddrs(nodes int) ([]map[Listener]string, error) {
	all := make([]map[Listener]string, nodes)
	for i := range all {
		all[i] = make(map[Listener]string)
		for l := range securityProtocols {
			for tries := 0; all[i][l] == ""; tries++ {
				ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))))
				if err == nil {
					defer ln.Close() // not before all are found
					all[i][l] = ln.Addr().String()
				} else if tries == 100 {
					return nil, fmt.Errorf("find a free port: %w", err)
				}
			}
		}
	}
	return all, nil
}
