//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Listener is one of the ways into a cluster. Every cluster has Plain. A secured one has the others
// too, and there a named user may do only what Allow has allowed; who comes without a name, by
// Plain or TLS, may do everything.
type Listener string

// The listeners. Both of SASL take PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512, with the users of
// ApacheConfig.
const (
	Plain     Listener = "PLAIN"   // neither encrypted nor authenticated; the brokers use it too
	TLS       Listener = "TLS"     // encrypted, the broker shows a certificate of the authority CAFile
	MutualTLS Listener = "MTLS"    // the client must show one too, see ClientCert; its common name is the user
	SASL      Listener = "SASL"    // a name and a password, not encrypted
	SASLTLS   Listener = "SASLTLS" // a name and a password, encrypted as TLS

	controller Listener = "CONTROLLER"
)

// securityProtocols says how each listener of a secured cluster is secured, in Kafka's words.
var securityProtocols = map[Listener]string{
	controller: "PLAINTEXT", Plain: "PLAINTEXT", TLS: "SSL", MutualTLS: "SSL", SASL: "SASL_PLAINTEXT",
	SASLTLS: "SASL_SSL",
}

// secure adds to the configuration what a secured cluster needs.
func (a *Apache) secure(p map[string]string) {
	p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
	p["super.users"] = "User:ANONYMOUS"

	p["ssl.keystore.type"] = "PEM"
	p["ssl.keystore.location"] = a.cert
	p["ssl.truststore.type"] = "PEM"
	p["ssl.truststore.location"] = a.certs.caFile
	p["ssl.principal.mapping.rules"] = "RULE:^CN=(.*)$/$1/"
	p["listener.name.mtls.ssl.client.auth"] = "required"

	p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
	var plain strings.Builder
	for _, user := range slices.Sorted(maps.Keys(a.cfg.Users)) {
		fmt.Fprintf(&plain, " user_%s=%q", user, a.cfg.Users[user])
	}
	const security = "org.apache.kafka.common.security."
	for _, l := range []string{"sasl", "sasltls"} {
		p["listener.name."+l+".plain.sasl.jaas.config"] = security + "plain.PlainLoginModule required" +
			plain.String() + ";"
		for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
			p["listener.name."+l+"."+m+".sasl.jaas.config"] = security + "scram.ScramLoginModule required;"
		}
	}
}

// addUsers gives the users their SCRAM credentials, which Kafka keeps in its metadata.
func (a *Apache) addUsers(ctx context.Context) error {
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // a request names a user once
		var users []kadm.UpsertSCRAM
		for user, password := range a.cfg.Users {
			users = append(users, kadm.UpsertSCRAM{User: user, Mechanism: m, Iterations: 4096, Password: password})
		}
		rs, err := a.adm.AlterUserSCRAMs(ctx, nil, users)
		if err = errors.Join(err, rs.Error()); err != nil {
			return fmt.Errorf("add users: %w", err)
		}
	}
	return nil
}

// CAFile is the PEM file of the authority that issued the certificates of a secured cluster.
func (a *Apache) CAFile() string { return a.certs.caFile }

// ClientCert makes a certificate for a user of MutualTLS: one PEM file that holds it and its key.
func (a *Apache) ClientCert(user string) (string, error) { return a.certs.issue(user) }

// Allow lets a user of a secured cluster do what acls says, which names resources and operations.
// It returns when every node that serves knows it.
func (a *Apache) Allow(ctx context.Context, user string, acls *kadm.ACLBuilder) error {
	acls.Allow("User:" + user).AllowHosts().ResourcePatternType(kadm.ACLPatternLiteral)
	created, err := a.adm.CreateACLs(ctx, acls)
	if err != nil {
		return fmt.Errorf("allow %s: %w", user, err)
	}
	for _, c := range created {
		if c.Err != nil {
			return fmt.Errorf("allow %s: %w", user, c.Err)
		}
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourceName, req.ResourcePatternType = c.Type, &c.Name, c.Pattern
		req.Principal, req.Host, req.Operation, req.PermissionType = &c.Principal, &c.Host, c.Operation, c.Permission
		err := a.everywhere(ctx, func(ctx context.Context, b *kgo.Broker) error {
			resp, err := req.RequestWith(ctx, b)
			if err == nil && len(resp.Resources) == 0 {
				err = errors.New("not there yet")
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("allow %s: %w", user, err)
		}
	}
	return nil
}
