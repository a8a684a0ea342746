//go:build unix

package kafkatest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// properties returns a node's configuration. Every topic has up to three replicas. Timeouts are
// short, for tests that kill brokers and members. Small buffers let three brokers fit on a small
// machine.
func (a *Apache) properties(n *node) map[string]string {
	replicas := strconv.Itoa(min(3, len(a.nodes)))
	inSync := strconv.Itoa(min(2, len(a.nodes)))
	var voters, listeners, advertised, protocols []string
	for _, v := range a.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", v.id, v.addrs[controller]))
	}
	for _, l := range slices.Sorted(maps.Keys(securityProtocols)) {
		if a.certs == nil && l != controller && l != Plain {
			continue
		}
		listeners = append(listeners, string(l)+"://"+n.addrs[l])
		protocols = append(protocols, string(l)+":"+securityProtocols[l])
		if l != controller {
			advertised = append(advertised, string(l)+"://"+n.addrs[l])
		}
	}
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(n.id),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"listeners":                      strings.Join(listeners, ","),
		"advertised.listeners":           strings.Join(advertised, ","),
		"listener.security.protocol.map": strings.Join(protocols, ","),
		"inter.broker.listener.name":     string(Plain),
		"controller.listener.names":      string(controller),
		"log.dirs":                       filepath.Join(n.dir, "data"),

		"auto.create.topics.enable":                "false",
		"default.replication.factor":               replicas,
		"min.insync.replicas":                      inSync,
		"offsets.topic.replication.factor":         replicas,
		"offsets.topic.num.partitions":             "6",
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            inSync,
		"transaction.state.log.num.partitions":     "3",

		// When a killed or paused broker's session times out, the next replica becomes the leader.
		// Leadership does not return to the broker automatically.
		"broker.heartbeat.interval.ms": "500",
		"broker.session.timeout.ms":    "3000",
		"replica.socket.timeout.ms":    "2000", // the default of 30 seconds is too long for tests that pause brokers
		"controller.socket.timeout.ms": "2000",
		"auto.leader.rebalance.enable": "false",

		// In the classic protocol, each member chooses its session timeout. With KIP-848, the
		// brokers choose it.
		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "1000",
		"group.consumer.session.timeout.ms":        "6000",
		"group.consumer.min.session.timeout.ms":    "1000",
		"group.consumer.heartbeat.interval.ms":     "1000",
		"group.consumer.min.heartbeat.interval.ms": "100",
		"group.consumer.assignment.interval.ms":    "100",

		// Retention and compaction run often, so that topic settings of a few seconds take effect.
		"log.initial.task.delay.ms":       "1000",
		"log.retention.check.interval.ms": "1000",
		"log.segment.delete.delay.ms":     "1000",
		"log.cleaner.backoff.ms":          "1000",

		"log.cleaner.dedupe.buffer.size": "4194304", // heap bytes; the default is 128 MiB
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
		"background.threads":             "2",
	}
	if a.certs != nil {
		a.secure(p)
	}
	maps.Copy(p, a.cfg.Properties)
	return p
}
